/** Models and datasets to choose from. */
import { callAll } from "../api";
import { element } from "../dom";
import { formatBytes, formatNumber } from "../format";
import { language, t } from "../language";

type Description = string | { zh?: string; en?: string } | null;

export interface BaseModel {
  id: string;
  name: string;
  architecture: string;
  parameters: number;
  modalities: string[];
  template: string;
  size_bytes: number;
  status: string;
  source?: string;
  description: Description;
}

export interface Dataset {
  id: string;
  name: string;
  visibility: string;
  format: string;
  modalities: string[];
  example_count: number;
  token_stats: { mean?: number } | null;
  status: string;
  source?: string;
  description: Description;
}

export async function listModels(): Promise<BaseModel[]> {
  return sortByName(await callAll<BaseModel>("/models"));
}

export async function listDatasets(): Promise<Dataset[]> {
  return sortByName(await callAll<Dataset>("/datasets"));
}

function sortByName<Named extends { name: string }>(rows: Named[]): Named[] {
  return rows.sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
}

/** Whether a preset can be estimated with, but has to be fetched before a job can run with it. */
function isOffered(row: { status: string; source?: string }): boolean {
  return ["available", "downloading", "paused", "importing", "checking"].includes(row.status) && row.source === "preset";
}

function nameWithStatus(row: { name: string; status: string; source?: string }): string {
  return isOffered(row) ? t(`${row.name}（未下载，可先估算）`, `${row.name} (not fetched; estimates work)`) : row.name;
}

function readDescription(description: Description): string {
  if (typeof description === "string") return description;
  return description?.[language] ?? description?.en ?? "";
}

function nameModality(modality: string): string {
  const names: Record<string, string> = {
    text: t("文本", "text"),
    image: t("图片", "images"),
    video: t("视频", "video"),
    audio: t("音频", "audio"),
  };
  return names[modality] ?? modality;
}

/** 1180000 → "1.2 M". */
export function formatCount(count: number): string {
  if (count >= 1e9) return `${formatNumber(count / 1e9, 1)} B`;
  if (count >= 1e6) return `${formatNumber(count / 1e6, 1)} M`;
  return formatNumber(count, 0);
}

function buildModalities(modalities: string[]): HTMLElement[] {
  return modalities.map((modality) => element("span", { class: "badge" }, nameModality(modality)));
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
    const models = (await listModels()).filter((model) => model.status === "ready" || isOffered(model));
    // What is here comes first, so that it is what the form begins with.
    this.models = [...models.filter((model) => !isOffered(model)), ...models.filter(isOffered)];
    this.select.replaceChildren(
      ...this.models.map((model) => element("option", { value: model.id }, nameWithStatus(model))),
    );
    if (!this.models.length)
      this.select.append(
        element(
          "option",
          { value: "" },
          t("还没有模型，请联系管理员添加", "No model yet; ask an administrator for one"),
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

  private draw(): void {
    const { model } = this;
    if (!model) {
      this.details.replaceChildren();
      return;
    }
    this.details.replaceChildren(
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
      (dataset.status === "ready" || isOffered(dataset)) &&
      (model === null || dataset.modalities.every((modality) => model.modalities.includes(modality)))
    );
  }

  private draw(): void {
    const fitting = this.listFitting();
    const others = this.datasets.length - fitting.length;
    this.place.replaceChildren(...fitting.map((dataset) => this.buildRow(dataset)));
    if (!fitting.length) {
      const text = this.datasets.length
        ? t("没有适合这个模型的数据集。", "No dataset fits this model.")
        : t("还没有数据集，请联系管理员添加。", "No dataset yet; ask an administrator for one.");
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

  private buildRow(dataset: Dataset): HTMLElement {
    const box = element("input", { type: "checkbox", value: dataset.id });
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
        element("strong", {}, nameWithStatus(dataset)),
        element("small", {}, readDescription(dataset.description)),
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
