// Long work in the background (imports, checks, downloads): how far it is, in words and as a bar.
import { element } from "./dom";
import { formatBytes, formatNumber, formatPercent } from "./format";
import { t } from "./language";

export interface Work {
  stage?: string | null;
  fraction?: number | null;
  rows?: number | null;
  received_bytes?: number | null;
  total_bytes?: number | null;
}

/** "检查 · 43% · 12,000 条". */
export function describeWork(work: Work | null): string {
  if (!work) return t("等待开始", "waiting to start");
  const parts = [nameStage(work.stage ?? "queued")];
  if (typeof work.fraction === "number") parts.push(formatPercent(work.fraction));
  if (work.rows) parts.push(t(`${formatNumber(work.rows)} 条`, `${formatNumber(work.rows)} rows`));
  if (work.total_bytes) parts.push(`${formatBytes(work.received_bytes ?? 0)} / ${formatBytes(work.total_bytes)}`);
  else if (work.received_bytes) parts.push(formatBytes(work.received_bytes));
  return parts.join(" · ");
}

export function buildWorkLine(work: Work | null): HTMLElement {
  return element(
    "div",
    { class: "work" },
    buildBar(work?.fraction ?? null, t("进度", "Progress")),
    element("span", { class: "faint number" }, describeWork(work)),
  );
}

/** A bar filled as far as `fraction`; null is work whose end nobody knows. */
export function buildBar(fraction: number | null, label: string, look = ""): HTMLElement {
  const filled = element("span");
  filled.style.width = `${Math.round((fraction ?? 0) * 1000) / 10}%`;
  return element(
    "div",
    {
      class: `progress ${look} ${fraction === null ? "unknown" : ""}`,
      role: "progressbar",
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuenow": fraction === null ? null : Math.round(fraction * 100),
      "aria-label": label,
    },
    filled,
  );
}

function nameStage(stage: string): string {
  const names: Record<string, string> = {
    queued: t("排队等待", "waiting its turn"),
    starting: t("准备", "starting"),
    listing: t("列出文件", "listing files"),
    downloading: t("下载", "downloading"),
    verifying: t("校验文件", "verifying files"),
    copying: t("复制文件", "copying files"),
    unpacking: t("解包", "unpacking"),
    counting: t("统计长度", "counting lengths"),
    recognising: t("识别格式", "recognising the format"),
    checking: t("逐条检查", "checking every row"),
    indexing: t("建立索引", "making an index"),
    profiling: t("统计", "taking statistics"),
    cleaning: t("生成清洗后的副本", "writing the cleaned copy"),
    writing: t("写入", "writing"),
    finishing: t("收尾", "finishing"),
  };
  return names[stage] ?? stage;
}
