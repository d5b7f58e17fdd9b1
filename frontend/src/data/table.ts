// The table of datasets: what each is, how it stands, and what can be done to it.
import { call, newIdempotencyKey } from "../api";
import { type Dataset, datasetBadge, datasetProgress, describeDataset, describeRows, explainWorkError, isFetchable } from "../datasets";
import { buildModalities } from "../descriptions";
import { type Child, element, icon } from "../dom";
import { formatAgo, formatBytes } from "../format";
import { t } from "../language";
import { ask, runWithButton } from "../notices";
import { buildTable } from "../table";

export function buildDatasetTable(datasets: Dataset[], onChange: () => void): HTMLElement {
  const heads = [t("名称", "Name"), t("状态", "State"), t("内容", "Contents"), t("大小", "Size"), t("创建", "Created"), ""];
  const rows = datasets.map((dataset) => [
    [buildName(dataset)],
    buildState(dataset),
    [element("div", {}, describeRows(dataset)), element("div", { class: "tags" }, ...buildModalities(dataset.modalities))],
    [dataset.size_bytes ? formatBytes(dataset.size_bytes) : "–"],
    [dataset.status === "available" ? "–" : formatAgo(dataset.created_at)],
    [buildAction(dataset, onChange)],
  ]);
  const table = buildTable(heads, rows);
  table.classList.add("dataset-table");
  table.querySelectorAll("tbody tr").forEach((row, place) => row.setAttribute("data-dataset", datasets[place]!.id));
  return table;
}

function buildName(dataset: Dataset): HTMLElement {
  const isShared = dataset.visibility === "public";
  return element(
    "div",
    {},
    element("a", { class: "dataset-name", href: `/data/${encodeURIComponent(dataset.id)}` }, dataset.name),
    element(
      "span",
      { class: "tags inline" },
      (dataset.version ?? 1) > 1 ? element("span", { class: "badge" }, t(`版本 ${dataset.version}`, `version ${dataset.version}`)) : null,
      isShared ? element("span", { class: "badge" }, dataset.status === "available" ? t("预置", "preset") : t("公共", "shared")) : null,
    ),
    element("p", { class: "faint" }, describeDataset(dataset)),
  );
}

function buildState(dataset: Dataset): Child[] {
  const counts = dataset.finding_counts;
  const worst = counts?.error ? "bad" : counts?.warning ? "warning" : "";
  const total = (counts?.error ?? 0) + (counts?.warning ?? 0);
  return [
    datasetBadge(dataset),
    dataset.status === "failed" ? element("p", { class: "field-error" }, explainWorkError(dataset.error)) : null,
    datasetProgress(dataset),
    worst
      ? element(
          "a",
          { class: `badge ${worst}`, href: `/data/${encodeURIComponent(dataset.id)}#findings` },
          t(`${total} 处问题`, `${total} finding${total === 1 ? "" : "s"}`),
        )
      : null,
  ];
}

function buildAction(dataset: Dataset, onChange: () => void): Child {
  if (isFetchable(dataset)) return buildButton("download", t("下载", "Fetch"), () => fetchDataset(dataset, onChange), true);
  if (dataset.visibility === "public") return null;
  return buildButton("trash", t("删除", "Delete"), async () => {
    if (await deleteDataset(dataset)) onChange();
  });
}

function buildButton(symbol: string, text: string, act: () => Promise<void>, isMain = false): HTMLElement {
  const button: HTMLButtonElement = element(
    "button",
    { class: `button small ${isMain ? "" : "quiet"}`, type: "button", onclick: () => void runWithButton(button, act) },
    icon(symbol),
    text,
  );
  return button;
}

/** Fetch a preset, or go on with an import that failed. */
export async function fetchDataset(dataset: Dataset, onChange: () => void): Promise<void> {
  await call("POST", `/datasets/${encodeURIComponent(dataset.id)}/download`, { idempotencyKey: newIdempotencyKey() });
  onChange();
}

/** True when the person agreed and it is gone. */
export async function deleteDataset(dataset: Pick<Dataset, "id" | "name">): Promise<boolean> {
  const agreed = await ask({
    title: t(`删除数据集“${dataset.name}”？`, `Delete the dataset “${dataset.name}”?`),
    text: t("文件会从服务器删除，无法恢复；已结束的任务不受影响。", "Its files are deleted from the server for good; finished jobs keep their results."),
    confirm: t("删除", "Delete"),
    dangerous: true,
  });
  if (agreed) await call("DELETE", `/datasets/${encodeURIComponent(dataset.id)}`);
  return agreed;
}
