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
  if (!tokens?.histogram) return [];
  const card = buildDistribution(nameTokensCard(tokens.estimated), tokens, t("词元", "tokens"));
  const notes = [
    tokens.cut_rows
      ? t(`${formatNumber(tokens.cut_rows)} 条超出截断长度，共会截掉 ${formatNumber(tokens.cut_tokens ?? 0)} 个词元。`, `${formatNumber(tokens.cut_rows)} rows are longer than cutoff_len; ${formatNumber(tokens.cut_tokens ?? 0)} tokens would be cut off.`)
      : "",
  ].filter(Boolean);
  if (notes.length) card.append(element("p", { class: "faint" }, notes.join(t("", " "))));
  return [card];
}

function nameTokensCard(estimated = false): string {
  return estimated ? t("每条的词元数（按字数估算）", "Tokens of a row, reckoned from the letters") : t("每条的词元数", "Tokens of a row");
}

function buildPictures(report: Report): HTMLElement[] {
  const pictures = report.statistics?.pictures;
  if (!pictures?.count) return [];
  const sizes = pictures.sizes ?? [];
  const most = Math.max(...sizes.map((size) => size.count), 1);
  return [
    element(
      "section",
      { class: "card statistic" },
      element("h2", {}, t("图片大小", "Picture sizes")),
      buildFigures([
        [t("张数", "pictures"), pictures.count],
        [t("每条", "in a row"), pictures.per_example],
        [t("平均宽", "mean width"), pictures.width_mean],
        [t("平均高", "mean height"), pictures.height_mean],
      ]),
      element(
        "ul",
        { class: "shares" },
        ...sizes.map((size) => buildShare(`${size.width} × ${size.height}`, size.count / most, formatNumber(size.count))),
      ),
    ),
  ];
}

function buildFigures(figures: [string, number | null | undefined][]): HTMLElement {
  const known = figures.filter((figure): figure is [string, number] => typeof figure[1] === "number");
  return element(
    "p",
    { class: "statistic-figures" },
    ...known.map(([label, value]) =>
      element("span", {}, element("small", { class: "faint" }, label), element("strong", { class: "number" }, formatNumber(value, value < 10 ? 1 : 0))),
    ),
  );
}

function buildShare(label: string, part: number, figure: string): HTMLElement {
  const filled = element("span");
  filled.style.width = `${part * 100}%`;
  return element(
    "li",
    {},
    element("span", { class: "number" }, label),
    element("div", { class: "progress", "aria-hidden": "true" }, filled),
    element("span", { class: "number" }, figure),
  );
}

export function buildDistribution(title: string, values: Distribution, unit: string): HTMLElement {
  return element(
    "section",
    { class: "card statistic" },
    element("h2", {}, title),
    buildFigures([
      [t("平均", "mean"), values.mean],
      [t("中位", "median"), values.p50],
      ["p95", values.p95],
      [t("最大", "largest"), values.max],
    ]),
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
  const rows = languages.map(([code, count]) => buildShare(nameLanguage(code), count / total, formatPercent(count / total, 1)));
  return [element("section", { class: "card statistic" }, element("h2", {}, t("语言", "Languages")), element("ul", { class: "shares" }, ...rows))];
}

function nameLanguage(code: string): string {
  if (code === "other") return t("其他", "others");
  return new Intl.DisplayNames([language === "zh" ? "zh-CN" : "en"], { type: "language" }).of(code) ?? code;
}

function buildDuplicates(report: Report): HTMLElement[] {
  const count = report.statistics?.duplicates;
  if (typeof count !== "number") return [];
  const share = report.example_count ? count / report.example_count : 0;
  return [
    element(
      "section",
      { class: "card statistic" },
      element("h2", {}, t("重复数据", "Duplicates")),
      buildFigures([[t("重复的条数", "rows that repeat another"), count]]),
      element("p", { class: "faint" }, count ? t(`占全部的 ${formatPercent(share, 1)}`, `${formatPercent(share, 1)} of all rows`) : t("没有完全相同的数据。", "No two rows are the same.")),
    ),
  ];
}
