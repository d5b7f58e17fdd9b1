// What a job would take, as `POST /estimates` answers it and a job keeps it.
import type { Money } from "./api";
import { formatBytes, formatDuration, formatMoney } from "./format";
import type { Tier } from "./jobs";
import { t } from "./language";

export interface Range {
  low: number;
  expected: number;
  high: number;
}

export interface MoneyRange {
  currency: string;
  low: string;
  expected: string;
  high: string;
}

export interface EstimateWarning {
  code: string;
  detail: string;
  detail_zh?: string;
  fix?: Record<string, unknown> | null;
}

export interface Recommendation {
  args?: Record<string, unknown>;
  resources?: Record<string, unknown>;
  duration_seconds?: Range;
  cost?: MoneyRange;
  why?: string[];
  why_zh?: string[];
}

export interface Estimate {
  duration_seconds: Range;
  breakdown_seconds: Record<string, number>;
  steps: number | null;
  tokens: number | null;
  samples: number | null;
  memory_bytes: Range & { available: number | null; parts: Record<string, number> };
  fits: "yes" | "tight" | "no";
  cost: MoneyRange;
  by_tier: Record<Tier, MoneyRange>;
  basis: "measured" | "calibrated" | "modelled";
  learnt_from?: number;
  warnings: EstimateWarning[];
  recommended: Recommendation | null;
  by_gpu_count?: CountChoice[];
  /** On what the lengths rest; jobs of earlier versions do not tell. */
  dataset_profile?: LengthSource;
}

/** Lengths of rows: counted with the model's tokenizer, soon counted, or reckoned from the letters. */
export interface LengthSource {
  status: "measured" | "counting" | "estimated";
  detail: string;
  detail_zh: string;
  /** What a cutoff takes off, once all is counted. */
  cut?: Cut | null;
}

export interface Cut {
  cutoff_len: number;
  rows: number;
  tokens: number;
}

/** The same job, with the same global batch, on another number of devices. */
export interface CountChoice {
  args: Record<string, unknown>;
  resources: { gpu_kind: string; gpu_count: number };
  duration_seconds: Range;
  cost: MoneyRange;
  fits: "yes" | "tight" | "no";
}

/** A job's estimate, or null when it has none that can be read. */
export function readEstimate(value: unknown): Estimate | null {
  if (typeof value !== "object" || value === null) return null;
  const estimate = value as Partial<Estimate>;
  return estimate.duration_seconds && estimate.memory_bytes && estimate.cost ? (estimate as Estimate) : null;
}

/** "14 分 0 秒 – 20 分 10 秒"; one figure when both ends read alike. */
export function formatDurationRange(range: Range): string {
  return joinRange(formatDuration(range.low), formatDuration(range.high));
}

export function formatMoneyRange(range: MoneyRange): string {
  return joinRange(formatMoney(pickMoney(range, "low")), formatMoney(pickMoney(range, "high")));
}

export function pickMoney(range: MoneyRange, which: "low" | "expected" | "high"): Money {
  return { currency: range.currency, amount: range[which] };
}

export function formatBytesRange(range: Range): string {
  return joinRange(formatBytes(range.low), formatBytes(range.high));
}

function joinRange(low: string, high: string): string {
  return low === high ? low : `${low} – ${high}`;
}

/** On what the time rests; with `learnt_from`, on how many finished jobs. */
export function nameBasis({ basis, learnt_from: jobs = 0 }: Pick<Estimate, "basis" | "learnt_from">): string {
  const names = {
    measured: t("按同类任务实测", "measured on jobs like it"),
    calibrated: jobs
      ? t(`按 ${jobs} 个已完成任务校准`, jobs === 1 ? "calibrated on 1 finished job" : `calibrated on ${jobs} finished jobs`)
      : t("按本机实测校准", "calibrated by measuring the device"),
    modelled: t("按模型推算", "modelled"),
  };
  return names[basis] ?? basis;
}

/** What the parts of the time are called, in the order in which they happen. */
export function listDurationParts(): [string, string][] {
  return [
    ["queue", t("排队", "queue")],
    ["start", t("启动", "start")],
    ["load", t("加载模型", "load the model")],
    ["tokenize", t("处理数据", "tokenize")],
    ["train", t("训练", "train")],
    ["evaluate", t("评估", "evaluate")],
    ["save", t("保存", "save")],
  ];
}

export function listMemoryParts(): [string, string][] {
  return [
    ["weights", t("模型权重", "weights")],
    ["gradients", t("梯度", "gradients")],
    ["optimizer", t("优化器", "optimizer")],
    ["activations", t("激活值", "activations")],
    ["logits", t("输出层", "logits")],
    ["vision", t("视觉部分", "vision")],
    ["overhead", t("运行开销", "overhead")],
  ];
}

/** What two jobs take together: times and costs add up, memory is that of the larger. */
export function addEstimates(one: Estimate, other: Estimate): Estimate {
  const larger = one.memory_bytes.expected >= other.memory_bytes.expected ? one : other;
  const parts = Object.keys({ ...one.breakdown_seconds, ...other.breakdown_seconds });
  const fits = [one.fits, other.fits];
  const lengths = [one, other].find((each) => each.dataset_profile?.status !== "measured") ?? one;
  return {
    ...one,
    duration_seconds: addRanges(one.duration_seconds, other.duration_seconds),
    breakdown_seconds: Object.fromEntries(
      parts.map((part) => [part, (one.breakdown_seconds[part] ?? 0) + (other.breakdown_seconds[part] ?? 0)]),
    ),
    steps: addCounts(one.steps, other.steps),
    tokens: addCounts(one.tokens, other.tokens),
    samples: addCounts(one.samples, other.samples),
    memory_bytes: larger.memory_bytes,
    ...(lengths.dataset_profile ? { dataset_profile: lengths.dataset_profile } : {}),
    fits: fits.includes("no") ? "no" : fits.includes("tight") ? "tight" : "yes",
    cost: addMoney(one.cost, other.cost),
    by_tier: {
      express: addMoney(one.by_tier.express, other.by_tier.express),
      flex: addMoney(one.by_tier.flex, other.by_tier.flex),
      spot: addMoney(one.by_tier.spot, other.by_tier.spot),
    },
    warnings: [
      ...one.warnings,
      ...other.warnings.filter((warning) => !one.warnings.some((known) => known.detail === warning.detail)),
    ],
  };
}

function addRanges(one: Range, other: Range): Range {
  return { low: one.low + other.low, expected: one.expected + other.expected, high: one.high + other.high };
}

function addMoney(one: MoneyRange, other: MoneyRange): MoneyRange {
  return {
    currency: one.currency,
    low: addAmounts(one.low, other.low),
    expected: addAmounts(one.expected, other.expected),
    high: addAmounts(one.high, other.high),
  };
}

function addCounts(one: number | null, other: number | null): number | null {
  return one === null || other === null ? null : one + other;
}

/** Decimal strings with four places, added as whole ten-thousandths. */
function addAmounts(one: string, other: string): string {
  return ((Math.round(Number(one) * 10_000) + Math.round(Number(other) * 10_000)) / 10_000).toFixed(4);
}
