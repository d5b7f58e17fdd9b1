/** Models and datasets to choose from. */
import { callAll } from "../api";
import { type Dataset } from "../datasets";
import { buildModalities, formatCount, readDescription } from "../descriptions";
import { element } from "../dom";
import { formatBytes, formatNumber } from "../format";
import { t } from "../language";
import { type BaseModel } from "../models";

export async function listModels(): Promise<BaseModel[]> {
  return sortByName(await callAll<BaseModel>("/models"));
}

export async function listDatasets(): Promise<Dataset[]> {
  return sortByName(await callAll<Dataset>("/datasets"));
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
    this.models = (await listModels()).filter((model) => model.status === "ready");
    this.select.replaceChildren(...this.models.map((model) => element("option", { value: model.id }, model.name)));
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
      dataset.status === "ready" &&
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
        element("strong", {}, dataset.name),
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
