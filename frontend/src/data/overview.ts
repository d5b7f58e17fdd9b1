// The overview of a dataset: how many rows can be used, facts, and its versions.
import { type DatasetDetail, datasetBadge, describeDataset, isBusy, nameFormatting } from "../datasets";
import { element, get, replaceChildrenIfChanged } from "../dom";
import { formatBytes, formatNumber, formatTime } from "../format";
import { t } from "../language";
import { buildTable } from "../table";
import type { Report, Severity } from "./report";

/** Rows, usable ones, and findings of each kind, each leading to where it is told. */
export function drawTiles(dataset: DatasetDetail, report: Report): void {
  const place = get("[data-tiles]");
  if (isBusy(dataset)) {
    place.replaceChildren(element("p", { class: "card soft" }, t("正在处理，完成后这里会显示检查结果。", "Being worked on; what was found appears here when it is done.")));
    return;
  }
  const { example_count: rows, usable_count: usable } = report;
  const kept = report.cleaned_count ?? usable;
  const faulty = kept === null || kept === undefined ? null : rows - kept;
  place.replaceChildren(
    buildTile(formatNumber(rows), t("条数据", rows === 1 ? "row" : "rows"), "#rows"),
    buildTile(usable === null || usable === undefined ? "–" : formatNumber(usable), t("条现在即可训练", "usable as they stand"), "#rows", usable ? "good" : usable === 0 ? "bad" : ""),
    buildTile(faulty === null ? "–" : formatNumber(faulty), t("条有错误", "faulty"), "#findings", faulty ? "bad" : ""),
    buildTile(formatNumber(countFindings(report, "warning")), t("条有提醒", "with a warning"), "#findings", countFindings(report, "warning") ? "warning" : ""),
  );
}

function countFindings(report: Report, severity: Severity): number {
  return report.findings.filter((finding) => finding.severity === severity).reduce((sum, finding) => sum + (finding.count ?? 1), 0);
}

function buildTile(figure: string, text: string, href: string, look = ""): HTMLElement {
  return element("a", { class: `tile ${look}`, href }, element("strong", { class: "number" }, figure), element("span", {}, text));
}

export function drawFacts(dataset: DatasetDetail): void {
  const description = describeDataset(dataset);
  const rows: [string, Node | string][] = [
    ...(description ? [[t("说明", "Description"), description] as [string, string]] : []),
    [t("数据集 ID", "Dataset id"), element("code", {}, dataset.id)],
    [t("格式", "Format"), nameFormatting(dataset.mapping?.formatting ?? dataset.format)],
    [t("数据文件", "Data file"), dataset.mapping?.file_name ? element("code", {}, dataset.mapping.file_name) : "–"],
    [t("大小", "Size"), dataset.size_bytes ? formatBytes(dataset.size_bytes) : "–"],
    ...(dataset.token_stats?.mean
      ? [[t("平均词元", "Tokens on average"), formatNumber(dataset.token_stats.mean, 0)] as [string, string]]
      : []),
    ...(dataset.owner ? [[t("所有者", "Owner"), dataset.owner] as [string, string]] : []),
    [t("创建时间", "Created"), formatTime(dataset.created_at)],
  ];
  const key = JSON.stringify(rows.map(([label, value]) => [label, typeof value === "string" ? value : value.textContent]));
  replaceChildrenIfChanged(get("[data-facts]"), key, () =>
    rows.flatMap(([label, value]) => [element("dt", {}, label), element("dd", {}, value)]),
  );
}

export function drawVersions(dataset: DatasetDetail): void {
  const versions = [...(dataset.versions ?? [])].sort((a, b) => b.version - a.version);
  replaceChildrenIfChanged(get("[data-versions]"), JSON.stringify([versions, dataset.id]), () => {
    const heads = [t("版本", "Version"), t("状态", "State"), t("条数", "Rows"), t("说明", "Note"), t("创建", "Created")];
    const rows = versions.map((version) => [
      [
        version.id === dataset.id
          ? element("strong", {}, t(`版本 ${version.version}（当前）`, `Version ${version.version} (this one)`))
          : element("a", { href: `/data/${encodeURIComponent(version.id)}` }, t(`版本 ${version.version}`, `Version ${version.version}`)),
      ],
      [datasetBadge(version)],
      [formatNumber(version.example_count)],
      [nameNote(version.note)],
      [formatTime(version.created_at)],
    ]);
    const table = buildTable(heads, rows);
    table.classList.remove("card");
    return [table];
  });
}

function nameNote(note: string | null): string {
  const names: Record<string, string> = {
    uploaded: t("上传", "uploaded"),
    imported: t("导入", "imported"),
    cleaned: t("清洗后的副本", "cleaned copy"),
    mapping: t("更正了列与角色", "columns and roles put right"),
  };
  return names[note ?? ""] ?? note ?? "";
}
