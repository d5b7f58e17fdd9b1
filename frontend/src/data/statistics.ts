// Statistics of a dataset as bars: lengths in tokens, sizes of pictures, languages, duplicates.
import type { DatasetDetail } from "../datasets";
import { isBusy } from "../datasets";
import { element, get } from "../dom";
import { formatNumber, formatPercent } from "../format";
import { language, t } from "../language";
import type { Distribution, HistogramBin, Report } from "./report";

export function drawStatistics(dataset: DatasetDetail, report: Report): void {
  const cards = [
    ...buildTokens(report),
    ...buildPictures(report),
    ...buildLanguages(report),
    ...buildDuplicates(report),
  ];
  if (!cards.length) {
    const text = isBusy(dataset)
      ? t("正在统计，稍等片刻。", "Being counted; a moment, please.")
      : t("这个数据集还没有统计。", "There are no statistics of this dataset.");
    cards.push(element("p", { class: "card soft" }, text));
  }
  get("[data-statistics]").replaceChildren(element("div", { class: "statistics" }, ...cards));
}

function buildTokens(report: Report): HTMLElement[] {
  const tokens = report.statistics?.tokens;
  if (!tokens) return [];
  return [buildDistribution(t("每条的词元数", "Tokens of a row"), tokens, t("词元", "tokens"))];
}

/** Every distribution that the check made of the pictures; single figures stand below them. */
function buildPictures(report: Report): HTMLElement[] {
  const pictures = report.statistics?.pictures;
  if (!pictures) return [];
  const names: Record<string, string> = {
    width: t("图片宽度", "Picture width"),
    height: t("图片高度", "Picture height"),
    pixels: t("图片像素数", "Pixels of a picture"),
    megapixels: t("图片大小（百万像素）", "Picture size (megapixels)"),
    bytes: t("图片文件大小", "Picture file size"),
    per_row: t("每条的图片数", "Pictures of a row"),
  };
  if (Array.isArray(pictures["histogram"])) return [buildDistribution(names["pixels"]!, pictures as Distribution, t("像素", "pixels"))];
  return Object.entries(pictures)
    .filter(([, value]) => isDistribution(value))
    .map(([name, value]) => buildDistribution(names[name] ?? name, value as Distribution, ""));
}

function isDistribution(value: unknown): value is Distribution {
  return typeof value === "object" && value !== null && Array.isArray((value as Distribution).histogram);
}

function buildDistribution(title: string, values: Distribution, unit: string): HTMLElement {
  const figures: [string, number | null | undefined][] = [
    [t("平均", "mean"), values.mean],
    [t("中位", "median"), values.p50],
    ["p95", values.p95],
    [t("最大", "largest"), values.max],
  ];
  const known = figures.filter(([, value]) => typeof value === "number");
  return element(
    "section",
    { class: "card statistic" },
    element("h2", {}, title),
    element(
      "p",
      { class: "statistic-figures" },
      ...known.map(([label, value]) => element("span", {}, element("small", { class: "faint" }, label), element("strong", { class: "number" }, formatNumber(value!, value! < 10 ? 1 : 0)))),
    ),
    values.histogram?.length ? buildBars(values.histogram, unit) : null,
  );
}

function buildBars(bins: HistogramBin[], unit: string): HTMLElement {
  const most = Math.max(...bins.map((bin) => bin.count), 1);
  const columns = bins.map((bin) => {
    const filled = element("span");
    filled.style.height = `${bin.count ? Math.max(2, (bin.count / most) * 100) : 0}%`;
    const title = `${formatNumber(bin.from, 0)} – ${formatNumber(bin.to, 0)} ${unit}${t("：", ": ")}${formatNumber(bin.count)}`;
    return element("li", { title }, filled, element("span", { class: "visually-hidden" }, title));
  });
  return element(
    "div",
    { class: "histogram" },
    element("ol", { class: "histogram-bars" }, ...columns),
    element(
      "p",
      { class: "faint number histogram-ends", "aria-hidden": "true" },
      element("span", {}, formatNumber(bins[0]!.from, 0)),
      element("span", {}, `${formatNumber(bins.at(-1)!.to, 0)} ${unit}`),
    ),
  );
}

function buildLanguages(report: Report): HTMLElement[] {
  const languages = Object.entries(report.statistics?.languages ?? {}).sort((a, b) => b[1] - a[1]);
  const total = languages.reduce((sum, [, count]) => sum + count, 0);
  if (!total) return [];
  const rows = languages.map(([code, count]) => {
    const filled = element("span");
    filled.style.width = `${(count / total) * 100}%`;
    return element(
      "li",
      {},
      element("span", {}, nameLanguage(code)),
      element("div", { class: "progress", "aria-hidden": "true" }, filled),
      element("span", { class: "number" }, formatPercent(count / total, 1)),
    );
  });
  return [element("section", { class: "card statistic" }, element("h2", {}, t("语言", "Languages")), element("ul", { class: "shares" }, ...rows))];
}

function nameLanguage(code: string): string {
  const names: Record<string, string> = { other: t("其他", "others"), unknown: t("无法判断", "undecided"), mixed: t("混合", "mixed"), code: t("代码", "code"), none: t("无文字", "no words") };
  if (names[code]) return names[code];
  try {
    return new Intl.DisplayNames([language === "zh" ? "zh-CN" : "en"], { type: "language" }).of(code) ?? code;
  } catch {
    return code;
  }
}

function buildDuplicates(report: Report): HTMLElement[] {
  const duplicates = report.statistics?.duplicates;
  const count = typeof duplicates === "number" ? duplicates : ((duplicates as { rows?: number; count?: number } | null)?.rows ?? (duplicates as { count?: number } | null)?.count);
  if (typeof count !== "number") return [];
  const share = report.example_count ? count / report.example_count : 0;
  return [
    element(
      "section",
      { class: "card statistic" },
      element("h2", {}, t("重复数据", "Duplicates")),
      element("p", { class: "statistic-figures" }, element("span", {}, element("small", { class: "faint" }, t("重复的条数", "rows that repeat another")), element("strong", { class: "number" }, formatNumber(count)))),
      element("p", { class: "faint" }, count ? t(`占全部的 ${formatPercent(share, 1)}`, `${formatPercent(share, 1)} of all rows`) : t("没有完全相同的数据。", "No two rows are the same.")),
    ),
  ];
}
