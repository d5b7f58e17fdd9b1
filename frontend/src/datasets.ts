// Datasets as the REST interface shows them, and what their statuses, stages and kinds are called.
import { element } from "./dom";
import { formatNumber } from "./format";
import { type Bilingual, readDescription } from "./descriptions";
import { t } from "./language";
import { type Work, buildWorkLine } from "./work";

export type DatasetStatus = "available" | "importing" | "checking" | "ready" | "broken" | "failed" | "missing";

export interface Mapping {
  file_name?: string;
  formatting?: string;
  columns?: Record<string, string>;
  tags?: Record<string, string>;
  ranking?: boolean;
}

export interface DatasetVersion {
  id: string;
  version: number;
  status: DatasetStatus;
  example_count: number;
  cleaned_count?: number | null;
  created_at: string;
  note: string | null;
}

export interface WorkError {
  code?: string;
  title?: string;
  title_zh?: string;
  detail?: string;
  detail_zh?: string;
  hint?: string;
  hint_zh?: string;
}

export interface Dataset {
  id: string;
  name: string;
  visibility: "public" | "private";
  owner?: string | null;
  source?: string;
  format: string;
  modalities: string[];
  example_count: number;
  usable_count?: number | null;
  cleaned_count?: number | null;
  finding_counts?: { error: number; warning: number; info: number } | null;
  token_stats: { mean?: number } | null;
  size_bytes: number;
  status: DatasetStatus;
  version?: number;
  series_id?: string;
  progress?: Work | null;
  error?: WorkError | null;
  description: Bilingual;
  created_at: string;
}

export interface DatasetDetail extends Dataset {
  versions: DatasetVersion[];
  mapping: Mapping | null;
}

/** Something is being done to it that ends by itself. */
export function isBusy(dataset: Pick<Dataset, "status" | "progress">): boolean {
  return dataset.status === "importing" || dataset.status === "checking" || Boolean(dataset.progress);
}

/** A preset that lies on its hub, or whose download failed: anyone may have it fetched. */
export function isFetchable(dataset: Pick<Dataset, "status" | "source">): boolean {
  return dataset.status === "available" || (dataset.source === "preset" && (dataset.status === "failed" || dataset.status === "missing"));
}

/** Jobs may learn from it. */
export function isUsable(dataset: Pick<Dataset, "status">): boolean {
  return dataset.status === "ready";
}

/** LLaMA-Factory would stop on it, and loads its cleaned copy. */
export function needsCleaning(dataset: { status: string; cleaned_count?: number | null }): boolean {
  return dataset.status === "broken" && Boolean(dataset.cleaned_count);
}

export function nameDatasetStatus(status: DatasetStatus): string {
  const names: Record<DatasetStatus, string> = {
    available: t("未下载", "Not fetched"),
    importing: t("导入中", "Importing"),
    checking: t("检查中", "Checking"),
    ready: t("可用", "Ready"),
    broken: t("无法使用", "Unusable"),
    failed: t("导入失败", "Import failed"),
    missing: t("文件缺失", "Files missing"),
  };
  return names[status] ?? status;
}

export function datasetBadge(dataset: Pick<Dataset, "status" | "cleaned_count">): HTMLElement {
  const looks: Record<DatasetStatus, string> = {
    available: "",
    importing: "running",
    checking: "running",
    ready: "good",
    broken: "bad",
    failed: "bad",
    missing: "warning",
  };
  if (needsCleaning(dataset)) return element("span", { class: "badge status warning", "data-status": "broken" }, t("需清洗", "Needs cleaning"));
  const look = looks[dataset.status] ?? "";
  return element("span", { class: `badge status ${look}`, "data-status": dataset.status }, nameDatasetStatus(dataset.status));
}

/** "1,000 条 · 可用 980 条", or how far an import is. */
export function describeRows(dataset: Dataset): string {
  const { example_count: rows, usable_count: usable } = dataset;
  const all = t(`${formatNumber(rows)} 条`, `${formatNumber(rows)} row${rows === 1 ? "" : "s"}`);
  if (usable === null || usable === undefined || usable === rows) return all;
  return t(`${all}，可用 ${formatNumber(usable)} 条`, `${all}, ${formatNumber(usable)} usable`);
}

export function datasetProgress(dataset: Pick<Dataset, "progress" | "status">): HTMLElement | null {
  return isBusy(dataset) ? buildWorkLine(dataset.progress ?? null) : null;
}

export function describeDataset(dataset: Dataset): string {
  return readDescription(dataset.description);
}

/** What is wrong with an import, and what to do, in one sentence or two. */
export function explainWorkError(error: WorkError | null | undefined): string {
  if (!error) return "";
  const said = t(error.detail_zh ?? error.detail ?? error.title_zh ?? "", error.detail ?? error.title ?? "");
  const hint = t(error.hint_zh ?? error.hint ?? "", error.hint ?? "");
  return [said, hint].filter(Boolean).join(t("", " ")) || (error.code ?? "");
}

export function nameFormatting(formatting: string | undefined): string {
  const names: Record<string, string> = {
    alpaca: t("Alpaca（指令 / 回答）", "Alpaca (instruction and answer)"),
    sharegpt: t("ShareGPT（对话）", "ShareGPT (conversations)"),
    openai: t("OpenAI messages（对话）", "OpenAI messages (conversations)"),
  };
  return names[formatting ?? ""] ?? formatting ?? "–";
}
