/** The table over a comparison: one column a job, with the difference to the first and a small bar. */
import type { Money } from "../api";
import { element } from "../dom";
import { findLabel, formatArgument, type Argument } from "../forms/arguments";
import { formatDuration, formatMoney, formatNumber, formatPercent } from "../format";
import { t } from "../language";
import { formatFigure } from "../live/chart";
import { nameMetric, sortMetrics } from "./answers";

export interface ComparedJob {
  id: string;
  name: string;
  model: string;
  adapter: string | null;
  datasets: string[];
  metrics: Record<string, unknown>;
  /** Evaluations only. */
  answers?: { total: number; exact: number };
  /** Train jobs only. */
  changed_args?: Record<string, unknown>;
  cost?: Money;
  duration_seconds?: number | null;
}

/** One line of the table: how each job did. `best` says which way is better, if any. */
interface Line {
  title: Node | string;
  values: (number | null)[];
  write: (value: number, place: number) => string;
  best?: "high" | "low";
  /** The value at which a bar is full. */
  full?: number;
}

/** What the job is, in the words of a comparison. */
export function describeSubject(job: ComparedJob): string {
  if (job.answers === undefined) return job.model;
  if (!job.adapter) return t("原始模型", "untouched model");
  const checkpoint = job.adapter.split(":")[1];
  return checkpoint ? t(`微调后 · ${checkpoint}`, `tuned · ${checkpoint}`) : t("微调后", "tuned");
}

export function buildSummary(jobs: ComparedJob[], known: Argument[], remove: (id: string) => void): HTMLElement {
  const lines = jobs[0]?.answers ? listEvaluationLines(jobs) : listTrainingLines(jobs);
  return element(
    "table",
    { class: "table summary" },
    element(
      "thead",
      {},
      element(
        "tr",
        {},
        element("th"),
        ...jobs.map((job, place) => buildJobHead(job, place, jobs.length > 1 ? () => remove(job.id) : null)),
      ),
    ),
    element("tbody", {}, ...lines.map(buildLine), ...listArgumentRows(jobs, known)),
  );
}

function buildJobHead(job: ComparedJob, place: number, remove: (() => void) | null): HTMLElement {
  return element(
    "th",
    { scope: "col" },
    element(
      "span",
      { class: "job-head-line" },
      element("span", { class: `series-mark series-${place + 1}` }),
      element("a", { href: `/jobs/${job.id}` }, job.name),
      remove
        ? element(
            "button",
            {
              class: "remove",
              type: "button",
              title: t("从对比中移除", "Take out"),
              "aria-label": t(`移除 ${job.name}`, `Take ${job.name} out`),
              onclick: remove,
            },
            "×",
          )
        : null,
    ),
    element("span", { class: "faint" }, `${describeSubject(job)} · ${job.datasets.join(", ")}`),
  );
}

function buildLine(line: Line): HTMLElement {
  const present = line.values.filter((value): value is number => value !== null);
  const best =
    line.best === undefined || new Set(present).size < 2
      ? null
      : line.best === "high"
        ? Math.max(...present)
        : Math.min(...present);
  const [first] = line.values;
  const cells = line.values.map((value, place) => {
    if (value === null) return element("td", { class: "faint" }, "–");
    const bar = element("span");
    bar.style.width = `${Math.min(100, (100 * value) / (line.full ?? (Math.max(...present) || 1)))}%`;
    return element(
      "td",
      {},
      element(
        "span",
        { class: `summary-value number ${value === best ? "best" : ""}` },
        line.write(value, place),
        place > 0 ? buildDifference(value, first ?? null, line) : null,
      ),
      element("span", { class: `small-bar series-${place + 1}` }, bar),
    );
  });
  return element("tr", {}, element("th", { scope: "row" }, line.title), ...cells);
}

function buildDifference(value: number, first: number | null, line: Line): HTMLElement | null {
  if (first === null || line.best === undefined || value === first) return null;
  const better = line.best === "high" ? value > first : value < first;
  const sign = value > first ? "+" : "−";
  return element(
    "span",
    { class: `difference ${better ? "better" : "worse"}` },
    `${sign}${formatFigure(Number(Math.abs(value - first).toPrecision(3)))}`,
  );
}

// -- evaluations -------------------------------------------------------------------------------------------

function listEvaluationLines(jobs: ComparedJob[]): Line[] {
  const names = [...new Set(jobs.flatMap((job) => sortMetrics(job.metrics)))];
  const exact: Line = {
    title: t("完全正确", "Exactly right"),
    values: jobs.map((job) => (job.answers?.total ? (100 * job.answers.exact) / job.answers.total : null)),
    write: (value, place) =>
      `${formatPercent(value / 100, 1)} ${t(`（${jobs[place]!.answers!.exact}/${jobs[place]!.answers!.total}）`, `(${jobs[place]!.answers!.exact}/${jobs[place]!.answers!.total})`)}`,
    best: "high",
    full: 100,
  };
  const metrics = names.map((name): Line => ({
    title: nameMetric(name),
    values: readMetric(jobs, name),
    write: (value) => formatNumber(value, 2),
    best: "high",
    full: 100,
  }));
  const time: Line = {
    title: t("预测用时", "Prediction time"),
    values: readMetric(jobs, "predict_runtime"),
    write: (value) => formatDuration(value),
  };
  return [exact, ...metrics, time].filter(hasValues);
}

function readMetric(jobs: ComparedJob[], name: string): (number | null)[] {
  return jobs.map((job) => {
    const value = job.metrics[name];
    return typeof value === "number" ? value : null;
  });
}

function hasValues(line: Line): boolean {
  return line.values.some((value) => value !== null);
}

// -- train jobs --------------------------------------------------------------------------------------------

function listTrainingLines(jobs: ComparedJob[]): Line[] {
  const costs = jobs.map((job) => (job.cost ? Number(job.cost.amount) : null));
  const lines: Line[] = [
    {
      title: t("训练损失（平均）", "Training loss (mean)"),
      values: readMetric(jobs, "train_loss"),
      write: formatFigure,
      best: "low",
    },
    {
      title: t("验证损失", "Validation loss"),
      values: readMetric(jobs, "eval_loss"),
      write: formatFigure,
      best: "low",
    },
    {
      title: t("运行时长", "Run time"),
      values: jobs.map((job) => job.duration_seconds ?? null),
      write: (value) => formatDuration(value),
    },
    { title: t("费用", "Cost"), values: costs, write: (_, place) => formatMoney(jobs[place]!.cost ?? null) },
  ];
  return lines.filter(hasValues);
}

/** The settings in which the jobs differ. */
function listArgumentRows(jobs: ComparedJob[], known: Argument[]): HTMLElement[] {
  const names = [...new Set(jobs.flatMap((job) => Object.keys(job.changed_args ?? {})))];
  const byName = new Map(known.map((argument) => [argument.name, argument]));
  return names.map((name) => {
    const label = findLabel(byName.get(name), name);
    const title = element(
      "th",
      { scope: "row" },
      label,
      label === name ? null : element("span", { class: "field-name" }, ` ${name}`),
    );
    return element(
      "tr",
      { class: "argument-row" },
      title,
      ...jobs.map((job) => element("td", {}, formatArgument(job.changed_args?.[name]))),
    );
  });
}
