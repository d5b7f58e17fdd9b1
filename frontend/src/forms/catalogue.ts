/** Models and datasets to choose from. */
import { call, callAll, newIdempotencyKey } from "../api";
import { buildCleanButton } from "../data/clean";
import { type Dataset, datasetBadge, isBusy, nameDatasetStatus, needsCleaning } from "../datasets";
import { buildModalities, formatCount, readDescription } from "../descriptions";
import { element, icon } from "../dom";
import { formatBytes, formatNumber } from "../format";
import { t } from "../language";
import { type BaseModel, nameModelStatus } from "../models";
import { notify, runWithButton } from "../notices";

/** What is here may be used; a preset may be chosen and estimated with before, and be submitted once it is here. */
function isOffered(row: { status: string; source?: string }): boolean {
  return row.status === "ready" || (row.source === "preset" && row.status !== "missing" && row.status !== "broken");
}

/** One's own dataset that is of use once it is cleaned. */
function mayBeCleaned(dataset: Dataset): boolean {
  return needsCleaning(dataset) && dataset.visibility !== "public";
}

export async function listModels(): Promise<BaseModel[]> {
  return sortByName(await callAll<BaseModel>("/models"));
}

export async function listDatasets(): Promise<Dataset[]> {
  return sortByName(await callAll<Dataset>("/datasets"));
}

/** Fetches a preset, whose size it names, and then looks again. */
function buildFetchButton(path: string, sizeBytes: number, onAsked: () => Promise<void>): HTMLElement {
  const button: HTMLButtonElement = element(
    "button",
    {
      class: "button small",
      type: "button",
      "data-fetch": true,
      onclick: () =>
        void runWithButton(button, async () => {
          await call("POST", path, { idempotencyKey: newIdempotencyKey() });
          await onAsked();
        }),
    },
    icon("download"),
    sizeBytes ? t(`下载（${formatBytes(sizeBytes)}）`, `Fetch (${formatBytes(sizeBytes)})`) : t("下载", "Fetch"),
  );
  return button;
}

function sortByName<Named extends { name: string }>(rows: Named[]): Named[] {
  return rows.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
}

// -- model -------------------------------------------------------------------------------------------------

export class ModelPicker {
  private models: BaseModel[] = [];

  constructor(
    private readonly select: HTMLSelectElement,
    private readonly details: HTMLElement,
    private readonly onChange: () => void,
  ) {
    select.addEventListener("change", () => {
      this.draw();
      this.onChange();
    });
  }

  async load(): Promise<void> {
    const offered = (await listModels()).filter(isOffered);
    // What can be used at once comes first; presets can be estimated before they are fetched.
    this.models = offered.sort((a, b) => Number(a.status !== "ready") - Number(b.status !== "ready"));
    const chosen = this.select.value;
    this.select.replaceChildren(...this.models.map((model) => element("option", { value: model.id }, nameOption(model))));
    if (this.models.some((model) => model.id === chosen)) this.select.value = chosen;
    if (!this.models.length)
      this.select.append(
        element(
          "option",
          { value: "" },
          t("还没有模型，请在“模型”页下载或添加", "No model yet: fetch or add one on the page Models"),
        ),
      );
    this.draw();
  }

  get model(): BaseModel | null {
    return this.models.find((model) => model.id === this.select.value) ?? null;
  }

  /** Choose by id or name; false when there is no such model any more. */
  choose(reference: string): boolean {
    const model = this.models.find((one) => one.id === reference || one.name === reference);
    if (model) this.select.value = model.id;
    this.draw();
    return model !== undefined;
  }

  /** A preset that lies on its hub yet: what it takes is told already, training needs its files. */
  private buildOffer(model: BaseModel): HTMLElement {
    const isMoving = model.status === "downloading";
    const text = isMoving
      ? t("正在下载，完成后即可提交；预估现在就能看。", "Being fetched; it can be submitted when that is done. The estimate works already.")
      : t("这个模型还没有下载：预估现在就能看，提交前需要先下载。", "This model is not fetched yet: the estimate works, but it must be fetched before you submit.");
    return element(
      "div",
      { class: "banner warning offer" },
      element("span", {}, text),
      isMoving
        ? element("a", { href: "/models" }, t("查看进度", "See how far it is"))
        : buildFetchButton(`/models/${encodeURIComponent(model.id)}/download`, model.size_bytes, () => this.load()),
    );
  }

  private draw(): void {
    const { model } = this;
    if (!model) {
      this.details.replaceChildren();
      return;
    }
    this.details.replaceChildren(
      ...(model.status === "ready" ? [] : [this.buildOffer(model)]),
      element("p", { class: "soft" }, readDescription(model.description)),
      element(
        "p",
        { class: "tags" },
        ...buildModalities(model.modalities),
        element(
          "span",
          { class: "badge" },
          t(`${formatCount(model.parameters)} 参数`, `${formatCount(model.parameters)} parameters`),
        ),
        element("span", { class: "badge" }, formatBytes(model.size_bytes)),
        element(
          "span",
          { class: "badge", title: model.architecture },
          t(`模板 ${model.template}`, `template ${model.template}`),
        ),
      ),
    );
  }
}

function nameOption(model: BaseModel): string {
  return model.status === "ready" ? model.name : t(`${model.name}（${nameModelStatus(model.status)}）`, `${model.name} (${nameModelStatus(model.status).toLowerCase()})`);
}

// -- datasets ----------------------------------------------------------------------------------------------

export class DatasetPicker {
  private datasets: Dataset[] = [];
  private readonly chosen = new Set<string>();
  private model: BaseModel | null = null;

  constructor(
    private readonly place: HTMLElement,
    private readonly onChange: () => void,
  ) {}

  async load(): Promise<void> {
    this.datasets = await listDatasets();
    this.draw();
  }

  /** Only datasets that the model can read are shown. */
  setModel(model: BaseModel | null): void {
    this.model = model;
    for (const dataset of this.datasets) {
      if (!this.fits(dataset)) this.chosen.delete(dataset.id);
    }
    this.draw();
  }

  /** Ids of the chosen datasets, in the order of the list. */
  get ids(): string[] {
    return this.datasets.filter((dataset) => this.chosen.has(dataset.id)).map((dataset) => dataset.id);
  }

  get names(): string[] {
    return this.datasets.filter((dataset) => this.chosen.has(dataset.id)).map((dataset) => dataset.name);
  }

  /** The datasets that the model can read. */
  listFitting(): Dataset[] {
    return this.datasets.filter((dataset) => this.fits(dataset));
  }

  /** Choose by ids or names; returns those that are not to be had. */
  choose(references: string[]): string[] {
    this.chosen.clear();
    const missing = references.filter((reference) => {
      const dataset = this.datasets.find((one) => (one.id === reference || one.name === reference) && this.fits(one));
      if (dataset) this.chosen.add(dataset.id);
      return !dataset;
    });
    this.draw();
    return missing;
  }

  private fits(dataset: Dataset): boolean {
    const { model } = this;
    return (
      (isOffered(dataset) || mayBeCleaned(dataset)) &&
      (model === null || dataset.modalities.every((modality) => model.modalities.includes(modality)))
    );
  }

  private draw(): void {
    const fitting = this.listFitting().sort((a, b) => Number(a.status !== "ready") - Number(b.status !== "ready"));
    const others = this.datasets.length - fitting.length;
    this.place.replaceChildren(...fitting.map((dataset) => this.buildRow(dataset)));
    if (!fitting.length) {
      const text = this.datasets.length
        ? t("没有适合这个模型的数据集。", "No dataset fits this model.")
        : t("还没有数据集，请先在“数据”页上传。", "No dataset yet; upload one on the page Data.");
      this.place.append(element("p", { class: "soft dataset-note" }, text));
    }
    if (others && fitting.length) {
      const text = t(
        `另有 ${others} 个数据集不适合这个模型，未列出。`,
        `${others} more ${others === 1 ? "does" : "do"} not fit this model and ${others === 1 ? "is" : "are"} not listed.`,
      );
      this.place.append(element("p", { class: "faint dataset-note" }, text));
    }
  }

  /** A preset can be chosen and estimated; before training on it, it must be fetched. What must be cleaned, can be here. */
  private buildOffer(dataset: Dataset): HTMLElement {
    if (mayBeCleaned(dataset)) {
      return element("span", { class: "dataset-offer" }, datasetBadge(dataset), buildCleanButton(dataset, () => this.waitForCopy(dataset)));
    }
    return element(
      "span",
      { class: "dataset-offer" },
      element("span", { class: "badge warning" }, nameDatasetStatus(dataset.status)),
      isBusy(dataset)
        ? element("a", { href: `/data/${encodeURIComponent(dataset.id)}` }, t("查看进度", "See how far it is"))
        : buildFetchButton(`/datasets/${encodeURIComponent(dataset.id)}/download`, dataset.size_bytes, () => this.load()),
    );
  }

  /** The copy takes the place of the dataset, and is chosen once it is ready. */
  private async waitForCopy(dataset: Dataset): Promise<void> {
    notify(t("正在生成清洗后的副本，完成后会自动选中。", "The cleaned copy is being made; it is chosen once it is ready."), "good");
    let copy: Dataset | undefined;
    do {
      await new Promise((resolve) => setTimeout(resolve, 1500));
      await this.load();
      copy = this.datasets.find((one) => one.series_id === dataset.series_id);
    } while (copy && isBusy(copy));
    if (copy?.status !== "ready" || !this.fits(copy)) return;
    this.chosen.add(copy.id);
    this.draw();
    this.onChange();
  }

  private buildRow(dataset: Dataset): HTMLElement {
    const box = element("input", { type: "checkbox", value: dataset.id, disabled: mayBeCleaned(dataset) });
    box.checked = this.chosen.has(dataset.id);
    box.addEventListener("change", () => {
      if (box.checked) this.chosen.add(dataset.id);
      else this.chosen.delete(dataset.id);
      this.onChange();
    });
    const mean = dataset.token_stats?.mean;
    const rows = t(`${formatNumber(dataset.example_count)} 条`, `${formatNumber(dataset.example_count)} rows`);
    return element(
      "label",
      { class: "dataset-row" },
      box,
      element(
        "span",
        { class: "dataset-text" },
        element("strong", {}, dataset.name),
        element("small", {}, readDescription(dataset.description)),
        dataset.status === "ready" ? null : this.buildOffer(dataset),
      ),
      element(
        "span",
        { class: "dataset-facts" },
        ...buildModalities(dataset.modalities),
        element("span", { class: "number" }, rows),
        mean
          ? element(
              "span",
              { class: "faint number" },
              t(`平均 ${formatNumber(mean, 0)} 词元`, `${formatNumber(mean, 0)} tokens on average`),
            )
          : null,
      ),
    );
  }
}
