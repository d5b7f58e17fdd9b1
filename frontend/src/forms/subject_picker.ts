/** What an evaluation is about: the result of a train job, one of its checkpoints, or the untouched model. */
import { call, callAll } from "../api";
import { element, get } from "../dom";
import { type Job, isFinished } from "../jobs";
import { t } from "../language";
import { notifyError } from "../notices";
import { describeJob, listJobs, pickJobs } from "./job_picker";

/** Jobs that may have left a trained model: also those that were stopped or failed on the way. */
const STATUSES = ["succeeded", "cancelled", "failed", "running"];
const UNTOUCHED = "";

export class SubjectPicker {
  private readonly jobs = new Map<string, Job>();
  private checkpoints: number[] = [];
  private readonly select = get<HTMLSelectElement>("#subject");
  private readonly checkpointSelect = get<HTMLSelectElement>("#checkpoint");

  constructor(private readonly onChange: () => void) {
    this.select.addEventListener("change", () => void this.chosen());
    this.checkpointSelect.addEventListener("change", () => this.onChange());
    get("[data-find-job]").addEventListener("click", () => void this.find());
  }

  async load(): Promise<void> {
    for (const job of await listJobs("train", { statuses: STATUSES })) this.jobs.set(job.id, job);
    this.drawOptions(UNTOUCHED);
  }

  /** The train job whose result is evaluated; null for the untouched model. */
  get job(): Job | null {
    return this.jobs.get(this.select.value) ?? null;
  }

  /** As the body of a job names it. */
  get adapter(): string | null {
    if (!this.job) return null;
    const step = this.checkpointSelect.value;
    return step ? `${this.job.id}:checkpoint-${step}` : this.job.id;
  }

  /** Choose a job (`<id>`, or `<id>:checkpoint-40`), also one that is not in the list; null is the untouched model. */
  async choose(adapter: string | null): Promise<void> {
    const [id = UNTOUCHED, checkpoint] = (adapter ?? UNTOUCHED).split(":checkpoint-");
    if (id && !this.jobs.has(id)) this.jobs.set(id, await call<Job>("GET", `/jobs/${encodeURIComponent(id)}`));
    this.drawOptions(id);
    await this.chosen(checkpoint);
  }

  private async find(): Promise<void> {
    const [job] = await pickJobs({
      title: t("评估哪个微调任务？", "Which fine-tune job?"),
      confirm: t("选择", "Choose"),
      kind: "train",
      statuses: STATUSES,
      most: 1,
    });
    if (!job) return;
    this.jobs.set(job.id, job);
    this.drawOptions(job.id);
    await this.chosen();
  }

  private drawOptions(chosen: string): void {
    const options = [...this.jobs.values()].map((job) =>
      element("option", { value: job.id }, `${job.name}（${describeJob(job)}）`),
    );
    this.select.replaceChildren(
      element("option", { value: UNTOUCHED }, t("原始模型（未微调）", "The untouched model")),
      ...options,
    );
    this.select.value = chosen;
  }

  private async chosen(checkpoint = ""): Promise<void> {
    const { job } = this;
    this.checkpoints = [];
    if (job) {
      try {
        const files = await callAll<{ name: string }>(`/jobs/${job.id}/artifacts`);
        this.checkpoints = listCheckpoints(files.map((file) => file.name));
      } catch (error) {
        notifyError(error);
      }
    }
    if (checkpoint && !this.checkpoints.includes(Number(checkpoint))) this.checkpoints.push(Number(checkpoint));
    this.drawCheckpoints(job, checkpoint);
    this.onChange();
  }

  private drawCheckpoints(job: Job | null, checkpoint: string): void {
    get("[data-checkpoint-field]").hidden = job === null || this.checkpoints.length === 0;
    const last = job && isFinished(job) ? [element("option", { value: "" }, t("最终结果", "The final result"))] : [];
    const steps = this.checkpoints.map((step) => element("option", { value: step }, `checkpoint-${step}`));
    this.checkpointSelect.replaceChildren(...last, ...steps);
    this.checkpointSelect.value = checkpoint;
    if (this.checkpointSelect.selectedIndex < 0) this.checkpointSelect.selectedIndex = 0;
  }
}

/** Steps of the checkpoints among a job's files that hold weights, newest first. */
export function listCheckpoints(names: string[]): number[] {
  const steps = names
    .map((name) => /^checkpoint-(\d+)\/(?:adapter_model|model).*\.safetensors$/.exec(name)?.[1])
    .filter((step) => step !== undefined)
    .map(Number);
  return [...new Set(steps)].sort((a, b) => b - a);
}
