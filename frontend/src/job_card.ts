// One job in the job centre: how it stands, and what can be done to it.
import { call } from "./api";
import { element, icon } from "./dom";
import { formatAgo, formatDuration, formatMoney, formatTime, secondsBetween } from "./format";
import { describeDevices, describeProgress, progressBar } from "./job_rows";
import { type Job, type Tier, errorHint, errorTitle, isFinished, nameMethod, nameTier, statusBadge } from "./jobs";
import { t } from "./language";
import { ask, notify, runWithButton } from "./notices";

interface Wishes {
  isSelected: boolean;
  onSelect: (job: Job, on: boolean) => void;
  /** The job was changed on the server. */
  onChange: () => void;
}

const TIER_ICONS: Record<Tier, string> = { express: "rocket", flex: "scale", spot: "leaf" };

export function buildJobCard(job: Job, wishes: Wishes): HTMLElement {
  return element(
    "article",
    { class: "job-card", "data-job": job.id },
    element(
      "div",
      { class: "job-card-main" },
      element(
        "div",
        { class: "job-card-title" },
        canBeCompared(job) ? buildSelector(job, wishes) : null,
        element("a", { class: "job-card-name", href: `/jobs/${job.id}`, title: job.name }, job.name),
        statusBadge(job),
      ),
      element("p", { class: "soft" }, describeWhat(job)),
      buildMiddle(job),
      buildFacts(job),
    ),
    element("div", { class: "job-card-actions" }, ...buildActions(job, wishes)),
  );
}

function describeWhat(job: Job): string {
  const { model, datasets, adapter, finetuning_type: method } = job.spec;
  const subject = job.kind === "train" ? nameMethod(method) : adapter ? t("微调后", "tuned") : t("原始模型", "untouched");
  return [model, subject, datasets.join(", ")].filter(Boolean).join(" · ");
}

function buildMiddle(job: Job): HTMLElement | null {
  if (job.status === "failed" && job.error) {
    return element("p", { class: "job-card-error" }, icon("warning"), element("span", {}, `${errorTitle(job.error)} — ${errorHint(job.error)}`));
  }
  const line = describeProgress(job);
  if (isFinished(job)) return null;
  return element("div", { class: "job-card-progress" }, job.status === "queued" ? null : progressBar(job), element("span", { class: "faint number" }, line));
}

function buildFacts(job: Job): HTMLElement {
  const seconds = secondsBetween(job.started_at, job.finished_at);
  const steps = isFinished(job) ? describeProgress(job) : "";
  return element(
    "ul",
    { class: "job-card-facts" },
    element("li", { title: t("档位", "Tier") }, icon(TIER_ICONS[job.tier]), nameTier(job.tier)),
    element("li", { title: t("设备", "Devices") }, icon("chip"), describeDevices(job)),
    element("li", { title: `${t("创建于", "Created")} ${formatTime(job.created_at)}` }, icon("clock"), formatAgo(job.created_at)),
    seconds === null ? null : element("li", { class: "number" }, describeTime(job, formatDuration(seconds))),
    steps ? element("li", { class: "number" }, steps) : null,
    Number(job.cost.amount) ? element("li", { class: "number", title: t("费用", "Cost") }, formatMoney(job.cost)) : null,
  );
}

function describeTime(job: Job, duration: string): string {
  return isFinished(job) ? t(`用时 ${duration}`, `took ${duration}`) : t(`已运行 ${duration}`, `running for ${duration}`);
}

// -- what can be done --------------------------------------------------------------------------------------

function canBeCompared(job: Job): boolean {
  return job.status === "succeeded";
}

function buildSelector(job: Job, wishes: Wishes): HTMLElement {
  const box = element("input", {
    type: "checkbox",
    checked: wishes.isSelected,
    "aria-label": t(`选择“${job.name}”进行对比`, `Choose “${job.name}” to compare`),
    title: t("选择后可对比", "Choose to compare"),
    onchange: () => wishes.onSelect(job, box.checked),
  });
  return box;
}

function buildActions(job: Job, wishes: Wishes): (HTMLElement | null)[] {
  const finished = isFinished(job);
  const isTrain = job.kind === "train";
  const isOver = job.status === "failed" || job.status === "cancelled";
  return [
    finished || job.stop_requested_at ? null : buildButton("stop", t("停止", "Stop"), () => stop(job, wishes)),
    isOver && isTrain && job.started_at ? buildButton("play", t("继续", "Resume"), () => resume(job, wishes)) : null,
    isTrain && job.status === "succeeded" ? buildLink("gauge", t("评估", "Evaluate"), `/evaluate?job=${job.id}`) : null,
    job.tracking.url ? buildTrackingLink(job.tracking.url) : null,
    finished ? buildButton("trash", t("删除", "Delete"), () => remove(job, wishes), "quiet") : null,
  ];
}

function buildButton(symbol: string, text: string, action: () => Promise<void>, look = ""): HTMLButtonElement {
  const button: HTMLButtonElement = element(
    "button",
    { class: `button small ${look}`.trim(), type: "button", onclick: () => void runWithButton(button, action) },
    icon(symbol),
    text,
  );
  return button;
}

function buildLink(symbol: string, text: string, href: string): HTMLAnchorElement {
  return element("a", { class: "button small", href }, icon(symbol), text);
}

/** The address comes from the run itself: only web addresses and our own pages are made links. */
function buildTrackingLink(url: string): HTMLAnchorElement | null {
  if (!url.startsWith("/") && !url.startsWith("https://") && !url.startsWith("http://")) return null;
  return element("a", { class: "button small", href: url, target: "_blank", rel: "noopener noreferrer" }, icon("chart"), "SwanLab");
}

async function stop(job: Job, wishes: Wishes): Promise<void> {
  const agreed = await ask({
    title: t("停止这个任务？", "Stop this job?"),
    text:
      job.status === "running"
        ? t(`“${job.name}”已训练的部分会保存为检查点，之后可以继续。`, `What “${job.name}” has trained so far is saved as a checkpoint; it can go on later.`)
        : t(`“${job.name}”尚未开始，会立即取消。`, `“${job.name}” has not started and is cancelled at once.`),
    confirm: t("停止", "Stop"),
  });
  if (!agreed) return;
  await call("POST", `/jobs/${job.id}/stop`, { body: { keep: true } });
  wishes.onChange();
}

async function resume(job: Job, wishes: Wishes): Promise<void> {
  await call("POST", `/jobs/${job.id}/resume`);
  notify(t("已重新排队，将从最近的检查点继续。", "Queued again; it goes on from its last checkpoint."), "good");
  wishes.onChange();
}

async function remove(job: Job, wishes: Wishes): Promise<void> {
  const agreed = await ask({
    title: t("删除这个任务？", "Delete this job?"),
    text: t(
      `“${job.name}”的日志、检查点和模型文件会一并删除，无法恢复。`,
      `The log, checkpoints and model files of “${job.name}” are deleted with it, for good.`,
    ),
    confirm: t("删除", "Delete"),
    dangerous: true,
  });
  if (!agreed) return;
  await call("DELETE", `/jobs/${job.id}`);
  wishes.onSelect(job, false);
  wishes.onChange();
}
