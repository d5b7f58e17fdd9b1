/** What both forms do: estimate while the person types, show what is wrong where it is wrong, preview, submit once. */
import { ApiError, type FieldProblem, call, callText, explain, explainProblem, newIdempotencyKey } from "../api";
import { element, get } from "../dom";
import { type Estimate, addEstimates } from "../estimate";
import type { Job } from "../jobs";
import { t } from "../language";
import { saveFile } from "../live/log_view";
import { notify, notifyError, runWithButton } from "../notices";
import type { ArgumentSection } from "./argument_section";
import { EstimateBar } from "./estimate_bar";

export type JobBody = Record<string, unknown>;

export interface FormPage {
  /** The jobs that the form asks for; a sentence instead when something is still to be chosen. */
  buildBodies(): JobBody[] | string;
  describeResources(): string;
  /** Where to go when the jobs are queued. */
  onQueued(jobs: Job[]): void;
}

/** After so long without a further change an estimate is asked for: with the answer's way it is there within 300 ms. */
const WAIT_MS = 120;
/** While lengths are counted the estimate is asked for again, ever more rarely. */
const FIRST_FOLLOW_MS = 1500;
const LAST_FOLLOW_MS = 20_000;

export class JobForm {
  private readonly bar: EstimateBar;
  private readonly submitButton = get<HTMLButtonElement>("[data-submit]");
  private timer: ReturnType<typeof setTimeout> | undefined;
  private following: ReturnType<typeof setTimeout> | undefined;
  private followMs = FIRST_FOLLOW_MS;
  private asking: AbortController | null = null;
  /** One wish, one key: pressing twice, or again after a lost answer, queues one job. */
  private readonly keys = new Map<string, string>();

  constructor(
    form: HTMLFormElement,
    private readonly page: FormPage,
    private readonly section: ArgumentSection,
  ) {
    this.bar = new EstimateBar((fix) => this.applyFix(fix));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void runWithButton(this.submitButton, () => this.submit());
    });
    // Enter in a field must not start a job that costs money.
    form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target instanceof HTMLInputElement) event.preventDefault();
    });
    const preview = get<HTMLButtonElement>("[data-preview]");
    preview.addEventListener("click", () => runWithButton(preview, () => this.preview()));
    // Back from the job's page: the same settings are a new wish.
    window.addEventListener("pageshow", (event) => {
      if (event.persisted) this.keys.clear();
    });
  }

  /** Something changed: ask for an estimate when the person pauses. */
  changed(): void {
    this.bar.setResources(this.page.describeResources());
    clearTimeout(this.timer);
    this.followMs = FIRST_FOLLOW_MS;
    this.timer = setTimeout(() => void this.estimate(), WAIT_MS);
  }

  private async estimate(): Promise<void> {
    clearTimeout(this.following);
    this.asking?.abort();
    const bodies = this.page.buildBodies();
    if (typeof bodies === "string") {
      this.showProblems([]);
      this.bar.showMissing(bodies);
      return;
    }
    const asking = new AbortController();
    this.asking = asking;
    this.bar.showBusy();
    try {
      const answers = await Promise.all(
        bodies.map((body) => call<Estimate>("POST", "/estimates", { body, signal: asking.signal })),
      );
      this.showProblems([]);
      const estimate = answers.reduce(addEstimates);
      this.bar.show(estimate);
      if (estimate.dataset_profile?.status === "counting") this.follow();
    } catch (error) {
      if (!asking.signal.aborted) this.showRefusal(error);
    }
  }

  /** Ask again after a while; a page that nobody sees waits. */
  private follow(): void {
    this.following = setTimeout(() => {
      if (document.hidden) this.follow();
      else void this.estimate();
    }, this.followMs);
    this.followMs = Math.min(LAST_FOLLOW_MS, this.followMs * 1.6);
  }

  private showRefusal(error: unknown): void {
    if (error instanceof ApiError && error.problems.length) this.showProblems(error.problems);
    else this.bar.showUnavailable(explain(error));
  }

  // -- what is wrong -----------------------------------------------------------------------------------------

  private showProblems(problems: FieldProblem[]): void {
    const ofArguments = new Map<string, string>();
    for (const problem of problems) {
      if (problem.loc[0] === "args" && typeof problem.loc[1] === "string")
        ofArguments.set(problem.loc[1], explainProblem(problem));
    }
    this.section.showProblems(ofArguments);
    for (const place of document.querySelectorAll<HTMLElement>("[data-error-for]")) {
      const found = problems.filter((problem) => nameField(problem.loc) === place.dataset["errorFor"]);
      place.textContent = found.map(explainProblem).join(" ");
      place.hidden = found.length === 0;
    }
    if (problems.length) this.bar.showProblems(problems, (problem) => this.goTo(problem));
  }

  private goTo(problem: FieldProblem): void {
    if (this.section.holds(problem.loc)) {
      this.section.goTo(String(problem.loc[1]));
      return;
    }
    const place = document.querySelector<HTMLElement>(`[data-field="${CSS.escape(nameField(problem.loc))}"]`);
    place?.scrollIntoView({ block: "center" });
    place?.querySelector<HTMLElement>("input, select")?.focus();
  }

  private applyFix(fix: Record<string, unknown>): void {
    for (const [name, value] of Object.entries(fix)) this.section.values.set(name, value);
    this.section.draw();
    this.changed();
    notify(t("已按建议修改参数。", "The settings were changed as proposed."), "good");
  }

  // -- preview and submit ------------------------------------------------------------------------------------

  private async preview(): Promise<void> {
    const bodies = this.requireBodies();
    if (!bodies) return;
    try {
      showYaml(await callText("POST", "/configs", { body: bodies[0] }));
    } catch (error) {
      this.showRefusal(error);
      notifyError(error);
    }
  }

  private async submit(): Promise<void> {
    const bodies = this.requireBodies();
    if (!bodies) return;
    const queued: Job[] = [];
    try {
      for (const body of bodies) {
        queued.push(await call<Job>("POST", "/jobs", { body, idempotencyKey: this.getKey(body) }));
      }
    } catch (error) {
      this.showRefusal(error);
      notifyError(error);
      return;
    }
    this.page.onQueued(queued);
  }

  /** The bodies, or null after telling what is still missing or cannot be read. */
  private requireBodies(): JobBody[] | null {
    const unreadable = this.section.findTypedProblem();
    if (unreadable) {
      this.section.goTo(unreadable);
      return null;
    }
    const bodies = this.page.buildBodies();
    if (typeof bodies !== "string") return bodies;
    notify(bodies, "bad");
    return null;
  }

  private getKey(body: JobBody): string {
    const wish = JSON.stringify(body);
    const key = this.keys.get(wish) ?? newIdempotencyKey();
    this.keys.set(wish, key);
    return key;
  }
}

/** `["datasets", 0]` is about the field "datasets", `["resources", "gpu_kind"]` about "resources.gpu_kind". */
function nameField(loc: FieldProblem["loc"]): string {
  return loc.filter((part) => typeof part === "string").join(".");
}

function showYaml(yaml: string): void {
  const dialog = element(
    "dialog",
    { class: "dialog yaml-dialog", "aria-label": "YAML" },
    element(
      "form",
      { method: "dialog" },
      element("h2", {}, t("YAML 预览", "YAML preview")),
      element(
        "p",
        { class: "soft" },
        t("提交后，LLaMA-Factory 收到的就是这份配置。", "This is what LLaMA-Factory will be given."),
      ),
      element("pre", { class: "code", tabindex: 0 }, yaml),
      element(
        "div",
        { class: "dialog-actions" },
        element(
          "button",
          {
            class: "button",
            type: "button",
            onclick: () => saveFile(new Blob([yaml], { type: "text/yaml" }), "train.yaml"),
          },
          t("下载", "Download"),
        ),
        element("button", { class: "button primary" }, t("关闭", "Close")),
      ),
    ),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
