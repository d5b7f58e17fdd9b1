/** LLaMA-Factory's arguments as the server describes them: how their values are read, written and compared. */
import { callAll } from "../api";
import { formatSetting } from "../format";
import { language, t } from "../language";

export interface Argument {
  name: string;
  type: "bool" | "int" | "float" | "str" | "list" | "dict";
  nullable: boolean;
  default: unknown;
  group: string;
  group_label: { zh: string; en: string };
  kinds: string[];
  label: { zh: string; en: string };
  help: { zh: string; en: string };
  choices?: unknown[];
  minimum?: number;
  maximum?: number;
  exclusive_minimum?: number;
  exclusive_maximum?: number;
  /** Methods (`lora`, `freeze`, `full`) on which it acts; all when left out. */
  methods?: string[];
  /** Where it stands in a form; without it, among the rarely used. */
  form?: "quick" | "expert";
  /** Only a GPU can do it. */
  gpu?: boolean;
  /** Only of use to a job of more than one GPU. */
  several_gpus?: boolean;
  /** A Python package that it needs, and those that single choices need. */
  package?: string;
  choice_packages?: Record<string, string>;
}

let known: Promise<Argument[]> | null = null;

/** Every argument that may be set; asked for once a page. */
export function listArguments(): Promise<Argument[]> {
  known ??= callAll<Argument>("/arguments");
  known.catch(() => (known = null));
  return known;
}

/** What the argument is called in the page's language; its own name when it has no label. */
export function findLabel(argument: Argument | undefined, name: string): string {
  return argument?.label?.[language] || name;
}

export function findHelp(argument: Argument): string {
  return argument.help?.[language] || argument.help?.en || "";
}

/** A value as people read it. */
export function formatArgument(value: unknown): string {
  if (value === null || value === undefined || value === "") return "–";
  if (typeof value === "number") return formatSetting(value);
  if (Array.isArray(value)) return value.map(formatArgument).join(", ");
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

/** A value as it stands in an input field: what `parseArgument` reads back. */
export function writeArgument(argument: Pick<Argument, "type">, value: unknown): string {
  if (value === null || value === undefined) return "";
  if (argument.type === "dict") return JSON.stringify(value);
  return formatArgument(value).replace(/^–$/, "");
}

export type Parsed = { value: unknown } | { problem: string };

/** Read what a person typed; an empty field is null. What only the server can judge is left to it. */
export function parseArgument(argument: Argument, typed: string): Parsed {
  const text = typed.trim();
  if (text === "")
    return argument.nullable || argument.type === "str"
      ? { value: null }
      : { problem: t("请填写一个值。", "Give a value.") };
  if (argument.choices) return { value: argument.choices.find((choice) => String(choice) === text) ?? text };
  if (argument.type === "bool") return { value: text === "true" };
  if (argument.type === "int" || argument.type === "float") return parseNumber(argument, text);
  if (argument.type === "list")
    return {
      value: text
        .split(/[,，]/)
        .map((part) => part.trim())
        .filter(Boolean),
    };
  if (argument.type === "dict") return parseDict(text);
  return { value: text };
}

function parseNumber(argument: Argument, text: string): Parsed {
  const value = Number(text);
  if (!Number.isFinite(value))
    return { problem: t("请填写数字，例如 5e-5 或 0.1。", "Give a number, such as 5e-5 or 0.1.") };
  if (argument.type === "int" && !Number.isInteger(value))
    return { problem: t("请填写整数。", "Give a whole number.") };
  const { minimum, maximum, exclusive_minimum: above, exclusive_maximum: below } = argument;
  if (minimum !== undefined && value < minimum) return { problem: t(`不能小于 ${minimum}。`, `At least ${minimum}.`) };
  if (maximum !== undefined && value > maximum) return { problem: t(`不能大于 ${maximum}。`, `At most ${maximum}.`) };
  if (above !== undefined && value <= above) return { problem: t(`必须大于 ${above}。`, `Must be above ${above}.`) };
  if (below !== undefined && value >= below) return { problem: t(`必须小于 ${below}。`, `Must be below ${below}.`) };
  return { value };
}

function parseDict(text: string): Parsed {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return { value };
  } catch {
    // Said below, as for any other thing that is not an object.
  }
  return {
    problem: t('请填写 JSON 对象，例如 {"min_lr_rate": 0.1}。', 'Give a JSON object, such as {"min_lr_rate": 0.1}.'),
  };
}

/** Whether two values mean the same setting. */
export function isSameValue(one: unknown, other: unknown): boolean {
  const [a, b] = [one ?? null, other ?? null];
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}
