// Putting what the server found wrong beside the field it is about: `<p data-fault="name">`.
import { type ApiError, explainProblem } from "./api";

/** Show the problems beside their fields; false when one has no place in the form. */
export function showFaults(form: HTMLElement, error: ApiError): boolean {
  let placed = error.problems.length > 0;
  for (const problem of error.problems) {
    const name = String(problem.loc[problem.loc.length - 1] ?? "");
    const place = form.querySelector<HTMLElement>(`[data-fault="${CSS.escape(name)}"]`);
    if (!place) {
      placed = false;
      continue;
    }
    place.textContent = explainProblem(problem);
    place.hidden = false;
    const details = place.closest("details");
    if (details) details.open = true;
    form.querySelector(`#${CSS.escape(name)}`)?.setAttribute("aria-invalid", "true");
  }
  return placed;
}

export function clearFaults(form: HTMLElement): void {
  for (const place of form.querySelectorAll<HTMLElement>("[data-fault]")) place.hidden = true;
  for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
}
