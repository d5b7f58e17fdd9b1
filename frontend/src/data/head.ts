// The head of a dataset: its name, how it stands, and what can be done with the whole of it.
import { call } from "../api";
import {
  type Dataset,
  type DatasetDetail,
  datasetBadge,
  datasetProgress,
  explainWorkError,
  isBusy,
  isFetchable,
  isUsable,
  needsCleaning,
} from "../datasets";
import { buildModalities } from "../descriptions";
import { element, get, icon, replaceChildrenIfChanged } from "../dom";
import { t } from "../language";
import { askForText, notify, runWithButton } from "../notices";
import { buildCleanButton } from "./clean";
import { deleteDataset, fetchDataset } from "./table";

const isAdministrator = get("#dataset").dataset["isAdministrator"] === "yes";

export function drawHead(dataset: DatasetDetail, onChange: () => void): void {
  get("[data-name]").textContent = dataset.name;
  const key = JSON.stringify([dataset.name, dataset.status, dataset.visibility, dataset.version, isBusy(dataset)]);
  replaceChildrenIfChanged(get("[data-badges]"), key, () => [
    datasetBadge(dataset),
    element("span", { class: "badge" }, t(`版本 ${dataset.version ?? 1}`, `version ${dataset.version ?? 1}`)),
    ...(dataset.visibility === "public" ? [element("span", { class: "badge" }, t("公共", "shared"))] : []),
    ...buildModalities(dataset.modalities),
  ]);
  replaceChildrenIfChanged(get("[data-actions]"), key, () => buildActions(dataset, onChange));
  replaceChildrenIfChanged(get("[data-state]"), JSON.stringify([key, dataset.progress, dataset.error, dataset.versions]), () =>
    buildState(dataset),
  );
}

function buildActions(dataset: DatasetDetail, onChange: () => void): HTMLElement[] {
  const mayChange = dataset.visibility !== "public" || isAdministrator;
  const buttons: HTMLElement[] = [];
  if (isFetchable(dataset))
    buttons.push(buildButton("download", t("下载", "Fetch"), () => fetchDataset(dataset, onChange), "primary"));
  if (isBusy(dataset) && mayChange) buttons.push(buildButton("stop", t("取消", "Cancel"), () => cancel(dataset, onChange)));
  if (mayChange && dataset.status !== "available") {
    buttons.push(buildButton("edit", t("改名", "Rename"), () => rename(dataset, onChange), "quiet"));
    if (isAdministrator && isUsable(dataset)) buttons.push(buildShare(dataset, onChange));
    buttons.push(buildButton("trash", t("删除", "Delete"), () => remove(dataset), "quiet"));
  }
  if (isUsable(dataset)) {
    const href = `/train?dataset=${encodeURIComponent(dataset.id)}`;
    buttons.push(element("a", { class: "button primary", href, "data-train": true }, icon("tune"), t("用它微调", "Fine-tune on it")));
  }
  if (dataset.status === "available") {
    const href = `/train?dataset=${encodeURIComponent(dataset.id)}`;
    buttons.push(element("a", { class: "button", href }, icon("tune"), t("先看预估", "Estimate first")));
  }
  return buttons;
}

function buildButton(symbol: string, text: string, act: () => Promise<void>, look = ""): HTMLElement {
  const button: HTMLButtonElement = element(
    "button",
    { class: `button ${look}`, type: "button", onclick: () => void runWithButton(button, act) },
    icon(symbol),
    text,
  );
  return button;
}

function buildState(dataset: DatasetDetail): HTMLElement[] {
  if (isBusy(dataset)) return [element("div", { class: "card state-card" }, datasetProgress(dataset))];
  const texts: Record<string, string> = {
    available: t(
      "这个预置数据集还没有下载；不下载也能先看预估，下载后即可训练。",
      "This preset has not been fetched. Estimates work already; fetch it to train on it.",
    ),
    broken: explainWorkError(dataset.error),
    failed: explainWorkError(dataset.error) || t("导入失败，请重新上传或导入。", "The import failed; upload or import it again."),
    missing: t("数据集的文件不在了，请重新下载或导入。", "The files of this dataset are gone; fetch or import it again."),
  };
  if (needsCleaning(dataset)) return [buildCleaning(dataset)];
  const text = texts[dataset.status];
  const look = dataset.status === "available" ? "" : dataset.status === "missing" ? "warning" : "bad";
  return text ? [element("p", { class: `banner ${look}`, role: "status" }, text)] : [];
}

/** The first thing on the page: one click makes it usable; a copy that was made already is led to. */
function buildCleaning(dataset: DatasetDetail): HTMLElement {
  const copy = dataset.versions.find((version) => version.note === "cleaned" && version.version > (dataset.version ?? 1));
  const link = copy && element(
    "a",
    { class: "button primary", href: `/data/${encodeURIComponent(copy.id)}` },
    t(`打开清洗后的副本（版本 ${copy.version}）`, `Open the cleaned copy (version ${copy.version})`),
  );
  const mayClean = dataset.visibility !== "public" || isAdministrator;
  return element(
    "div",
    { class: "banner warning cleaning", role: "status" },
    element("p", {}, explainWorkError(dataset.error)),
    link ?? (mayClean ? buildCleanButton(dataset, openCopy) : null),
  );
}

export function openCopy(copy: Dataset): void {
  location.assign(`/data/${encodeURIComponent(copy.id)}`);
}

async function cancel(dataset: DatasetDetail, onChange: () => void): Promise<void> {
  await call("POST", `/datasets/${encodeURIComponent(dataset.id)}/cancel`);
  onChange();
}

async function rename(dataset: DatasetDetail, onChange: () => void): Promise<void> {
  const name = await askForText({ title: t("数据集改名", "Rename the dataset"), label: t("名称", "Name"), value: dataset.name, confirm: t("保存", "Save"), most: 120 });
  if (name === null || name === dataset.name) return;
  await call("PATCH", `/datasets/${encodeURIComponent(dataset.id)}`, { body: { name } });
  onChange();
}

function buildShare(dataset: DatasetDetail, onChange: () => void): HTMLElement {
  const isShared = dataset.visibility === "public";
  return buildButton(
    "user",
    isShared ? t("取消公共", "Stop sharing") : t("设为公共", "Share with all"),
    async () => {
      await call("PATCH", `/datasets/${encodeURIComponent(dataset.id)}`, { body: { visibility: isShared ? "private" : "public" } });
      notify(isShared ? t("已改为私有。", "It is private again.") : t("所有人都可以使用了。", "Everybody may use it now."), "good");
      onChange();
    },
    "quiet",
  );
}

async function remove(dataset: DatasetDetail): Promise<void> {
  if (await deleteDataset(dataset)) location.assign("/data");
}
