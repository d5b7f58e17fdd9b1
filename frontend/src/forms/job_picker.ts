/** Choosing among one's jobs: a list that can be searched, in a dialog. */
import { type Page, call } from "../api";
import { element, onPause } from "../dom";
import { formatAgo } from "../format";
import { type Job, type JobKind, statusBadge } from "../jobs";
import { t } from "../language";
import { notifyError } from "../notices";

export interface JobChoice {
  title: string;
  confirm: string;
  kind: JobKind;
  /** Only jobs in these statuses; all when left out. */
  statuses?: string[];
  exclude?: string;
  /** Jobs on the same datasets stand first and are marked: only they can be compared row by row. */
  sameDatasetsFirst?: string[];
  /** How many may be chosen; 1 chooses at once. */
  most: number;
}

/** Return one's jobs of a kind, newest first; `q` narrows by name, id or model. */
export async function listJobs(
  kind: JobKind,
  options: { statuses?: string[]; q?: string; limit?: number } = {},
): Promise<Job[]> {
  const query = new URLSearchParams({ kind, limit: String(options.limit ?? 50) });
  if (options.statuses?.length) query.set("status", options.statuses.join(","));
  if (options.q) query.set("q", options.q);
  return (await call<Page<Job>>("GET", `/jobs?${query}`)).data;
}

/** What a job did, in one line: model, data and when. */
export function describeJob(job: Job): string {
  const what =
    job.kind === "evaluate"
      ? job.spec.adapter
        ? t("微调后", "tuned")
        : t("原始模型", "untouched")
      : (job.spec.finetuning_type ?? "");
  return [job.spec.model, what, job.spec.datasets.join(", "), formatAgo(job.created_at)].filter(Boolean).join(" · ");
}

/** Let the person choose; an empty list when they do not. */
export function pickJobs(choice: JobChoice): Promise<Job[]> {
  return new Promise((resolve) => new PickerDialog(choice, resolve).open());
}

class PickerDialog {
  private readonly chosen = new Map<string, Job>();
  private readonly list = element("div", { class: "picker-list" });
  private readonly search = element("input", {
    type: "search",
    class: "input",
    placeholder: t("按名称、模型搜索", "Search by name or model"),
    "aria-label": t("搜索任务", "Search jobs"),
  });
  private readonly confirm: HTMLButtonElement;
  private readonly dialog: HTMLDialogElement;

  constructor(
    private readonly choice: JobChoice,
    private readonly done: (jobs: Job[]) => void,
  ) {
    onPause(this.search, () => void this.load());
    this.confirm = element("button", { class: "button primary", value: "yes", disabled: true }, choice.confirm);
    this.dialog = element(
      "dialog",
      { class: "dialog picker", "aria-label": choice.title },
      element(
        "form",
        { method: "dialog" },
        element("h2", {}, choice.title),
        this.search,
        this.list,
        element(
          "div",
          { class: "dialog-actions" },
          element("button", { class: "button", value: "no" }, t("取消", "Cancel")),
          this.confirm,
        ),
      ),
    );
  }

  open(): void {
    this.dialog.addEventListener("close", () => {
      this.dialog.remove();
      this.done(this.dialog.returnValue === "yes" ? [...this.chosen.values()] : []);
    });
    document.body.append(this.dialog);
    this.dialog.showModal();
    void this.load();
  }

  private async load(): Promise<void> {
    const { kind, statuses, exclude } = this.choice;
    try {
      const found = (await listJobs(kind, { statuses: statuses ?? ["succeeded"], q: this.search.value.trim() })).filter(
        (job) => job.id !== exclude,
      );
      const sorted = found.sort((a, b) => Number(this.isAlike(b)) - Number(this.isAlike(a)));
      this.list.replaceChildren(...sorted.map((job) => this.buildRow(job)));
      if (!sorted.length)
        this.list.append(element("p", { class: "empty" }, t("没有可选的任务。", "There is no job to choose.")));
    } catch (error) {
      notifyError(error);
    }
  }

  private isAlike(job: Job): boolean {
    const wanted = this.choice.sameDatasetsFirst;
    return wanted !== undefined && wanted.join("\n") === job.spec.datasets.join("\n");
  }

  private buildRow(job: Job): HTMLElement {
    const box = element("input", { type: this.choice.most === 1 ? "radio" : "checkbox", name: "job", value: job.id });
    box.checked = this.chosen.has(job.id);
    box.addEventListener("change", () => this.choose(job, box));
    const alike = this.isAlike(job) ? element("span", { class: "tag" }, t("相同数据", "same data")) : null;
    return element(
      "label",
      { class: "picker-row" },
      box,
      element(
        "span",
        { class: "picker-text" },
        element("strong", {}, job.name),
        element("small", {}, describeJob(job)),
      ),
      alike,
      statusBadge(job),
    );
  }

  private choose(job: Job, box: HTMLInputElement): void {
    if (this.choice.most === 1) this.chosen.clear();
    if (box.checked && this.chosen.size < this.choice.most) this.chosen.set(job.id, job);
    else this.chosen.delete(job.id);
    box.checked = this.chosen.has(job.id);
    this.confirm.disabled = this.chosen.size === 0;
  }
}
