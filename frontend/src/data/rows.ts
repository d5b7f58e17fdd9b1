// The rows of a dataset as conversations, with pictures, search, findings, and how a template renders one.
import { call, callAll, explain } from "../api";
import { buildPager, buildRange } from "../comparison/answers";
import { type DatasetDetail, isBusy } from "../datasets";
import { type Child, element, get, icon, onPause } from "../dom";
import { t } from "../language";
import { notifyError } from "../notices";
import type { BaseModel } from "../models";
import { nameFinding } from "./findings";
import { buildMedia } from "./media";
import type { Report } from "./report";

const PAGE_SIZE = 10;

interface Message {
  role: string;
  content: string;
}

export interface DatasetRow {
  index: number;
  line?: number | null;
  messages: Message[];
  images: string[];
  videos?: string[];
  audios?: string[];
  system?: string | null;
  tools?: string | null;
  findings?: string[];
}

interface RowPage {
  data: DatasetRow[];
  /** Null where a search was not carried on to the end. */
  total: number | null;
  has_more: boolean;
}

interface Rendered {
  text: string;
  segments: { text: string; learnt: boolean }[];
}

export class RowBrowser {
  private readonly place = get("[data-rows]");
  private readonly search = get<HTMLInputElement>("#row-search");
  private readonly finding = get<HTMLSelectElement>("#row-finding");
  private readonly template = get<HTMLSelectElement>("#row-template");
  private titles = new Map<string, string>();
  private offset = 0;
  private isShown = false;
  private asking = 0;
  private dataset: DatasetDetail | null = null;

  constructor(private readonly url: string) {
    onPause(this.search, () => this.turn(0));
    this.finding.addEventListener("change", () => this.turn(0));
    this.loadTemplates().catch(notifyError);
  }

  /** The dataset is there, or was changed: what is shown is read again. */
  setDataset(dataset: DatasetDetail, report: Report): void {
    this.dataset = dataset;
    this.titles = new Map(report.findings.map((finding) => [finding.code, nameFinding(finding)]));
    const chosen = this.finding.value;
    const first = this.finding.options[0]!;
    this.finding.replaceChildren(first, ...[...this.titles].map(([code, title]) => element("option", { value: code }, title)));
    this.finding.value = this.titles.has(chosen) ? chosen : "";
    if (this.isShown) void this.read();
  }

  showFinding(code: string): void {
    this.finding.value = code;
    this.search.value = "";
    this.offset = 0;
    void this.load();
  }

  /** Called when the tab is opened. */
  async load(): Promise<void> {
    this.isShown = true;
    if (this.dataset) await this.read();
  }

  private turn(offset: number): void {
    this.offset = offset;
    void this.read();
  }

  private async read(): Promise<void> {
    const asking = (this.asking += 1);
    const { dataset } = this;
    if (!dataset || dataset.status === "available" || isBusy(dataset)) {
      const text =
        dataset?.status === "available"
          ? t("下载之后可以在这里逐条查看。", "Once it has been fetched, its rows can be read here.")
          : t("正在处理，完成后可以在这里逐条查看。", "Being worked on; its rows can be read here when it is done.");
      this.place.replaceChildren(element("p", { class: "card soft" }, text));
      return;
    }
    const query = new URLSearchParams({ offset: String(this.offset), limit: String(PAGE_SIZE) });
    if (this.search.value.trim()) query.set("q", this.search.value.trim());
    if (this.finding.value) query.set("finding", this.finding.value);
    try {
      const page = await call<RowPage>("GET", `${this.url}/rows?${query}`);
      if (asking === this.asking) this.draw(page);
    } catch (error) {
      if (asking === this.asking) this.place.replaceChildren(element("p", { class: "banner bad" }, explain(error)));
    }
  }

  private draw(page: RowPage): void {
    if (!page.data.length) {
      const isSearch = this.search.value.trim() !== "" || this.finding.value !== "";
      const text = isSearch ? t("没有符合条件的数据。", "No row matches.") : t("没有可读的数据。", "There is no row that can be read.");
      this.place.replaceChildren(element("div", { class: "card empty" }, icon("search"), element("p", {}, text)));
      return;
    }
    this.place.replaceChildren(
      ...page.data.map((row) => this.buildRow(row)),
      element(
        "div",
        { class: "rows-foot" },
        buildRange(this.offset, page.data.length, page.total),
        buildPager(this.offset, page.has_more, PAGE_SIZE, (offset) => {
          this.turn(offset);
          get(".tabs").scrollIntoView({ block: "start" });
        }),
      ),
    );
  }

  private buildRow(row: DatasetRow): HTMLElement {
    const findings = row.findings ?? [];
    const line = row.line ? t(`文件第 ${row.line} 行`, `line ${row.line} of the file`) : "";
    return element(
      "article",
      { class: findings.length ? "card data-row faulty" : "card data-row", "data-row": row.index },
      element(
        "header",
        { class: "data-row-head" },
        element("strong", { class: "number" }, `#${row.index + 1}`),
        element("span", { class: "faint" }, line),
        ...findings.map((code) => element("span", { class: "badge bad" }, this.titles.get(code) ?? code)),
        this.buildRender(row),
      ),
      buildMedia(row),
      row.system ? buildMessage({ role: "system", content: row.system }) : null,
      row.tools ? buildMessage({ role: "tools", content: row.tools }) : null,
      ...row.messages.map(buildMessage),
    );
  }

  // -- templates -------------------------------------------------------------------------------------------

  private async loadTemplates(): Promise<void> {
    const models = await callAll<BaseModel>("/models");
    // Templates of models that are here come first.
    models.sort((a, b) => Number(a.status !== "ready") - Number(b.status !== "ready") || a.name.localeCompare(b.name));
    const byTemplate = new Map<string, string[]>();
    for (const model of models) byTemplate.set(model.template, [...(byTemplate.get(model.template) ?? []), model.name]);
    this.template.replaceChildren(
      ...[...byTemplate.keys()].map((name) => element("option", { value: name }, t(`模板 ${name}（${byTemplate.get(name)![0]}）`, `template ${name} (${byTemplate.get(name)![0]})`))),
    );
  }

  private buildRender(row: DatasetRow): HTMLElement {
    const button: HTMLButtonElement = element(
      "button",
      { class: "button small quiet", type: "button", "aria-expanded": "false", "data-render": true, onclick: () => void this.toggleRendered(button, row) },
      icon("list"),
      t("模板效果", "As the model sees it"),
    );
    return button;
  }

  private async toggleRendered(button: HTMLButtonElement, row: DatasetRow): Promise<void> {
    const card = button.closest("article")!;
    const shown = card.querySelector(".rendered");
    button.setAttribute("aria-expanded", String(!shown));
    if (shown) {
      shown.remove();
      return;
    }
    const query = new URLSearchParams({ index: String(row.index), template: this.template.value || "default" });
    try {
      card.append(buildRendered(await call<Rendered>("GET", `${this.url}/rendered?${query}`), query.get("template")!));
    } catch (error) {
      button.setAttribute("aria-expanded", "false");
      notifyError(error);
    }
  }
}

function buildMessage(message: Message): HTMLElement {
  const names: Record<string, string> = {
    system: t("系统", "System"),
    user: t("用户", "User"),
    assistant: t("回答", "Assistant"),
    chosen: t("更好的回答", "Chosen"),
    rejected: t("较差的回答", "Rejected"),
    tools: t("工具", "Tools"),
    function: t("调用工具", "Tool call"),
    function_call: t("调用工具", "Tool call"),
    observation: t("工具结果", "Tool result"),
    tool: t("工具结果", "Tool result"),
    text: t("文本", "Text"),
  };
  const look = ["assistant", "chosen", "function", "function_call"].includes(message.role) ? "answer-side" : "";
  const content: Child = message.content === "" ? element("em", { class: "faint" }, t("（空）", "(empty)")) : message.content;
  return element(
    "div",
    { class: `message ${look} ${message.role === "rejected" ? "rejected" : ""}` },
    element("span", { class: "message-role" }, names[message.role] ?? message.role),
    element("div", { class: "message-text" }, content),
  );
}

/** What is learnt is marked; the rest is only read. */
function buildRendered(rendered: Rendered, template: string): HTMLElement {
  return element(
    "div",
    { class: "rendered" },
    element(
      "p",
      { class: "faint" },
      t(`按模板 ${template}：`, `By the template ${template}: `),
      element("mark", {}, t("标记的部分参与学习", "what is marked is learnt")),
      t("，其余只作为上下文。", "; the rest is context."),
    ),
    element("pre", {}, ...rendered.segments.map((segment) => (segment.learnt ? element("mark", {}, segment.text) : segment.text))),
  );
}
