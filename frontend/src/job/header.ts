/** The head of a job's page: name, state, time, progress, what went wrong, and what can be done. */
import { call, newIdempotencyKey } from "../api";
import { element, get } from "../dom";
import { formatDuration, formatNumber, formatPercent, formatTime, secondsBetween } from "../format";
import { type Job, describePlace, errorHint, errorTitle, explainWait, isFinished, namePhase, statusBadge } from "../jobs";
import { t } from "../language";
import type { Connection } from "../live/job_stream";
import { ask, notify, notifyError, runWithButton } from "../notices";
import { pickJobs } from "../forms/job_picker";

export class JobHeader {
  private job!: Job;
  private readonly name = get("[data-job-name]");
  private readonly nameForm = get<HTMLFormElement>("[data-rename-form]");
  private readonly nameInput = get<HTMLInputElement>("[data-rename-input]");

  /** `onChange` is told the job as the server answers after something was done to it. */
  constructor(private readonly onChange: (job: Job) => void) {
    this.listenToRename();
    this.listen("stop", () => this.stop());
    this.listen("resume", () => this.resume());
    this.listen("delete", () => this.delete());
    this.listen("compare", () => this.compare());
    setInterval(() => this.drawElapsed(), 1000);
  }

  draw(job: Job): void {
    this.job = job;
    this.name.textContent = job.name;
    document.title = `${job.name} · Tuneforge`;
    get("[data-job-status]").replaceChildren(statusBadge(job));
    this.drawElapsed();
    this.drawProgress(job);
    this.drawError(job);
    this.drawActions(job);
  }

  drawConnection(connection: Connection): void {
    const pill = get("[data-connection]");
    pill.dataset["connection"] = connection;
    pill.hidden = connection === "ended" || connection === "connecting";
    pill.textContent = connection === "live" ? t("实时", "Live") : t("重新连接中…", "Reconnecting…");
  }

  // -- how it goes -------------------------------------------------------------------------------------------

  private drawElapsed(): void {
    if (!this.job) return;
    const { started_at, finished_at, created_at } = this.job;
    const place = get("[data-job-elapsed]");
    if (started_at) {
      const seconds = formatDuration(secondsBetween(started_at, finished_at));
      place.textContent = isFinished(this.job)
        ? t(`运行了 ${seconds}`, `ran for ${seconds}`)
        : t(`已运行 ${seconds}`, `running for ${seconds}`);
    } else if (!isFinished(this.job)) {
      const seconds = formatDuration(secondsBetween(created_at, null));
      place.textContent = t(`已等待 ${seconds}`, `waiting for ${seconds}`);
    } else {
      place.textContent = t("未开始运行", "never started");
    }
    place.title = formatTime(started_at ?? created_at);
  }

  drawProgress(job: Job): void {
    this.job = job;
    const { progress } = job;
    const bar = get<HTMLProgressElement>("[data-progress-bar]");
    get("[data-progress]").hidden = isFinished(job) && job.status !== "succeeded" && progress.step === 0;
    // Without a total there is nothing to fill: the bar then only says that something goes on.
    const isUnmeasured =
      job.status === "running" && (!progress.total_steps || progress.phase !== "training") && progress.step === 0;
    if (isUnmeasured) bar.removeAttribute("value");
    else bar.value = progress.fraction;
    bar.dataset["status"] = job.status;
    get("[data-progress-phase]").textContent = this.describePhase(job);
    get("[data-progress-steps]").textContent = describeSteps(job);
    get("[data-progress-eta]").textContent =
      job.status === "running" && progress.eta_seconds !== null
        ? t(`预计还需 ${formatDuration(progress.eta_seconds)}`, `about ${formatDuration(progress.eta_seconds)} left`)
        : "";
  }

  private describePhase(job: Job): string {
    if (isFinished(job)) return "";
    if (job.stop_requested_at) return t("正在停止，保存已训练的部分…", "Stopping: saving what is trained…");
    const place = describePlace(job);
    if (place !== null) return `${place} · ${explainWait(job)}`;
    const phase = namePhase(job.progress.phase);
    return phase.charAt(0).toUpperCase() + phase.slice(1);
  }

  private drawError(job: Job): void {
    const box = get("[data-job-error]");
    const { error } = job;
    box.hidden = error === null;
    if (error === null) return;
    get("[data-error-title]").textContent = errorTitle(error);
    get("[data-error-detail]").textContent = error.detail === error.title ? "" : error.detail;
    get("[data-error-hint]").textContent = errorHint(error);
    const excerpt = get("[data-error-excerpt]");
    excerpt.textContent = error.log_excerpt;
    get("[data-error-log]").hidden = error.log_excerpt === "";
  }

  // -- what can be done --------------------------------------------------------------------------------------

  private drawActions(job: Job): void {
    const finished = isFinished(job);
    const isTrain = job.kind === "train";
    const hasResult =
      isTrain && (job.status === "succeeded" || (job.status === "cancelled" && job.started_at !== null));
    this.showAction("stop", !finished && job.stop_requested_at === null);
    this.showAction(
      "resume",
      isTrain && (job.status === "failed" || job.status === "cancelled") && job.started_at !== null,
    );
    this.showAction("evaluate", hasResult);
    this.showAction("compare", job.status === "succeeded");
    this.showAction("delete", finished);
    const form = isTrain ? "/train" : "/evaluate";
    this.action("reuse").setAttribute("href", `${form}?from=${job.id}`);
    this.action("evaluate").setAttribute("href", `/evaluate?job=${job.id}`);
  }

  private action(name: string): HTMLElement {
    return get(`[data-action="${name}"]`);
  }

  private showAction(name: string, show: boolean): void {
    this.action(name).hidden = !show;
  }

  private listen(name: string, act: () => Promise<void>): void {
    const button = this.action(name) as HTMLButtonElement;
    button.addEventListener("click", () => runWithButton(button, act));
  }

  private async stop(): Promise<void> {
    const waits = this.job.status !== "running";
    const agreed = await ask({
      title: t("停止这个任务？", "Stop this job?"),
      text: waits
        ? t("任务尚未开始运行，将立即取消。", "It has not started yet and is cancelled at once.")
        : t(
            "已训练的部分会保存为检查点，之后可以从那里继续。",
            "What is trained so far is saved as a checkpoint; the job can go on from there later.",
          ),
      confirm: t("停止", "Stop"),
      dangerous: true,
    });
    if (agreed) this.onChange(await call<Job>("POST", `/jobs/${this.job.id}/stop`, { body: { keep: true } }));
  }

  private async resume(): Promise<void> {
    this.onChange(await call<Job>("POST", `/jobs/${this.job.id}/resume`, { idempotencyKey: newIdempotencyKey() }));
    notify(t("已重新排队，将从最近的检查点继续。", "Queued again; it goes on from its last checkpoint."), "good");
  }

  private async delete(): Promise<void> {
    const agreed = await ask({
      title: t("删除这个任务？", "Delete this job?"),
      text: t(
        "它的日志、指标和所有产出文件（包括训练好的模型）都会删除，无法恢复。",
        "Its log, its metrics and all its files, the trained model among them, are deleted for good.",
      ),
      confirm: t("删除", "Delete"),
      dangerous: true,
    });
    if (!agreed) return;
    await call("DELETE", `/jobs/${this.job.id}`);
    location.assign(`/jobs?kind=${this.job.kind}`);
  }

  private async compare(): Promise<void> {
    const others = await pickJobs({
      title: t("与哪些任务对比？", "Compare with which jobs?"),
      confirm: t("对比", "Compare"),
      kind: this.job.kind,
      exclude: this.job.id,
      sameDatasetsFirst: this.job.spec.datasets,
      most: 7,
    });
    if (others.length) location.assign(`/compare?jobs=${[this.job, ...others].map((job) => job.id).join(",")}`);
  }

  private listenToRename(): void {
    get("[data-rename]").addEventListener("click", () => this.showRename(true));
    get("[data-rename-cancel]").addEventListener("click", () => this.showRename(false));
    this.nameInput.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.showRename(false);
    });
    this.nameForm.addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        this.onChange(
          await call<Job>("PATCH", `/jobs/${this.job.id}`, { body: { name: this.nameInput.value.trim() } }),
        );
        this.showRename(false);
      } catch (error) {
        notifyError(error);
      }
    });
  }

  private showRename(show: boolean): void {
    this.nameForm.hidden = !show;
    get("[data-name-line]").hidden = show;
    if (!show) return;
    this.nameInput.value = this.job.name;
    this.nameInput.focus();
    this.nameInput.select();
  }
}

function describeSteps(job: Job): string {
  const { step, total_steps: total, fraction } = job.progress;
  if (!total) return step ? t(`第 ${formatNumber(step)} 步`, `step ${formatNumber(step)}`) : "";
  return `${formatNumber(step)} / ${formatNumber(total)} ${t("步", "steps")} · ${formatPercent(fraction, 0)}`;
}

/** The note under a page whose job is gone. */
export function buildGoneNote(): HTMLElement {
  return element(
    "div",
    { class: "notice bad", role: "alert" },
    t("这个任务已被删除。", "This job was deleted."),
    " ",
    element("a", { href: "/jobs" }, t("返回任务中心", "Back to the job centre")),
  );
}
