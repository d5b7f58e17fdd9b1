// LLaMA-Factory's own table of models: searched, with what fits the GPUs here, and downloaded from a hub.
import { type Page, call, explain, newIdempotencyKey } from "../api";
import { buildModalities, formatCount } from "../descriptions";
import { element, get, icon, onPause } from "../dom";
import { formatBytes } from "../format";
import { language, t } from "../language";
import type { BaseModel } from "../models";
import { notify, runWithButton } from "../notices";
import { buildTable } from "../table";

type Hub = "huggingface" | "modelscope";

export interface CatalogueEntry {
  name: string;
  family: string;
  template: string | null;
  modalities: string[];
  repos: Partial<Record<Hub, string>>;
  parameters?: number | null;
  licence?: string | null;
  size_bytes?: number | null;
  model_id: string | null;
  fits?: { gpu_kind: string; method: string; gpus: number | null; fits: "yes" | "tight" | "no" }[];
}

const PAGE_SIZE = 50;

export class CatalogueList {
  private readonly search = get<HTMLInputElement>("#catalogue-search");
  private readonly modality = get<HTMLSelectElement>("#catalogue-modality");
  private readonly fits = get<HTMLInputElement>("#catalogue-fits");
  private readonly hub = get<HTMLSelectElement>("#catalogue-hub");
  private readonly more = get<HTMLButtonElement>("#more-catalogue");
  private entries: CatalogueEntry[] = [];
  private next: string | null = null;
  private asking = 0;

  constructor(private readonly onAdded: (model: BaseModel) => void) {
    this.hub.value = language === "zh" ? "modelscope" : "huggingface";
    onPause(this.search, () => void this.load());
    this.modality.addEventListener("change", () => void this.load());
    this.fits.addEventListener("change", () => this.draw());
    this.hub.addEventListener("change", () => this.draw());
    this.more.addEventListener("click", () => void runWithButton(this.more, () => this.read(this.next)));
  }

  async load(): Promise<void> {
    try {
      await this.read(null);
    } catch (error) {
      get("#catalogue").replaceChildren(element("p", { class: "banner bad" }, explain(error)));
    }
  }

  private async read(after: string | null): Promise<void> {
    const asking = (this.asking += 1);
    const query = new URLSearchParams({ limit: String(PAGE_SIZE) });
    if (this.search.value.trim()) query.set("q", this.search.value.trim());
    if (this.modality.value) query.set("modality", this.modality.value);
    if (after) query.set("after", after);
    const page = await call<Page<CatalogueEntry>>("GET", `/model-catalogue?${query}`);
    if (asking !== this.asking) return;
    this.entries = after ? [...this.entries, ...page.data] : page.data;
    this.next = page.next;
    this.draw();
  }

  private draw(): void {
    const shown = this.fits.checked ? this.entries.filter((entry) => listFits(entry).length > 0) : this.entries;
    this.more.hidden = this.next === null;
    const heads = [t("模型", "Model"), t("模态", "Modalities"), t("大小", "Size"), t("许可", "Licence"), t("本平台 GPU", "On my GPUs"), ""];
    const rows = shown.map((entry) => [
      [element("div", {}, element("strong", {}, entry.name), element("p", { class: "faint" }, [entry.family, entry.template ? t(`模板 ${entry.template}`, `template ${entry.template}`) : ""].filter(Boolean).join(" · ")))],
      [element("div", { class: "tags" }, ...buildModalities(entry.modalities))],
      [describeSize(entry)],
      [entry.licence ?? "–"],
      [describeFits(entry)],
      [this.buildAction(entry)],
    ]);
    const nothing = element("div", { class: "card empty" }, icon("search"), element("p", {}, t("没有符合条件的模型；也可以按 Hub 上的 ID 直接添加。", "No model matches; one can also be added by its id on a hub.")));
    get("#catalogue").replaceChildren(shown.length ? buildTable(heads, rows) : nothing);
  }

  private buildAction(entry: CatalogueEntry): HTMLElement {
    if (entry.model_id) return element("a", { class: "badge good", href: "#models" }, icon("check"), t("已添加", "Added"));
    const wanted = this.hub.value as Hub;
    const repo = entry.repos[wanted];
    if (!repo) return element("span", { class: "faint" }, t("该来源没有", "not on this hub"));
    const button: HTMLButtonElement = element(
      "button",
      { class: "button small", type: "button", title: repo, onclick: () => void runWithButton(button, () => this.fetch(entry, wanted, repo)) },
      icon("download"),
      t("下载", "Fetch"),
    );
    return button;
  }

  private async fetch(entry: CatalogueEntry, hub: Hub, repo: string): Promise<void> {
    const model = await call<BaseModel>("POST", "/models", { body: { hub: { hub, repo_id: repo } }, idempotencyKey: newIdempotencyKey() });
    entry.model_id = model.id;
    this.draw();
    notify(t(`已开始下载“${model.name}”。`, `“${model.name}” is being fetched.`), "good");
    this.onAdded(model);
  }
}

function describeSize(entry: CatalogueEntry): string {
  const parts = [entry.parameters ? formatCount(entry.parameters) : "", entry.size_bytes ? formatBytes(entry.size_bytes) : ""];
  return parts.filter(Boolean).join(" · ") || "–";
}

function listFits(entry: CatalogueEntry): NonNullable<CatalogueEntry["fits"]> {
  return (entry.fits ?? []).filter((fit) => fit.fits !== "no");
}

/** "LoRA：H100 × 1" for each method that some kind of GPU here has room for. */
function describeFits(entry: CatalogueEntry): string {
  if (!entry.fits?.length) return "–";
  const names: Record<string, string> = { lora: "LoRA", qlora: "QLoRA", freeze: "Freeze", full: t("全参数", "full") };
  const parts = listFits(entry).map((fit) => `${names[fit.method] ?? fit.method}${t("：", ": ")}${fit.gpu_kind} × ${fit.gpus ?? 1}`);
  return parts.length ? parts.join(t("；", "; ")) : t("放不下", "does not fit");
}
