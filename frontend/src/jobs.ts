// Jobs as the REST interface shows them, and what statuses, phases and tiers are called.
import type { Money } from "./api";
import { element } from "./dom";
import { formatAgo } from "./format";
import { t } from "./language";

export type JobStatus = "queued" | "assigned" | "running" | "succeeded" | "failed" | "cancelled";
export type JobKind = "train" | "evaluate";
export type Tier = "express" | "flex" | "spot";

export interface JobError {
  code: string;
  title: string;
  detail: string;
  hint: string;
  title_zh?: string;
  hint_zh?: string;
  log_excerpt: string;
}

export interface JobSpec {
  kind: JobKind;
  name?: string;
  model: string;
  datasets: string[];
  stage?: string;
  finetuning_type?: string;
  adapter?: string | null;
  args: Record<string, unknown>;
  resources: { gpu_kind?: string | null; gpu_count?: number };
  tier: Tier;
}

export interface Progress {
  phase: string;
  step: number;
  total_steps: number | null;
  fraction: number;
  eta_seconds: number | null;
}

export interface Job {
  id: string;
  name: string;
  kind: JobKind;
  status: JobStatus;
  end_reason: string | null;
  attempt: number;
  owner: string;
  spec: JobSpec;
  tier: Tier;
  assignment: { node: string; gpus: string[] } | null;
  queue_position: number | null;
  /** To the minute; null where no start can be foreseen, or at once. */
  expected_start_at: string | null;
  /** Why a queued job waits, and what can be done. */
  waiting: { reason: string; detail: string; detail_zh: string } | null;
  progress: Progress;
  tracking: { provider: string; mode: "cloud" | "local" | "offline" | "off"; url: string | null };
  estimate: Record<string, unknown>;
  actual: Record<string, unknown>;
  cost: Money;
  stop_requested_at: string | null;
  created_at: string;
  started_at: string | null;
  finished_at: string | null;
  error: JobError | null;
}

export function isFinished(job: Pick<Job, "status">): boolean {
  return job.status === "succeeded" || job.status === "failed" || job.status === "cancelled";
}

/** What the status is called; a job that was asked to stop shows that it is stopping. */
export function nameStatus(status: JobStatus, stopping = false): string {
  if (stopping) return t("停止中", "Stopping");
  const names: Record<JobStatus, string> = {
    queued: t("排队中", "Queued"),
    assigned: t("启动中", "Starting"),
    running: t("运行中", "Running"),
    succeeded: t("运行完成", "Succeeded"),
    failed: t("运行失败", "Failed"),
    cancelled: t("已停止", "Stopped"),
  };
  return names[status];
}

/** A badge whose colour says at a glance how the job stands. */
export function statusBadge(job: Pick<Job, "status" | "stop_requested_at">): HTMLElement {
  const stopping = !isFinished(job) && job.stop_requested_at !== null;
  const look = stopping ? "stopping" : job.status;
  return element("span", { class: `badge status ${look}`, "data-status": job.status }, nameStatus(job.status, stopping));
}

export function namePhase(phase: string): string {
  const names: Record<string, string> = {
    queued: t("等待资源", "waiting for a device"),
    preparing: t("准备文件", "preparing files"),
    loading: t("加载模型", "loading the model"),
    tokenizing: t("处理数据", "tokenizing the data"),
    training: t("训练中", "training"),
    evaluating: t("评估中", "evaluating"),
    saving: t("保存结果", "saving"),
    finished: t("已结束", "finished"),
  };
  return names[phase] ?? phase;
}

export function nameTier(tier: Tier): string {
  const names: Record<Tier, string> = {
    express: t("极速尊享", "Express"),
    flex: t("动态优惠", "Flex"),
    spot: t("灵动超省", "Spot"),
  };
  return names[tier] ?? tier;
}

/** The way of fine-tuning as people write it; the setting itself stays LLaMA-Factory's. */
export function nameMethod(method: string | undefined): string {
  const names: Record<string, string> = { lora: "LoRA", freeze: "Freeze", full: t("全参数", "full") };
  return names[method ?? ""] ?? method ?? "";
}

export function nameKind(kind: JobKind): string {
  return kind === "train" ? t("模型微调", "Fine-tuning") : t("模型评估", "Evaluation");
}

export function errorTitle(error: JobError): string {
  return t(error.title_zh ?? error.title, error.title);
}

/** "No. 3 in the queue · expected to start in 12 minutes", or null for a job that does not wait. */
export function describePlace(job: Job): string | null {
  if (job.status !== "queued" || job.queue_position === null) return null;
  const place = t(`排在第 ${job.queue_position} 位`, `No. ${job.queue_position} in the queue`);
  if (job.expected_start_at === null) return place;
  const soon = formatAgo(job.expected_start_at);
  return `${place} · ${t(`预计${soon}开始`, `expected to start ${soon}`)}`;
}

/** Why a queued job waits; empty for others. */
export function explainWait(job: Job): string {
  return job.waiting === null ? "" : t(job.waiting.detail_zh, job.waiting.detail);
}

export function errorHint(error: JobError): string {
  return t(error.hint_zh ?? error.hint, error.hint);
}
