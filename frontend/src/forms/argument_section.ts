/** The arguments of a form: the few that matter most, or all of them, over the same values. */
import { type FieldProblem, call } from "../api";
import { element, get } from "../dom";
import type { JobKind } from "../jobs";
import { t } from "../language";
import { ArgumentField } from "./argument_fields";
import { ArgumentValues } from "./argument_values";
import { type Argument, listArguments } from "./arguments";
import { ExpertFields } from "./expert_fields";

export interface ArgumentContext {
  finetuning_type: string;
  gpu_kind: string;
  gpu_count: number;
  /** The optional packages of the chosen kind's machines. */
  packages: string[];
}

/** The few that matter most, in their order; all others are in the expert view. */
const QUICK: Record<JobKind, string[]> = {
  train: [
    "learning_rate",
    "num_train_epochs",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "cutoff_len",
    "val_size",
    "warmup_steps",
    "lr_scheduler_type",
    "max_grad_norm",
    "lora_rank",
    "lora_alpha",
    "freeze_trainable_layers",
  ],
  evaluate: [
    "per_device_eval_batch_size",
    "cutoff_len",
    "max_samples",
    "seed",
    "max_new_tokens",
    "do_sample",
    "top_p",
    "temperature",
  ],
};
/** Shown by a control of their own, which the page puts in. */
const COMPOSED = ["bf16", "fp16", "pure_bf16"];

export class ArgumentSection {
  values = new ArgumentValues([]);
  private quick: ArgumentField[] = [];
  private expert: ExpertFields | null = null;
  private context: ArgumentContext = { finetuning_type: "lora", gpu_kind: "", gpu_count: 1, packages: [] };
  private readonly quickPlace = get("[data-quick-fields]");
  private readonly expertPlace = get("[data-expert-fields]");
  private readonly modes = [...document.querySelectorAll<HTMLInputElement>('input[name="mode"]')];

  constructor(
    private readonly kind: JobKind,
    private readonly onChange: () => void,
  ) {
    for (const mode of this.modes) mode.addEventListener("change", () => this.showMode(mode.value));
  }

  async load(): Promise<void> {
    const known = (await listArguments()).filter((argument) => argument.kinds.includes(this.kind));
    this.values = new ArgumentValues(known);
    const change = (): void => this.noteChange();
    this.quick = listQuick(known, this.kind).map(
      (argument) => new ArgumentField(argument, this.values, change, "args"),
    );
    // Controls that a page composed stay where its template put them: behind the fields.
    this.quickPlace.prepend(...this.quick.map((field) => field.root));
    this.expert = new ExpertFields(known, this.values, change);
    this.expertPlace.replaceChildren(this.expert.root);
  }

  /** Method and device decide the defaults and which arguments act. */
  async setContext(context: ArgumentContext): Promise<void> {
    this.context = context;
    const query = new URLSearchParams({ kind: this.kind, finetuning_type: context.finetuning_type });
    if (context.gpu_kind) query.set("gpu_kind", context.gpu_kind);
    const { args } = await call<{ args: Record<string, unknown> }>("GET", `/defaults?${query}`);
    if (this.context !== context) return;
    this.values.setDefaults(args);
    this.expert?.setUsed((argument) => this.isUsed(argument));
    for (const field of this.listFields()) {
      const isQuick = this.quick.includes(field);
      field.root.classList.toggle(
        "unused",
        !this.isUsed(field.argument) || (isQuick && this.isOfOtherMethod(field.argument)),
      );
      field.setUnavailable(this.explainUnavailable(field.argument), this.listLackingChoices(field.argument));
    }
    this.draw();
  }

  /** The arguments of a job's body. */
  build(): Record<string, unknown> {
    const used = new Set(
      this.listFields()
        .filter((field) => this.isUsed(field.argument))
        .map((field) => field.argument.name),
    );
    return this.values.build((name) => used.has(name));
  }

  draw(): void {
    for (const field of this.quick) field.draw();
    this.expert?.draw();
  }

  // -- what is wrong -----------------------------------------------------------------------------------------

  /** Show the server's words at the fields they are about. */
  showProblems(problems: Map<string, string>): void {
    for (const field of this.listFields()) field.showProblem(problems.get(field.argument.name) ?? "");
  }

  /** Whether a field of this form stands for the place. */
  holds(loc: FieldProblem["loc"]): boolean {
    return loc[0] === "args" && this.listFields().some((field) => field.argument.name === loc[1]);
  }

  /** The first field in which something unreadable is typed. */
  findTypedProblem(): string | null {
    return this.listFields().find((field) => field.problem)?.argument.name ?? null;
  }

  /** Show the field and put the cursor in it; one that is not among the quick ones opens the expert view. */
  goTo(name: string): void {
    const isQuick =
      this.expertPlace.hidden && (this.quick.some((field) => field.argument.name === name) || COMPOSED.includes(name));
    if (isQuick) {
      const place = get(`[data-quick-fields] [data-field="args.${COMPOSED.includes(name) ? "precision" : name}"]`);
      place.scrollIntoView({ block: "center" });
      place.querySelector<HTMLElement>("input, select, textarea")?.focus();
      return;
    }
    this.showMode("expert");
    const field = this.expert?.fields.find((one) => one.argument.name === name);
    if (field) this.expert?.reveal(field);
  }

  private noteChange(): void {
    this.draw();
    this.onChange();
  }

  private isUsed(argument: Argument): boolean {
    const { finetuning_type, gpu_kind, gpu_count } = this.context;
    if (argument.several_gpus && (gpu_count === 1 || gpu_kind === "cpu")) return false;
    return !argument.methods || argument.methods.includes(finetuning_type);
  }

  /** Why an argument cannot act on the chosen machines; "" if it can. */
  private explainUnavailable(argument: Argument): string {
    if (argument.gpu && this.context.gpu_kind === "cpu") return t("需要 GPU。", "Needs a GPU.");
    const { package: needed } = argument;
    if (!needed || this.context.packages.includes(needed)) return "";
    return t(
      `需要软件包 ${needed}，所选设备的节点未安装；可请管理员安装。`,
      `Needs the package ${needed}, which the chosen machines lack; an administrator can install it.`,
    );
  }

  /** The choices that need a package which the chosen machines lack. */
  private listLackingChoices(argument: Argument): string[] {
    return Object.entries(argument.choice_packages ?? {})
      .filter(([, needed]) => !this.context.packages.includes(needed))
      .map(([choice]) => choice);
  }

  /** LoRA has a use for the freeze settings too (LLaMA-Pro), but not among the quick ones. */
  private isOfOtherMethod(argument: Argument): boolean {
    return argument.group === "freeze" && this.context.finetuning_type !== "freeze";
  }

  private listFields(): ArgumentField[] {
    return [...this.quick, ...(this.expert?.fields ?? [])];
  }

  private showMode(mode: string): void {
    for (const one of this.modes) one.checked = one.value === mode;
    this.quickPlace.hidden = mode === "expert";
    this.expertPlace.hidden = mode !== "expert";
    this.draw();
  }
}

function listQuick(known: Argument[], kind: JobKind): Argument[] {
  return QUICK[kind]
    .map((name) => known.find((argument) => argument.name === name))
    .filter((argument) => argument !== undefined);
}

// -- precision ---------------------------------------------------------------------------------------------

type Precision = "bf16" | "fp16" | "fp32";

/** One choice for what are two switches in LLaMA-Factory. */
export class PrecisionField {
  private readonly radios: HTMLInputElement[];

  constructor(
    root: HTMLElement,
    private readonly section: ArgumentSection,
    onChange: () => void,
  ) {
    this.radios = [...root.querySelectorAll<HTMLInputElement>("input")];
    for (const radio of this.radios) {
      radio.addEventListener("change", () => {
        this.write(radio.value as Precision);
        onChange();
      });
    }
  }

  /** Show what the switches say; a processor computes in fp32 only. */
  draw(isCpu: boolean): void {
    const { values } = this.section;
    const precision: Precision = values.get("bf16") ? "bf16" : values.get("fp16") ? "fp16" : "fp32";
    for (const radio of this.radios) {
      radio.checked = radio.value === precision;
      radio.disabled = isCpu && radio.value !== "fp32";
    }
  }

  private write(precision: Precision): void {
    this.section.values.set("bf16", precision === "bf16");
    this.section.values.set("fp16", precision === "fp16");
    this.section.draw();
  }
}

/** Cards × batch × accumulation: how many rows one update of the weights has seen. */
export function drawGlobalBatch(place: HTMLElement, values: ArgumentValues, gpuCount: number): void {
  const batch = values.getNumber("per_device_train_batch_size");
  const accumulation = values.getNumber("gradient_accumulation_steps");
  const total = gpuCount * batch * accumulation;
  place.replaceChildren(
    element("strong", { class: "number" }, Number.isFinite(total) ? total : "–"),
    element("span", { class: "faint number" }, ` = ${gpuCount} × ${batch} × ${accumulation}`),
  );
}
