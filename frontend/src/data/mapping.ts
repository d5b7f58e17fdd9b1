// How the columns and roles of a dataset are read, shown and put right: LLaMA-Factory's own `dataset_info` entry.
import { ApiError, call, explain } from "../api";
import { type DatasetDetail, type Mapping, isBusy } from "../datasets";
import { type Child, element, get, icon, replaceChildrenIfChanged } from "../dom";
import { t } from "../language";
import { notify, runWithButton } from "../notices";
import type { Report } from "./report";

type Formatting = "alpaca" | "sharegpt" | "openai";

/** Columns that each form has, by LLaMA-Factory's names. */
const MEDIA = ["images", "videos", "audios"];
const COLUMNS: Record<Formatting, string[]> = {
  alpaca: ["prompt", "query", "response", "history", "system", "tools", "chosen", "rejected", "kto_tag", ...MEDIA],
  sharegpt: ["messages", "system", "tools", "chosen", "rejected", "kto_tag", ...MEDIA],
  openai: ["messages", "system", "tools", "chosen", "rejected", "kto_tag", ...MEDIA],
};
const TAGS = ["role_tag", "content_tag", "user_tag", "assistant_tag", "observation_tag", "function_tag", "system_tag"];
const DEFAULT_TAGS: Record<"sharegpt" | "openai", string[]> = {
  sharegpt: ["from", "value", "human", "gpt", "observation", "function_call", "system"],
  openai: ["role", "content", "user", "assistant", "tool", "function", "system"],
};

export class MappingForm {
  private readonly place = get("[data-mapping]");
  private formatting: Formatting = "alpaca";
  private mapping: Mapping = {};
  private seen: NonNullable<Report["recognition"]> = {};

  constructor(
    private readonly url: string,
    private readonly onSaved: () => void,
  ) {}

  draw(dataset: DatasetDetail, report: Report): void {
    this.seen = report.recognition ?? {};
    const key = JSON.stringify([dataset.mapping, dataset.status, dataset.visibility, this.seen]);
    replaceChildrenIfChanged(this.place, key, () => [this.build(dataset)]);
  }

  private build(dataset: DatasetDetail): HTMLElement {
    const candidates = this.seen.candidates ?? [];
    // What was not recognised can be told by hand, as long as there is a data file.
    if (isBusy(dataset) || !(dataset.mapping || candidates.length)) {
      const text = isBusy(dataset)
        ? t("正在处理，完成后显示识别结果。", "Being worked on; what was recognised appears here when it is done.")
        : t("没有可以读取的数据文件。", "There is no data file that can be read.");
      return element("p", { class: "card soft" }, text);
    }
    this.mapping = dataset.mapping ?? { file_name: candidates[0] };
    const { formatting } = this.mapping;
    this.formatting = formatting === "sharegpt" || formatting === "openai" ? formatting : "alpaca";
    return this.buildForm(dataset.visibility !== "public");
  }

  private buildForm(mayChange: boolean): HTMLElement {
    const form = element("form", { class: "card mapping-form", autocomplete: "off" });
    const fill = (): void => {
      const parts: Child[] = [
        element("h2", {}, t("平台这样读取这个数据集", "How this dataset is read")),
        element(
          "p",
          { class: "soft" },
          t(
            "每一栏标着 LLaMA-Factory 的名称，请填数据中的列名；没有的列留空。保存后会重新检查；已被任务用过的版本不变，改动产生新版本。",
            "Each field bears LLaMA-Factory's name; it holds the column of your data, or nothing where there is none. Saving checks it again; a version that a job used stays, and the change makes a new one.",
          ),
        ),
        this.buildFileChoice(),
        this.buildFormatting(fill),
        element("datalist", { id: "seen-columns" }, ...(this.seen.columns ?? []).map((name) => element("option", { value: name }))),
        element("fieldset", { disabled: !mayChange }, this.buildFields(t("列", "Columns"), "columns", COLUMNS[this.formatting])),
        ...(this.formatting === "alpaca" ? [] : [element("fieldset", { disabled: !mayChange }, this.buildFields(t("角色与内容的写法", "How roles and contents are written"), "tags", TAGS))]),
        this.buildRanking(),
        element("p", { class: "field-error", role: "alert", "data-mapping-error": true, hidden: true }),
        ...(mayChange ? [element("button", { class: "button primary", type: "submit" }, icon("check"), t("保存并重新检查", "Save and check again"))] : []),
      ];
      form.replaceChildren(...parts.filter((part) => part instanceof Node));
      form.querySelectorAll<HTMLInputElement>("select, [name=ranking]").forEach((field) => (field.disabled = !mayChange));
    };
    fill();
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void runWithButton(get<HTMLButtonElement>("[type=submit]", form), () => this.save(form));
    });
    return form;
  }

  private buildFileChoice(): HTMLElement | null {
    const names = [...new Set([this.mapping.file_name, ...(this.seen.candidates ?? [])])].filter((name) => name !== undefined);
    if (names.length < 2) return null;
    const select = element("select", { class: "select", id: "file_name" }, ...names.map((name) => element("option", { value: name }, name)));
    select.value = this.mapping.file_name ?? names[0]!;
    return element("div", { class: "field" }, element("label", { for: "file_name" }, t("数据文件", "Data file")), select);
  }

  private buildFormatting(redraw: () => void): HTMLElement {
    const select = element("select", { class: "select", id: "formatting" });
    const names: [Formatting, string][] = [
      ["alpaca", t("Alpaca：指令、输入与回答各一列", "Alpaca: a column each for instruction, input and answer")],
      ["sharegpt", t("ShareGPT：一列里是整段对话", "ShareGPT: one column holds the conversation")],
      ["openai", t("OpenAI messages：role 与 content", "OpenAI messages: role and content")],
    ];
    select.append(...names.map(([value, text]) => element("option", { value }, text)));
    select.value = this.formatting;
    select.addEventListener("change", () => {
      this.formatting = select.value as Formatting;
      redraw();
    });
    return element("div", { class: "field" }, element("label", { for: "formatting" }, t("格式", "Format")), select);
  }

  private buildFields(title: string, part: "columns" | "tags", names: string[]): HTMLElement {
    const values = (this.mapping.formatting === this.formatting ? this.mapping[part] : undefined) ?? {};
    return element(
      "div",
      {},
      element("h3", {}, title),
      element(
        "div",
        { class: "mapping-grid" },
        ...names.map((name, place) => {
          const id = `${part}-${name}`;
          const usual = part === "tags" && this.formatting !== "alpaca" ? DEFAULT_TAGS[this.formatting][place] : "";
          const input = element("input", { class: "input mono", id, maxlength: 200, spellcheck: "false", placeholder: usual ?? "", "data-part": part, "data-name": name, list: part === "columns" ? "seen-columns" : null });
          input.value = values[name] ?? "";
          return element("div", { class: "field" }, element("label", { for: id }, nameField(name), " ", element("span", { class: "field-name" }, name)), input);
        }),
      ),
    );
  }

  private buildRanking(): HTMLElement {
    const box = element("input", { type: "checkbox", name: "ranking" });
    box.checked = this.mapping.ranking === true;
    return element("label", { class: "check" }, box, t("偏好数据：每条有更好与较差的两个回答", "Preference data: each row has a chosen and a rejected answer"));
  }

  private async save(form: HTMLFormElement): Promise<void> {
    const error = get("[data-mapping-error]", form);
    error.hidden = true;
    const entry: Mapping = { formatting: this.formatting, columns: readPart(form, "columns"), ranking: get<HTMLInputElement>("[name=ranking]", form).checked };
    if (this.formatting !== "alpaca") entry.tags = readPart(form, "tags");
    const fileName = form.querySelector<HTMLSelectElement>("#file_name")?.value ?? this.mapping.file_name;
    if (fileName) entry.file_name = fileName;
    try {
      const changed = await call<{ id?: string }>("PUT", `${this.url}/mapping`, { body: entry });
      notify(t("已保存，正在重新检查。", "Saved; it is being checked again."), "good");
      const here = decodeURIComponent(this.url.split("/").at(-1) ?? "");
      if (changed.id && changed.id !== here) location.assign(`/data/${encodeURIComponent(changed.id)}`);
      else this.onSaved();
    } catch (refused) {
      if (!(refused instanceof ApiError)) throw refused;
      error.textContent = [explain(refused), ...refused.problems.map((problem) => `${problem.loc.join(".")}: ${t(problem.msg_zh ?? problem.msg, problem.msg)}`)].join(" ");
      error.hidden = false;
    }
  }
}

function readPart(form: HTMLFormElement, part: string): Record<string, string> {
  const inputs = [...form.querySelectorAll<HTMLInputElement>(`[data-part="${part}"]`)];
  return Object.fromEntries(inputs.filter((input) => input.value.trim()).map((input) => [input.dataset["name"]!, input.value.trim()]));
}

function nameField(name: string): string {
  const names: Record<string, string> = {
    prompt: t("指令", "Instruction"),
    query: t("输入", "Input"),
    response: t("回答", "Answer"),
    history: t("历史", "History"),
    messages: t("对话", "Conversation"),
    system: t("系统提示", "System prompt"),
    tools: t("工具", "Tools"),
    chosen: t("更好的回答", "Chosen answer"),
    rejected: t("较差的回答", "Rejected answer"),
    kto_tag: t("好坏标记", "Good or bad"),
    images: t("图片", "Pictures"),
    videos: t("视频", "Videos"),
    audios: t("音频", "Audio"),
    role_tag: t("角色字段", "Field of the role"),
    content_tag: t("内容字段", "Field of the content"),
    user_tag: t("用户", "User"),
    assistant_tag: t("回答", "Assistant"),
    observation_tag: t("工具结果", "Tool result"),
    function_tag: t("调用工具", "Tool call"),
    system_tag: t("系统", "System"),
  };
  return names[name] ?? name;
}
