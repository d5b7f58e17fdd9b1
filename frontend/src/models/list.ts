// Models one may use, and presets to fetch: how each stands, and what can be done to it.
import { call, newIdempotencyKey } from "../api";
import { explainWorkError } from "../datasets";
import { buildModalities, formatCount, readDescription } from "../descriptions";
import { element, icon } from "../dom";
import { formatBytes } from "../format";
import { t } from "../language";
import { type BaseModel, modelBadge } from "../models";
import { ask, askForText, runWithButton } from "../notices";
import { buildWorkLine } from "../work";

export interface Viewer {
  username: string;
  isAdministrator: boolean;
  onChange: () => void;
}

export function buildModelSections(models: BaseModel[], viewer: Viewer): HTMLElement[] {
  const isPreset = (model: BaseModel): boolean => model.status === "available";
  const here = models.filter((model) => !isPreset(model));
  const presets = models.filter(isPreset);
  return [
    here.length ? buildSection(t("可用的模型", "Models here"), here, viewer) : buildNothing(),
    ...(presets.length ? [buildSection(t("预置模型：一键下载，下载前即可预估", "Presets: fetched with one click, estimated before"), presets, viewer)] : []),
  ];
}

function buildNothing(): HTMLElement {
  const text = t("还没有模型。下载下面的预置模型，或在“模型目录”中查找。", "No model yet. Fetch a preset below, or look in the catalogue.");
  return element("div", { class: "card empty" }, icon("cube"), element("p", {}, text));
}

function buildSection(title: string, models: BaseModel[], viewer: Viewer): HTMLElement {
  return element("section", { class: "model-section" }, element("h2", {}, title), element("div", { class: "model-cards" }, ...models.map((model) => buildCard(model, viewer))));
}

function buildCard(model: BaseModel, viewer: Viewer): HTMLElement {
  const isMoving = model.status === "downloading" || model.status === "paused";
  return element(
    "article",
    { class: "card model-card", "data-model": model.id },
    element("header", {}, element("h3", {}, model.name), modelBadge(model)),
    element("p", { class: "soft" }, readDescription(model.description)),
    element(
      "p",
      { class: "tags" },
      ...buildModalities(model.modalities),
      model.parameters ? element("span", { class: "badge" }, t(`${formatCount(model.parameters)} 参数`, `${formatCount(model.parameters)} parameters`)) : null,
      model.size_bytes ? element("span", { class: "badge" }, formatBytes(model.size_bytes)) : null,
      element("span", { class: "badge", title: model.architecture }, t(`模板 ${model.template}`, `template ${model.template}`)),
      model.visibility === "private" ? element("span", { class: "badge" }, t("私有", "private")) : null,
      model.licence ? element("span", { class: "badge" }, t(`许可 ${model.licence}`, `licence ${model.licence}`)) : null,
    ),
    isMoving ? buildWorkLine(model.progress ?? null) : null,
    model.status === "failed" ? element("p", { class: "field-error" }, explainWorkError(model.error) || t("下载失败，可以重试。", "The download failed; try again.")) : null,
    element("div", { class: "row" }, ...buildActions(model, viewer)),
  );
}

function buildActions(model: BaseModel, viewer: Viewer): HTMLElement[] {
  const url = `/models/${encodeURIComponent(model.id)}`;
  const send = (part: string) => async (): Promise<void> => {
    await call("POST", `${url}/${part}`, { idempotencyKey: newIdempotencyKey() });
    viewer.onChange();
  };
  const buttons: HTMLElement[] = [];
  if (model.status === "available") buttons.push(buildButton("download", t("下载", "Fetch"), send("download"), "primary"));
  if (model.status === "downloading") buttons.push(buildButton("pause", t("暂停", "Pause"), send("cancel")));
  if (model.status === "paused") buttons.push(buildButton("play", t("继续下载", "Go on"), send("download"), "primary"));
  if (model.status === "failed" || model.status === "missing") buttons.push(buildButton("refresh", t("重试", "Try again"), send("download")));
  if (model.status === "ready" || model.status === "available")
    buttons.push(element("a", { class: "button small", href: `/train?model=${encodeURIComponent(model.id)}` }, icon("tune"), model.status === "ready" ? t("微调", "Fine-tune") : t("先看预估", "Estimate first")));
  if (model.source === "job") buttons.push(element("a", { class: "button small quiet", href: `/jobs/${encodeURIComponent(model.id)}` }, icon("list"), t("来源任务", "Its job")));
  const mayChange = model.owner === viewer.username || viewer.isAdministrator;
  if (model.status !== "available" && mayChange) buttons.push(...buildChanges(model, url, viewer));
  return buttons;
}

function buildChanges(model: BaseModel, url: string, viewer: Viewer): HTMLElement[] {
  async function rename(): Promise<void> {
    const name = await askForText({ title: t("模型改名", "Rename the model"), label: t("名称", "Name"), value: model.name, confirm: t("保存", "Save"), most: 120 });
    if (name === null || name === model.name) return;
    await call("PATCH", url, { body: { name } });
    viewer.onChange();
  }
  async function remove(): Promise<void> {
    const agreed = await ask({
      title: t(`删除模型“${model.name}”？`, `Delete the model “${model.name}”?`),
      text: t("文件会从服务器删除；已结束的任务不受影响。", "Its files are deleted from the server; finished jobs keep their results."),
      confirm: t("删除", "Delete"),
      dangerous: true,
    });
    if (!agreed) return;
    await call("DELETE", url);
    viewer.onChange();
  }
  async function share(): Promise<void> {
    await call("PATCH", url, { body: { visibility: model.visibility === "public" ? "private" : "public" } });
    viewer.onChange();
  }
  const shareText = model.visibility === "public" ? t("取消公共", "Stop sharing") : t("设为公共", "Share with all");
  return [
    ...(viewer.isAdministrator && model.owner && model.status === "ready" ? [buildButton("user", shareText, share, "quiet")] : []),
    buildButton("edit", t("改名", "Rename"), rename, "quiet"),
    // What a job left goes with the job.
    ...(model.source === "job" ? [] : [buildButton("trash", t("删除", "Delete"), remove, "quiet")]),
  ];
}

function buildButton(symbol: string, text: string, act: () => Promise<void>, look = ""): HTMLElement {
  const button: HTMLButtonElement = element(
    "button",
    { class: `button small ${look}`, type: "button", onclick: () => void runWithButton(button, act) },
    icon(symbol),
    text,
  );
  return button;
}
