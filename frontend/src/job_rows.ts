// How one job looks in a list: what it is, how it stands, how far it is.
import { element } from "./dom";
import { formatDuration, formatNumber } from "./format";
import { type Job, isFinished, namePhase } from "./jobs";
import { t } from "./language";

/** A bar filled as far as the job is; its colour follows the status. */
export function progressBar(job: Job): HTMLElement {
  const filled = element("span");
  filled.style.width = `${Math.round(job.progress.fraction * 1000) / 10}%`;
  const percent = Math.round(job.progress.fraction * 100);
  return element(
    "div",
    {
      class: `progress ${job.status}`,
      role: "progressbar",
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuenow": percent,
      "aria-label": t("进度", "Progress"),
    },
    filled,
  );
}

/** "training · 20/57 steps · 10 min left", or where in the queue the job is, or why it ended. */
export function describeProgress(job: Job): string {
  const { phase, step, total_steps: total, eta_seconds: left } = job.progress;
  if (job.status === "queued") {
    if (job.queue_position === null) return t("等待资源", "waiting for a device");
    return t(`等待资源 · 第 ${job.queue_position} 位`, `waiting for a device · no. ${job.queue_position} in the queue`);
  }
  const parts = isFinished(job) ? [] : [namePhase(phase)];
  if (total) parts.push(`${formatNumber(step)}/${formatNumber(total)} ${t("步", "steps")}`);
  if (!isFinished(job) && left !== null) parts.push(t(`剩余 ${formatDuration(left)}`, `${formatDuration(left)} left`));
  return parts.join(" · ");
}

/** "cpu × 1". */
export function describeDevices(job: Job): string {
  const { gpu_kind: kind, gpu_count: count } = job.spec.resources;
  return `${kind ?? t("默认设备", "default device")} × ${count ?? 1}`;
}
