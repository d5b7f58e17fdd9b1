// What a check found, grouped: where it is, what is wrong, and how to mend it.
import type { DatasetDetail } from "../datasets";
import { isBusy } from "../datasets";
import { type Child, element, get, icon } from "../dom";
import { formatNumber } from "../format";
import { t } from "../language";
import { buildCleanButton } from "./clean";
import { openCopy } from "./head";
import type { Finding, FindingExample, Report, Severity } from "./report";

const ORDER: Severity[] = ["error", "warning", "info"];

export class FindingList {
  private readonly place = get("[data-findings]");

  constructor(
    private readonly url: string,
    private readonly showRows: (code: string) => void,
  ) {}

  draw(dataset: DatasetDetail, report: Report): void {
    if (isBusy(dataset)) {
      this.place.replaceChildren(element("p", { class: "card soft" }, t("正在检查，稍等片刻。", "The check is running; a moment, please.")));
      return;
    }
    if (!report.findings.length) {
      const text =
        dataset.status === "available"
          ? t("下载之后才会检查。", "It is checked once it has been fetched.")
          : t("逐条检查完毕，没有发现问题。", "Every row was checked, and nothing is wrong.");
      this.place.replaceChildren(element("div", { class: "card empty" }, icon("check"), element("p", {}, text)));
      return;
    }
    const findings = [...report.findings].sort((a, b) => ORDER.indexOf(readSeverity(a)) - ORDER.indexOf(readSeverity(b)) || (b.count ?? 1) - (a.count ?? 1));
    this.place.replaceChildren(this.buildSummary(dataset, report), ...findings.map((finding, place) => this.buildGroup(finding, place === 0)));
  }

  private buildSummary(dataset: DatasetDetail, report: Report): HTMLElement {
    const rows = report.example_count;
    const kept = report.cleaned_count ?? report.usable_count ?? rows;
    const mayClean = dataset.visibility !== "public" && kept > 0 && (kept < rows || report.stops === true);
    return element(
      "div",
      { class: "card findings-head" },
      element("p", {}, describeOutcome(report, kept)),
      element(
        "div",
        { class: "row" },
        element("a", { class: "button", href: `/api/v1${this.url}/report.csv`, download: "" }, icon("download"), t("下载全部（CSV）", "Download all (CSV)")),
        mayClean ? buildCleanButton(dataset, openCopy) : null,
      ),
    );
  }

  private buildGroup(finding: Finding, isOpen: boolean): HTMLElement {
    const looks: Record<Severity, string> = { error: "bad", warning: "warning", info: "info" };
    const hint = t(finding.hint_zh ?? finding.hint ?? "", finding.hint ?? "");
    const severity = readSeverity(finding);
    const examples = finding.examples ?? [];
    const count = finding.count ?? 1;
    const rest = examples.length ? count - examples.length : 0;
    return element(
      "details",
      { class: "card finding", "data-finding": finding.code, open: isOpen },
      element(
        "summary",
        {},
        element("span", { class: `badge ${looks[severity]}` }, nameSeverity(severity)),
        element("strong", {}, nameFinding(finding)),
        element("span", { class: "faint number" }, t(`${formatNumber(count)} 处`, `${formatNumber(count)} ×`)),
      ),
      hint ? element("p", { class: "finding-hint" }, icon("info"), element("span", {}, hint)) : null,
      element("ul", { class: "finding-places" }, ...examples.map(buildExample)),
      element(
        "div",
        { class: "row" },
        rest > 0 ? element("span", { class: "faint" }, t(`另有 ${formatNumber(rest)} 处，见 CSV`, `${formatNumber(rest)} more are in the CSV`)) : null,
        examples.some((example) => example.row !== null)
          ? element("button", { class: "button small quiet", type: "button", onclick: () => this.showRows(finding.code) }, t("查看这些数据", "See these rows"))
          : null,
      ),
    );
  }
}

/** What LLaMA-Factory would do with it as it stands, and what a cleaned copy is. */
function describeOutcome(report: Report, kept: number): string {
  const [rows, lost] = [report.example_count, report.example_count - kept];
  if (!report.stops && !lost) return t("所有数据都能加载；以下几点值得看看。", "Every row loads; these points are worth a look.");
  const outcome = report.stops
    ? t("LLaMA-Factory 读到这些问题会中止，无法开始训练。", "LLaMA-Factory stops at these faults, before it trains.")
    : t(`${formatNumber(rows)} 条中有 ${formatNumber(lost)} 条会被 LLaMA-Factory 丢弃。`, `LLaMA-Factory would drop ${formatNumber(lost)} of ${formatNumber(rows)} rows.`);
  if (!kept) return outcome;
  const copy = t(
    `清洗后的副本去掉有错的 ${formatNumber(lost)} 条，保留可用的 ${formatNumber(kept)} 条，原数据不变。`,
    `A cleaned copy leaves out the ${formatNumber(lost)} faulty ones and keeps the ${formatNumber(kept)} that can be used; the original stays.`,
  );
  return `${outcome}${t("", " ")}${copy}`;
}

/** A dataset that nobody checked has findings without a grade. */
function readSeverity(finding: Finding): Severity {
  return finding.severity ?? "error";
}

export function nameFinding(finding: Finding): string {
  return t(finding.title_zh ?? finding.title ?? "", finding.title ?? "") || (finding.detail ?? finding.code);
}

function nameSeverity(severity: Severity): string {
  return { error: t("不可用", "Unusable"), warning: t("提醒", "Warning"), info: t("说明", "Note") }[severity];
}

function buildExample(example: FindingExample): HTMLElement {
  const where: Child[] = [];
  if (example.file) where.push(element("code", {}, example.file));
  if (example.line !== null && example.line !== undefined) where.push(t(`第 ${example.line} 行`, `line ${example.line}`));
  else if (example.row !== null && example.row !== undefined) where.push(t(`第 ${example.row + 1} 条`, `row ${example.row + 1}`));
  if (example.field) where.push(element("code", {}, example.field));
  const spaced = where.flatMap((part, place) => (place ? [" · ", part] : [part]));
  return element(
    "li",
    {},
    element("span", { class: "finding-where" }, ...spaced),
    element("span", {}, t(example.detail_zh ?? example.detail, example.detail)),
  );
}
