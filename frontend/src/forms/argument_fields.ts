/** Fields for arguments: label in the reader's language, English name in grey, help, default, and a mark when changed. */
import { element } from "../dom";
import { t } from "../language";
import type { ArgumentValues } from "./argument_values";
import { type Argument, findHelp, findLabel, formatArgument, parseArgument, writeArgument } from "./arguments";

type Control = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;

export class ArgumentField {
  readonly root: HTMLElement;
  private readonly control: Control;
  private readonly error = element("span", { class: "field-error", role: "alert", hidden: true });
  private readonly reset: HTMLButtonElement;
  /** What is typed cannot be read yet; the value of before still holds. */
  private typedProblem = "";

  constructor(
    readonly argument: Argument,
    private readonly values: ArgumentValues,
    private readonly onChange: () => void,
    /** The same argument may stand in the quick and in the expert view: ids must differ. */
    view: "args" | "all",
  ) {
    const id = `${view}-${argument.name}`;
    this.control = buildControl(argument, id);
    this.control.addEventListener("input", () => this.take());
    this.reset = element("button", { class: "default-reset", type: "button", onclick: () => this.resetValue() });
    const help = findHelp(argument);
    const hint = element("span", { class: "field-hint", id: `${id}-help`, hidden: true }, help);
    const question = element(
      "button",
      {
        class: "help-button",
        type: "button",
        title: help,
        "aria-label": t("说明", "Help"),
        "aria-expanded": "false",
        "aria-controls": hint.id,
      },
      "?",
    );
    question.addEventListener("click", () => {
      hint.hidden = !hint.hidden;
      question.setAttribute("aria-expanded", String(!hint.hidden));
    });
    if (help) this.control.setAttribute("aria-describedby", hint.id);
    this.root = element(
      "div",
      { class: "field argument", "data-field": `args.${argument.name}` },
      element(
        "div",
        { class: "argument-head" },
        element("label", { for: id }, findLabel(argument, argument.name)),
        help ? question : null,
        this.reset,
        element("span", { class: "field-name" }, argument.name),
      ),
      this.control,
      hint,
      this.error,
    );
    this.draw();
  }

  /** What a search is looked for in. */
  get searchText(): string {
    const { name, label, help } = this.argument;
    return [name, label?.zh, label?.en, help?.zh, help?.en].join("\n").toLowerCase();
  }

  /** Show the value as it stands; something half typed is left alone. */
  draw(): void {
    if (document.activeElement !== this.control) {
      writeControl(this.control, writeArgument(this.argument, this.values.get(this.argument.name)));
      this.typedProblem = "";
    }
    this.drawMarks();
  }

  /** Show what the server says about this field; "" takes it away. */
  showProblem(message: string): void {
    const shown = this.typedProblem || message;
    this.error.textContent = shown;
    this.error.hidden = shown === "";
    if (shown) this.control.setAttribute("aria-invalid", "true");
    else this.control.removeAttribute("aria-invalid");
  }

  get problem(): string {
    return this.typedProblem;
  }

  /** A field that cannot act here is off and says why; of its choices, those that cannot are. */
  setUnavailable(reason: string, choices: string[]): void {
    this.control.disabled = reason !== "";
    if (this.control instanceof HTMLSelectElement)
      for (const option of this.control.options) option.disabled = choices.includes(option.value);
    this.root.title = reason;
    this.root.classList.toggle("unavailable", reason !== "");
  }

  private take(): void {
    const parsed = parseArgument(this.argument, readControl(this.control));
    this.typedProblem = "problem" in parsed ? parsed.problem : "";
    if ("value" in parsed) this.values.set(this.argument.name, parsed.value);
    this.showProblem("");
    this.drawMarks();
    this.onChange();
  }

  private resetValue(): void {
    this.values.reset(this.argument.name);
    this.typedProblem = "";
    writeControl(this.control, writeArgument(this.argument, this.values.get(this.argument.name)));
    this.showProblem("");
    this.drawMarks();
    this.onChange();
  }

  private drawMarks(): void {
    const { name } = this.argument;
    const changed = this.values.isChanged(name) || this.typedProblem !== "";
    const usual = formatArgument(this.values.getDefault(name));
    this.root.classList.toggle("changed", changed);
    this.reset.hidden = !changed;
    this.reset.textContent = t(`恢复默认 ${usual}`, `reset to ${usual}`);
    if (this.control instanceof HTMLInputElement)
      this.control.placeholder = usual === "–" ? t("不设置", "not set") : usual;
  }
}

function buildControl(argument: Argument, id: string): Control {
  if (argument.type === "bool") return buildSelect(id, argument.nullable ? ["", "true", "false"] : ["true", "false"]);
  if (argument.choices) {
    const choices = argument.choices.map(String);
    return buildSelect(id, argument.nullable && !choices.includes("") ? ["", ...choices] : choices);
  }
  if (argument.type === "dict") return element("textarea", { class: "textarea", id, rows: 2, spellcheck: "false" });
  const inputmode = argument.type === "int" ? "numeric" : argument.type === "float" ? "decimal" : "text";
  return element("input", { class: "input", id, type: "text", inputmode, autocomplete: "off", spellcheck: "false" });
}

function buildSelect(id: string, choices: string[]): HTMLSelectElement {
  const names: Record<string, string> = { "": t("不设置", "not set"), true: t("是", "yes"), false: t("否", "no") };
  return element(
    "select",
    { class: "select", id },
    ...choices.map((choice) => element("option", { value: choice }, names[choice] ?? choice)),
  );
}

/** A value that is no choice of the list (of another job, say) is added to it, so that it is not lost silently. */
function writeControl(control: Control, text: string): void {
  if (control instanceof HTMLSelectElement && ![...control.options].some((option) => option.value === text)) {
    control.append(element("option", { value: text }, text || t("不设置", "not set")));
  }
  control.value = text;
}

function readControl(control: Control): string {
  return control.value;
}
