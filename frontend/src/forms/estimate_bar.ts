/** The foot of a form: what the job would take, what speaks against it, and the button that starts it. */
import { type FieldProblem, explainProblem } from "../api";
import { element, get } from "../dom";
import {
  type CountChoice,
  type Cut,
  type Estimate,
  type EstimateWarning,
  type LengthSource,
  type Recommendation,
  formatBytesRange,
  formatDurationRange,
  formatMoneyRange,
  listDurationParts,
  listMemoryParts,
  nameBasis,
  pickMoney,
} from "../estimate";
import { formatBytes, formatDuration, formatMoney, formatNumber } from "../format";
import { type Tier, nameTier } from "../jobs";
import { t } from "../language";
import { formatArgument } from "./arguments";

export class EstimateBar {
  private readonly root = get("[data-estimate-bar]");
  private readonly note = get("[data-bar-note]");
  private readonly toggle = get<HTMLButtonElement>("[data-bar-toggle]");
  private readonly details = get("[data-bar-details]");
  private readonly lengths = get("[data-bar-lengths]");

  /** `onFix` takes over the arguments that a warning proposes. */
  constructor(private readonly onFix: (fix: Record<string, unknown>) => void) {
    this.toggle.addEventListener("click", () => this.showDetails(this.details.hidden !== false));
  }

  setResources(text: string): void {
    get("[data-bar-resources]").textContent = text;
  }

  /** Something is still to be chosen before there is an estimate. */
  showMissing(text: string): void {
    this.clear();
    this.setNote(text, "");
  }

  showBusy(): void {
    this.root.classList.add("busy");
  }

  showUnavailable(text: string): void {
    this.clear();
    this.setNote(text, "bad");
  }

  /** How many things need changing; each leads to its field. */
  showProblems(problems: FieldProblem[], goTo: (problem: FieldProblem) => void): void {
    this.clear();
    const items = problems.map((problem) =>
      element(
        "button",
        { class: "problem-link", type: "button", onclick: () => goTo(problem) },
        element("code", {}, problem.loc.filter((part) => part !== "args").join(".")),
        ` ${explainProblem(problem)}`,
      ),
    );
    this.note.className = "bar-note bad";
    this.note.replaceChildren(
      element("span", {}, t(`${problems.length} 处需要修改：`, `${problems.length} to change: `)),
      ...items,
    );
    this.note.hidden = false;
  }

  show(estimate: Estimate): void {
    this.root.classList.remove("busy");
    this.root.dataset["fits"] = estimate.fits;
    get("[data-bar-figures]").hidden = false;
    get("[data-bar-time]").textContent = formatDurationRange(estimate.duration_seconds);
    get("[data-bar-cost]").textContent = formatMoneyRange(estimate.cost);
    const basis = get("[data-bar-basis]");
    basis.textContent = nameBasis(estimate);
    basis.hidden = false;
    this.drawMemory(estimate);
    this.drawWarnings(estimate.warnings);
    this.drawLengths(estimate.dataset_profile);
    this.toggle.hidden = false;
    this.details.replaceChildren(
      buildDurations(estimate),
      buildMemory(estimate),
      buildNumbers(estimate),
      buildTiers(estimate),
    );
    if ((estimate.by_gpu_count ?? []).length > 1) this.details.append(this.buildCounts(estimate.by_gpu_count ?? []));
    if (estimate.recommended?.args)
      this.details.append(this.buildRecommendation(estimate.recommended, estimate.recommended.args));
  }

  private drawMemory(estimate: Estimate): void {
    const { expected, available } = estimate.memory_bytes;
    const bar = get("[data-bar-memory-fill]");
    const share = available ? expected / available : 0;
    bar.style.width = `${Math.min(100, share * 100)}%`;
    const words = { yes: t("放得下", "fits"), tight: t("较紧张", "tight"), no: t("放不下", "does not fit") };
    get("[data-bar-memory]").textContent = available
      ? `${formatBytes(expected)} / ${formatBytes(available)} · ${words[estimate.fits]}`
      : formatBytes(expected);
  }

  private drawLengths(source: LengthSource | undefined): void {
    this.lengths.hidden = !source;
    if (!source) return;
    const text = [t(source.detail_zh, source.detail), describeCut(source.cut)].filter(Boolean).join(t("", " "));
    // The foot is read out when it changes: the same words are not put in again.
    if (this.lengths.textContent !== text) this.lengths.textContent = text;
    this.lengths.dataset["status"] = source.status;
  }

  private drawWarnings(warnings: EstimateWarning[]): void {
    const pressing = warnings.filter((warning) => warning.code.includes("memory"));
    if (!pressing.length) {
      this.note.hidden = true;
      return;
    }
    this.note.className = "bar-note warning";
    this.note.replaceChildren(...pressing.map((warning) => this.buildWarning(warning)));
    this.note.hidden = false;
  }

  private buildWarning(warning: EstimateWarning): HTMLElement {
    const { fix } = warning;
    const button =
      fix && Object.keys(fix).length
        ? element(
            "button",
            { class: "button small", type: "button", onclick: () => this.onFix(fix) },
            t("按建议修改", "Apply"),
          )
        : null;
    return element(
      "span",
      { class: "bar-warning" },
      t(warning.detail_zh ?? warning.detail, warning.detail),
      " ",
      button,
    );
  }

  /** The same result on fewer or more devices: which is quickest, which is cheapest, and one click to take it. */
  private buildCounts(choices: CountChoice[]): HTMLElement {
    const able = choices.filter((choice) => choice.fits !== "no");
    const quickest = pickLeast(able, (choice) => choice.duration_seconds.expected);
    const cheapest = pickLeast(able, (choice) => Number(choice.cost.expected));
    const rows = choices.map((choice) => {
      const count = choice.resources.gpu_count;
      const marks = [
        choice === quickest ? t("最快", "quickest") : "",
        choice === cheapest ? t("最省", "cheapest") : "",
        choice.fits === "no" ? t("放不下", "does not fit") : "",
      ].filter(Boolean);
      return element(
        "tr",
        {},
        element("td", { class: "number" }, `× ${count}`),
        element("td", { class: "number" }, formatDuration(choice.duration_seconds.expected)),
        element("td", { class: "number" }, formatMoney(pickMoney(choice.cost, "expected"))),
        element("td", {}, ...marks.flatMap((mark) => [element("span", { class: "badge" }, mark), " "])),
        element("td", {}, this.buildCountButton(count, choice.args)),
      );
    });
    return element(
      "div",
      { class: "count-choices" },
      element("h3", {}, t("换用不同数量的卡，结果不变", "Other numbers of devices, for the same result")),
      element(
        "div",
        { class: "table-scroll" },
        element("table", { class: "table compact" }, element("tbody", {}, ...rows)),
      ),
    );
  }

  private buildCountButton(count: number, args: Record<string, unknown>): HTMLElement | null {
    const select = get<HTMLSelectElement>("[data-gpu-count]");
    if (Number(select.value) === count) return element("span", { class: "faint" }, t("当前", "chosen"));
    const take = (): void => {
      select.value = String(count);
      select.dispatchEvent(new Event("change"));
      this.onFix(args);
    };
    return element("button", { class: "button small", type: "button", onclick: take }, t("采用", "Use"));
  }

  private buildRecommendation(found: Recommendation, args: Record<string, unknown>): HTMLElement {
    const why = t((found.why_zh ?? found.why ?? []).join("\n"), (found.why ?? []).join("\n")).split("\n");
    const changes = Object.entries(args).map(([name, value]) =>
      element("code", {}, `${name}: ${formatArgument(value)}`),
    );
    return element(
      "div",
      { class: "recommendation" },
      element("h3", {}, t("推荐配置", "Recommended settings")),
      element("p", { class: "tags" }, ...changes),
      element("ul", { class: "faint" }, ...why.map((reason) => element("li", {}, reason))),
      found.duration_seconds
        ? element(
            "p",
            {},
            `${formatDurationRange(found.duration_seconds)}${found.cost ? ` · ${formatMoneyRange(found.cost)}` : ""}`,
          )
        : null,
      element(
        "button",
        { class: "button small", type: "button", onclick: () => this.onFix(args) },
        t("采用推荐配置", "Use these settings"),
      ),
    );
  }

  private setNote(text: string, mood: string): void {
    this.note.className = `bar-note ${mood}`;
    this.note.replaceChildren(text);
    this.note.hidden = false;
  }

  private clear(): void {
    this.root.classList.remove("busy");
    delete this.root.dataset["fits"];
    get("[data-bar-figures]").hidden = true;
    get("[data-bar-basis]").hidden = true;
    this.lengths.hidden = true;
    this.toggle.hidden = true;
    this.showDetails(false);
  }

  private showDetails(show: boolean): void {
    this.details.hidden = !show;
    this.toggle.setAttribute("aria-expanded", String(show));
  }
}

function describeCut(cut: Cut | null | undefined): string {
  if (!cut?.rows) return "";
  const [limit, rows, tokens] = [cut.cutoff_len, cut.rows, cut.tokens].map((value) => formatNumber(value));
  return t(
    `${rows} 条超过截断长度 ${limit}，共会截掉 ${tokens} 个词元。`,
    `${rows} rows are longer than cutoff_len ${limit}: ${tokens} tokens in all are cut off.`,
  );
}

function pickLeast(choices: CountChoice[], measure: (choice: CountChoice) => number): CountChoice | undefined {
  return [...choices].sort((one, other) => measure(one) - measure(other))[0];
}

// -- details -----------------------------------------------------------------------------------------------

function buildDurations(estimate: Estimate): HTMLElement {
  const rows = listDurationParts()
    .filter(([part]) => (estimate.breakdown_seconds[part] ?? 0) > 0)
    .map(([part, label]): [string, string] => [label, formatDuration(estimate.breakdown_seconds[part])]);
  return buildPart(t("时间", "Time"), rows);
}

function buildMemory(estimate: Estimate): HTMLElement {
  const rows = listMemoryParts()
    .filter(([part]) => (estimate.memory_bytes.parts[part] ?? 0) > 0)
    .map(([part, label]): [string, string] => [label, formatBytes(estimate.memory_bytes.parts[part])]);
  return buildPart(t("每卡内存", "Memory of each device"), [
    ...rows,
    [t("合计", "total"), formatBytesRange(estimate.memory_bytes)],
  ]);
}

function buildNumbers(estimate: Estimate): HTMLElement {
  const { steps, samples, tokens, warnings } = estimate;
  const rows: [string, string][] = [
    [t("步数", "steps"), steps === null ? "–" : formatNumber(steps)],
    [t("样本数", "samples"), samples === null ? "–" : formatNumber(samples)],
    [t("词元数", "tokens"), tokens === null ? "–" : formatNumber(tokens)],
    [t("依据", "basis"), nameBasis(estimate)],
  ];
  const part = buildPart(t("规模", "Size"), rows);
  for (const warning of warnings)
    part.append(element("p", { class: "faint" }, t(warning.detail_zh ?? warning.detail, warning.detail)));
  return part;
}

/** What the same run costs in each tier, side by side. */
function buildTiers(estimate: Estimate): HTMLElement {
  const tiers: Tier[] = ["express", "flex", "spot"];
  const row = (label: string, cells: string[]): HTMLElement =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, label),
      ...cells.map((cell) => element("td", { class: "number" }, cell)),
    );
  const costs = tiers.map((tier) => estimate.by_tier[tier]);
  const table = element(
    "table",
    { class: "table compact" },
    element(
      "thead",
      {},
      element("tr", {}, element("td", {}), ...tiers.map((tier) => element("th", { scope: "col" }, nameTier(tier)))),
    ),
    element(
      "tbody",
      {},
      row(
        t("预计", "expected"),
        costs.map((cost) => formatMoney(pickMoney(cost, "expected"))),
      ),
      row(
        t("范围", "range"),
        costs.map((cost) => formatMoneyRange(cost)),
      ),
    ),
  );
  return element(
    "div",
    { class: "tier-prices" },
    element("h3", {}, t("各价格档的费用", "Cost in each tier"), " ", element("span", { class: "badge" }, nameBasis(estimate))),
    element("div", { class: "table-scroll" }, table),
  );
}

function buildPart(title: string, rows: [string, string][]): HTMLElement {
  return element(
    "div",
    {},
    element("h3", {}, title),
    element(
      "dl",
      { class: "part-list" },
      ...rows.flatMap(([label, value]) => [element("dt", {}, label), element("dd", { class: "number" }, value)]),
    ),
  );
}
