/** The overview of a job: what was asked for, the estimate beside what it took, its files and its moves. */
import { callAll } from "../api";
import { element, get, replaceChildrenIfChanged } from "../dom";
import {
  type Estimate,
  formatBytesRange,
  formatDurationRange,
  formatMoneyRange,
  listDurationParts,
  nameBasis,
  readEstimate,
} from "../estimate";
import { formatBytes, formatDuration, formatMoney, formatNumber, formatTime, secondsBetween } from "../format";
import { type Job, type JobStatus, isFinished, nameKind, nameStatus, nameTier } from "../jobs";
import { t } from "../language";
import { type Artifact, drawArtifacts } from "./files";

interface JobEvent {
  at: string;
  old: JobStatus | null;
  new: JobStatus;
  reason: string | null;
  attempt: number;
}

/** What was measured, as the supervisor's final report gives it. */
interface Actual {
  duration_seconds?: number;
  phase_seconds?: Record<string, number>;
  peak_memory_bytes?: number;
}

/** The phase that each part of the estimate stands for. */
const PHASES: Record<string, string> = {
  start: "preparing",
  load: "loading",
  tokenize: "tokenizing",
  train: "training",
  evaluate: "evaluating",
  save: "saving",
};

export class JobInfo {
  private drawnState = "";

  draw(job: Job): void {
    drawFacts(job);
    drawEstimate(job);
    // Moves and files change only when the job moves.
    const state = `${job.status} ${job.attempt} ${job.stop_requested_at}`;
    if (state === this.drawnState) return;
    this.drawnState = state;
    void this.load(job);
  }

  private async load(job: Job): Promise<void> {
    try {
      const [events, artifacts] = await Promise.all([
        callAll<JobEvent>(`/jobs/${job.id}/events?sort=created_at`),
        callAll<Artifact>(`/jobs/${job.id}/artifacts`),
      ]);
      drawEvents(events);
      drawArtifacts(job, artifacts);
    } catch (error) {
      // The next move, or the next connection, tries again.
      this.drawnState = "";
      console.warn(error);
    }
  }
}

// -- facts -------------------------------------------------------------------------------------------------

function drawFacts(job: Job): void {
  const { spec, assignment } = job;
  const rows: [string, Node | string][] = [
    [t("任务 ID", "Job id"), element("code", {}, job.id)],
    [t("类型", "Kind"), nameKind(job.kind)],
    [t("基础模型", "Base model"), spec.model],
    ...(job.kind === "train" ? describeMethod(job) : describeSubject(job)),
    [t("数据集", "Datasets"), spec.datasets.join(t("、", ", "))],
    [t("资源", "Resources"), describeResources(job)],
    [t("价格档", "Tier"), nameTier(job.tier)],
    [t("节点", "Machine"), assignment ? describeAssignment(assignment) : "–"],
    ...describeFurtherLogs(job),
    [t("提交者", "Submitted by"), job.owner],
    [t("创建时间", "Created"), formatTime(job.created_at)],
    [t("开始时间", "Started"), formatTime(job.started_at)],
    [t("结束时间", "Finished"), formatTime(job.finished_at)],
    [t("第几次运行", "Attempt"), String(job.attempt)],
    [t("费用", "Cost"), formatMoney(job.cost)],
  ];
  const key = JSON.stringify(
    rows.map(([label, value]) => [label, typeof value === "string" ? value : value.textContent]),
  );
  replaceChildrenIfChanged(get("[data-facts]"), key, () =>
    rows.flatMap(([label, value]) => [element("dt", {}, label), element("dd", {}, value)]),
  );
}

function describeMethod(job: Job): [string, string][] {
  const names: Record<string, string> = { lora: "LoRA", freeze: "Freeze", full: "Full" };
  const method = names[job.spec.finetuning_type ?? ""] ?? job.spec.finetuning_type ?? "–";
  return [[t("训练方式", "Method"), `${(job.spec.stage ?? "sft").toUpperCase()} · ${method}`]];
}

function describeSubject(job: Job): [string, Node | string][] {
  const { adapter } = job.spec;
  if (!adapter) return [[t("评估对象", "Evaluated"), t("原始模型（未微调）", "the untouched model")]];
  const [trainJob = "", checkpoint] = adapter.split(":");
  const link = element(
    "a",
    { href: `/jobs/${trainJob}` },
    t("微调任务", "fine-tune job"),
    " ",
    element("code", {}, trainJob),
  );
  return [[t("评估对象", "Evaluated"), checkpoint ? element("span", {}, link, ` · ${checkpoint}`) : link]];
}

function describeResources(job: Job): string {
  const { gpu_kind, gpu_count } = job.spec.resources;
  return `${(gpu_kind ?? "–").toUpperCase()} × ${gpu_count ?? 1}`;
}

/** Ids of GPUs are long: their beginning tells them apart, the whole stands in the title. */
function describeAssignment(assignment: { node: string; gpus: string[] }): HTMLElement {
  const short = assignment.gpus.map((id) => (id.length > 14 ? `${id.slice(0, 12)}…` : id));
  return element("span", { title: assignment.gpus.join("\n") }, `${assignment.node} · ${short.join(", ")}`);
}

/** A job over several machines has a log of each; that of the first is the job's own. */
function describeFurtherLogs(job: Job): [string, Node][] {
  const nodes = (job.spec.resources.gpu_count ?? 1) / (job.assignment?.gpus.length || Infinity);
  if (nodes <= 1) return [];
  const links = Array.from({ length: nodes - 1 }, (_, place) => {
    const rank = place + 1;
    const href = `/api/v1/jobs/${job.id}/logs?node_rank=${rank}&limit=${8 << 20}`;
    return element("a", { href, target: "_blank" }, t(`节点 ${rank + 1} 的日志`, `log of machine ${rank + 1}`));
  });
  const parts = links.flatMap((link, place) => (place ? [t("、", ", "), link] : [link]));
  return [[t("其他节点", "Other machines"), element("span", {}, ...parts)]];
}

// -- estimate and actual -----------------------------------------------------------------------------------

function drawEstimate(job: Job): void {
  const place = get("[data-estimate]");
  const estimate = readEstimate(job.estimate);
  const basis = get("[data-estimate-basis]");
  basis.hidden = estimate === null;
  if (estimate === null) {
    place.textContent = t("这个任务没有预估。", "This job has no estimate.");
    return;
  }
  basis.textContent = nameBasis(estimate);
  const rows = listComparedRows(job, estimate, job.actual as Actual);
  const key = JSON.stringify(rows);
  replaceChildrenIfChanged(place, key, () => [
    element(
      "table",
      { class: "table compact" },
      element(
        "thead",
        {},
        element(
          "tr",
          {},
          element("th"),
          element("th", { class: "number" }, t("预估", "Estimated")),
          element("th", { class: "number" }, t("实际", "Actual")),
        ),
      ),
      element(
        "tbody",
        {},
        ...rows.map(([label, guess, actual, isPart]) =>
          element(
            "tr",
            { class: isPart ? "part" : null },
            element("td", {}, label),
            element("td", { class: "number" }, guess),
            element("td", { class: "number" }, actual),
          ),
        ),
      ),
    ),
  ]);
}

type ComparedRow = [label: string, guess: string, actual: string, isPart: boolean];

function listComparedRows(job: Job, estimate: Estimate, actual: Actual): ComparedRow[] {
  const waited = secondsBetween(job.created_at, job.started_at ?? (isFinished(job) ? job.finished_at : null));
  const phases = actual.phase_seconds ?? {};
  const parts = listDurationParts().map(([part, label]): ComparedRow => {
    const measured = part === "queue" ? (job.started_at ? waited : null) : (phases[PHASES[part] ?? ""] ?? null);
    // A part that nobody expected and that did not happen needs no row.
    return [label, formatDuration(estimate.breakdown_seconds[part] || null), formatDuration(measured || null), true];
  });
  const finished = isFinished(job);
  return [
    [
      t("运行时长", "Run time"),
      formatDurationRange(estimate.duration_seconds),
      formatDuration(actual.duration_seconds ?? null),
      false,
    ],
    ...parts.filter(([, guess, measured]) => guess !== "–" || measured !== "–"),
    [
      t("内存峰值（每卡）", "Peak memory, each device"),
      formatBytesRange(estimate.memory_bytes),
      formatBytes(actual.peak_memory_bytes ?? null),
      false,
    ],
    [
      t("费用", "Cost"),
      formatMoneyRange(estimate.cost),
      finished || Number(job.cost.amount) > 0 ? formatMoney(job.cost) : "–",
      false,
    ],
    [
      t("步数", "Steps"),
      estimate.steps === null ? "–" : formatNumber(estimate.steps),
      job.progress.step ? formatNumber(job.progress.step) : "–",
      false,
    ],
  ];
}

// -- moves -------------------------------------------------------------------------------------------------

function drawEvents(events: JobEvent[]): void {
  const items = [...events]
    .reverse()
    .map((event) =>
      element(
        "li",
        { class: event.new },
        element("strong", {}, nameStatus(event.new)),
        element("span", { class: "soft" }, describeReason(event)),
        element("time", { datetime: event.at, class: "faint number" }, formatTime(event.at)),
      ),
    );
  get("[data-events]").replaceChildren(...items);
}

function describeReason(event: JobEvent): string {
  const reasons: Record<string, string> = {
    submitted: t("提交任务", "submitted"),
    resumed: t("从检查点继续", "resumed from a checkpoint"),
    completed: t("正常完成", "completed"),
    user_cancelled: t("按要求停止", "stopped on request"),
    time_limit: t("达到时间上限", "time limit reached"),
    balance_exhausted: t("余额不足", "balance used up"),
    bad_config: t("参数有误", "bad settings"),
    bad_dataset: t("数据有误", "bad dataset"),
    out_of_memory: t("内存或显存不足", "out of memory"),
    disk_full: t("磁盘已满", "disk full"),
    crashed: t("运行异常退出", "crashed"),
    node_lost: t("节点失联", "machine lost"),
    node_stopped: t("节点关闭", "machine shut down"),
    preempted: t("让出资源", "made room for another job"),
    log_limit: t("日志过大", "log too large"),
    internal_error: t("平台内部错误", "fault on our side"),
    not_claimed: t("节点未接手", "not taken by the machine"),
  };
  const reason = event.reason ? (reasons[event.reason] ?? event.reason) : "";
  const attempt = event.attempt > 1 ? t(`第 ${event.attempt} 次运行`, `attempt ${event.attempt}`) : "";
  return [reason, attempt].filter(Boolean).join(" · ");
}
