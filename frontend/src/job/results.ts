/** What a job found: all figures of a fine-tuning, or the metrics and answers of an evaluation. */
import { call } from "../api";
import {
  type ComparedRow,
  buildAnswer,
  buildPager,
  buildPictures,
  buildRange,
  nameMetric,
  sortMetrics,
} from "../comparison/answers";
import { element, get } from "../dom";
import { formatBytes, formatDuration, formatNumber, formatPercent } from "../format";
import { type Job, isFinished } from "../jobs";
import { t } from "../language";
import { formatFigure } from "../live/chart";
import { notifyError } from "../notices";

const ROWS = 20;

interface SingleComparison {
  jobs: { metrics: Record<string, number>; answers: { total: number; exact: number } }[];
  rows: ComparedRow[];
  has_more: boolean;
}

export class JobResults {
  private readonly place = get("[data-results]");
  private drawn = "";
  private visible = false;
  private job: Job | null = null;
  private offset = 0;

  draw(job: Job): void {
    this.job = job;
    if (this.visible) this.refresh();
  }

  show(visible: boolean): void {
    this.visible = visible;
    if (visible) this.refresh();
  }

  private refresh(): void {
    const { job } = this;
    if (!job) return;
    const state = `${job.status} ${job.attempt}`;
    if (state === this.drawn) return;
    this.drawn = state;
    if (!isFinished(job)) {
      this.showEmpty(t("任务结束后，结果会出现在这里。", "The results appear here when the job ends."));
      return;
    }
    const draw = job.kind === "train" ? this.drawTraining(job) : this.drawEvaluation(job);
    draw.catch((error: unknown) => {
      this.drawn = "";
      notifyError(error);
    });
  }

  private showEmpty(text: string): void {
    this.place.replaceChildren(element("div", { class: "empty" }, element("p", {}, text)));
  }

  // -- fine-tuning -------------------------------------------------------------------------------------------

  private async drawTraining(job: Job): Promise<void> {
    const results = await call<Record<string, unknown>>("GET", `/jobs/${job.id}/results`);
    const names = Object.keys(results).sort();
    if (!names.length) {
      this.showEmpty(t("这个任务没有留下结果。", "This job left no results."));
      return;
    }
    const rows = names.map((name) =>
      element(
        "tr",
        {},
        element("td", {}, nameResult(name), " ", element("code", { class: "field-name" }, name)),
        element("td", { class: "number" }, formatResult(name, results[name])),
      ),
    );
    this.place.replaceChildren(
      element(
        "div",
        { class: "card" },
        element("table", { class: "table compact results-table" }, element("tbody", {}, ...rows)),
      ),
    );
  }

  // -- evaluation --------------------------------------------------------------------------------------------

  private async drawEvaluation(job: Job): Promise<void> {
    const found = await this.fetchRows(job);
    const [summary] = found.jobs;
    if (!summary || !summary.answers.total) {
      this.showEmpty(t("这个任务没有留下评估结果。", "This evaluation left no results."));
      return;
    }
    const { total, exact } = summary.answers;
    const cards = [
      buildMetricCard(
        t("完全正确", "Exactly right"),
        formatPercent(exact / total, 1),
        t(`${exact} / ${total} 条`, `${exact} of ${total} rows`),
      ),
      ...sortMetrics(summary.metrics).map((name) =>
        buildMetricCard(nameMetric(name), formatMetricValue(name, summary.metrics[name]!), name),
      ),
    ];
    const table = element("div", { class: "card" });
    this.place.replaceChildren(element("div", { class: "metric-cards" }, ...cards), table);
    this.drawRows(job, table, found);
  }

  private fetchRows(job: Job): Promise<SingleComparison> {
    return call<SingleComparison>("GET", `/compare?jobs=${job.id}&offset=${this.offset}&limit=${ROWS}`);
  }

  private drawRows(job: Job, table: HTMLElement, found: SingleComparison): void {
    const rows = found.rows.map((row) => {
      const hasPicture = row.images.length > 0;
      return element(
        "article",
        { class: `answer-row one ${hasPicture ? "" : "no-picture"}` },
        hasPicture ? buildPictures(row) : null,
        element(
          "div",
          { class: "answer-texts" },
          element(
            "p",
            { class: "question" },
            element("span", { class: "faint number" }, `#${row.index + 1} `),
            row.prompt,
          ),
          buildAnswer(t("标准答案", "Label"), row.label),
          buildAnswer(t("模型回答", "Answer"), row.predictions[0] ?? null, row.label),
        ),
      );
    });
    const total = found.jobs[0]!.answers.total;
    table.replaceChildren(
      element(
        "div",
        { class: "card-head" },
        element("h2", {}, t("预测结果", "Predictions")),
        buildRange(this.offset, rows.length, total),
      ),
      ...rows,
      buildPager(this.offset, found.has_more, ROWS, (offset) => void this.turn(job, table, offset)),
    );
  }

  private async turn(job: Job, table: HTMLElement, offset: number): Promise<void> {
    this.offset = offset;
    try {
      this.drawRows(job, table, await this.fetchRows(job));
      table.scrollIntoView({ block: "start" });
    } catch (error) {
      notifyError(error);
    }
  }
}

function buildMetricCard(title: string, value: string, note: string): HTMLElement {
  return element(
    "div",
    { class: "metric-card" },
    element("span", { class: "soft" }, title),
    element("strong", { class: "number" }, value),
    element("span", { class: "faint" }, note),
  );
}

function formatMetricValue(name: string, value: number): string {
  if (name.endsWith("_runtime") || name.endsWith("_time")) return formatDuration(value);
  return formatNumber(value, 2);
}

function nameResult(name: string): string {
  const names: Record<string, string> = {
    train_loss: t("训练损失（平均）", "Training loss (mean)"),
    eval_loss: t("验证损失", "Validation loss"),
    epoch: t("轮数", "Epochs"),
    train_runtime: t("训练时长", "Training time"),
    eval_runtime: t("验证时长", "Validation time"),
    train_samples_per_second: t("每秒样本数", "Samples per second"),
    train_steps_per_second: t("每秒步数", "Steps per second"),
    eval_samples_per_second: t("验证每秒样本数", "Validation samples per second"),
    eval_steps_per_second: t("验证每秒步数", "Validation steps per second"),
    num_input_tokens_seen: t("处理的词元数", "Tokens seen"),
    total_flos: t("总浮点运算", "Floating-point operations"),
    train_tokens_per_second: t("每秒词元数", "Tokens per second"),
    effective_tokens_per_sec: t("有效词元/秒", "Effective tokens per second"),
  };
  return names[name] ?? "";
}

function formatResult(name: string, value: unknown): string {
  if (typeof value !== "number") return String(value);
  if (name.endsWith("_runtime")) return formatDuration(value);
  if (name.endsWith("_bytes")) return formatBytes(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e12) return formatNumber(value);
  return formatFigure(value);
}
