/** The settings of a job: each beside its default, and the YAML that runs. */
import { call, callText } from "../api";
import { element, get } from "../dom";
import { type Argument, findLabel, formatArgument, isSameValue, listArguments } from "../forms/arguments";
import type { Job } from "../jobs";
import { t } from "../language";
import { saveFile } from "../live/log_view";
import { notify, notifyError } from "../notices";

export class JobParameters {
  private loaded = false;
  private yaml = "";

  constructor(private readonly job: () => Job) {
    get<HTMLInputElement>("[data-only-changed]").addEventListener("change", (event) => {
      get("[data-parameters]").classList.toggle("only-changed", (event.target as HTMLInputElement).checked);
    });
    get("[data-yaml-copy]").addEventListener("click", () => void this.copy());
    get("[data-yaml-download]").addEventListener("click", () => {
      saveFile(new Blob([this.yaml], { type: "text/yaml" }), `${this.job().name}.yaml`);
    });
  }

  /** Load what never changes, once, when the panel is first seen. */
  show(): void {
    if (this.loaded) return;
    this.loaded = true;
    this.load().catch((error: unknown) => {
      this.loaded = false;
      notifyError(error);
    });
  }

  private async load(): Promise<void> {
    const job = this.job();
    const { spec } = job;
    const query = new URLSearchParams({
      kind: job.kind,
      finetuning_type: spec.finetuning_type ?? "lora",
      gpu_kind: spec.resources.gpu_kind ?? "cpu",
    });
    const [yaml, defaults, known] = await Promise.all([
      callText("GET", `/jobs/${job.id}/config`),
      call<{ args: Record<string, unknown> }>("GET", `/defaults?${query}`),
      listArguments(),
    ]);
    this.yaml = yaml;
    get("[data-yaml]").textContent = yaml;
    get("[data-parameters]").replaceChildren(buildTable(spec.args, defaults.args, known));
  }

  private async copy(): Promise<void> {
    try {
      await navigator.clipboard.writeText(this.yaml);
      notify(t("已复制。", "Copied."), "good");
    } catch {
      // The clipboard needs https or localhost: selecting lets the person copy by hand.
      getSelection()?.selectAllChildren(get("[data-yaml]"));
      notify(t("已选中全文，请按 Ctrl+C 复制。", "The text is selected; press Ctrl+C to copy it."));
    }
  }
}

function buildTable(args: Record<string, unknown>, defaults: Record<string, unknown>, known: Argument[]): HTMLElement {
  const byName = new Map(known.map((argument) => [argument.name, argument]));
  const getUsual = (name: string): unknown => (name in defaults ? defaults[name] : byName.get(name)?.default);
  const isChanged = (name: string): boolean => !isSameValue(args[name], getUsual(name));
  // What was changed first; within that, the order of the forms.
  const order = [...byName.keys()];
  const names = Object.keys(args).sort(
    (a, b) => Number(isChanged(b)) - Number(isChanged(a)) || order.indexOf(a) - order.indexOf(b),
  );
  const rows = names.map((name) => {
    const usual = getUsual(name);
    const changed = isChanged(name);
    const label = findLabel(byName.get(name), name);
    return element(
      "tr",
      { class: changed ? "changed" : "unchanged" },
      element(
        "td",
        {},
        label === name ? null : element("div", {}, label),
        element("code", { class: "field-name" }, name),
      ),
      element(
        "td",
        { class: "value" },
        formatArgument(args[name]),
        changed ? element("span", { class: "badge info" }, t("已修改", "changed")) : null,
      ),
      element("td", { class: "faint value" }, formatArgument(usual)),
    );
  });
  const changes = rows.filter((row) => row.classList.contains("changed")).length;
  const note = changes
    ? t(`${names.length} 项中有 ${changes} 项与默认值不同`, `${changes} of ${names.length} differ from their default`)
    : t("全部为默认值", "All are at their defaults");
  return element(
    "table",
    { class: "table compact" },
    element("caption", { class: "faint" }, note),
    element(
      "thead",
      {},
      element(
        "tr",
        {},
        element("th", {}, t("参数", "Setting")),
        element("th", {}, t("取值", "Value")),
        element("th", {}, t("默认值", "Default")),
      ),
    ),
    element("tbody", {}, ...rows),
  );
}
