// Importing a dataset from a model hub, or from a path that an administrator allows.
import { ApiError, call, explain, newIdempotencyKey } from "../api";
import type { Dataset } from "../datasets";
import { get } from "../dom";
import { clearFaults, showFaults } from "../faults";
import { language } from "../language";
import { runWithButton } from "../notices";

const dialog = get<HTMLDialogElement>("#import-dialog");
const form = get<HTMLFormElement>("#import-form");
const source = get<HTMLSelectElement>("#source");

/** The same wish, sent again after an answer that was lost, makes one dataset. */
let wish: { body: string; key: string } | null = null;

export function startImport(onImported: (dataset: Dataset) => void): void {
  if (language === "zh") source.value = "modelscope";
  get("#import").addEventListener("click", () => dialog.showModal());
  get("#import-cancel").addEventListener("click", () => dialog.close());
  source.addEventListener("change", drawSource);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void runWithButton(get<HTMLButtonElement>("[type=submit]", form), () => send(onImported));
  });
  drawSource();
}

function drawSource(): void {
  const isPath = source.value === "path";
  get('[data-source="path"]', form).hidden = !isPath;
  get('[data-source="hub"]', form).hidden = isPath;
}

async function send(onImported: (dataset: Dataset) => void): Promise<void> {
  const error = get("#import-error");
  clearFaults(form);
  error.hidden = true;
  const body = JSON.stringify(buildBody());
  if (wish?.body !== body) wish = { body, key: newIdempotencyKey() };
  try {
    const dataset = await call<Dataset>("POST", "/datasets", { body: buildBody(), idempotencyKey: wish.key });
    wish = null;
    dialog.close();
    form.reset();
    drawSource();
    onImported(dataset);
  } catch (refused) {
    // The dialog lies above the page's notices: what is wrong stands in it.
    if (refused instanceof ApiError && showFaults(form, refused)) return;
    error.textContent = explain(refused);
    error.hidden = false;
  }
}

function buildBody(): Record<string, unknown> {
  const name = read("#name");
  const named = name ? { name } : {};
  if (source.value === "path") return { ...named, path: read("#path") };
  const hub: Record<string, string> = { hub: source.value, repo_id: read("#repo_id") };
  for (const field of ["revision", "subset", "split"]) {
    const value = read(`#${field}`);
    if (value) hub[field] = value;
  }
  return { ...named, hub };
}

function read(selector: string): string {
  return get<HTMLInputElement>(selector, form).value.trim();
}
