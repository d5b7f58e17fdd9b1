// Jobs side by side: evaluations row by row, train jobs by their curves.
import { call, explain } from "../api";
import { type ComparedRow, buildAnswer, buildPager, buildPictures } from "../comparison/answers";
import { type ComparedJob, buildSummary, describeSubject } from "../comparison/summary";
import { element, get } from "../dom";
import { listArguments } from "../forms/arguments";
import { pickJobs } from "../forms/job_picker";
import type { JobKind } from "../jobs";
import { t } from "../language";
import { Chart } from "../live/chart";
import { smooth } from "../live/points";
import { notify, notifyError } from "../notices";

const ROWS = 20;
const MOST_JOBS = 8;

interface CurvePoint {
  step: number;
  loss: number | null;
  eval_loss: number | null;
}

interface Comparison {
  jobs: ComparedJob[];
  rows?: ComparedRow[];
  has_more?: boolean;
  curves?: Record<string, CurvePoint[]>;
}

const charts = new Map<string, Chart>();
const ids = (new URLSearchParams(location.search).get("jobs") ?? "").split(",").filter(Boolean);
let offset = 0;

async function open(): Promise<void> {
  get("[data-nothing]").hidden = ids.length > 0;
  get("[data-loading]").hidden = ids.length === 0;
  if (!ids.length) return;
  const [found, known] = await Promise.all([fetchComparison(), listArguments()]);
  get("[data-loading]").hidden = true;
  get("[data-comparison]").hidden = false;
  const isEvaluation = found.rows !== undefined;
  get("[data-summary-title]").textContent = isEvaluation
    ? t("指标", "Metrics")
    : t("结果与不同的参数", "Results and differing settings");
  get("[data-summary]").replaceChildren(buildSummary(found.jobs, known, removeJob));
  get("[data-rows-card]").hidden = !isEvaluation;
  get("[data-curves-card]").hidden = isEvaluation;
  if (isEvaluation) drawRows(found);
  else drawCurves(found);
  get("[data-smoothing]").addEventListener("input", () => drawCurves(found));
  const add = get("[data-add-job]");
  add.hidden = ids.length >= MOST_JOBS;
  add.addEventListener("click", () => void addJobs(isEvaluation ? "evaluate" : "train", found.jobs[0]?.datasets));
}

function fetchComparison(): Promise<Comparison> {
  const query = new URLSearchParams({
    jobs: ids.join(","),
    rows: getRowChoice(),
    offset: String(offset),
    limit: String(ROWS),
  });
  return call<Comparison>("GET", `/compare?${query}`);
}

// -- which jobs --------------------------------------------------------------------------------------------

function showJobs(changed: string[]): void {
  const query = new URLSearchParams(location.search);
  query.set("jobs", changed.join(","));
  // A comma needs no escaping and reads better in an address that people share.
  location.assign(`/compare?${query.toString().replaceAll("%2C", ",")}`);
}

function removeJob(id: string): void {
  showJobs(ids.filter((one) => one !== id));
}

async function addJobs(kind: JobKind, sameDatasetsFirst: string[] | undefined): Promise<void> {
  const chosen = await pickJobs({
    title: t("对比哪些任务？", "Which jobs?"),
    confirm: t("对比", "Compare"),
    kind,
    sameDatasetsFirst,
    most: MOST_JOBS - ids.length,
  });
  const added = chosen.map((job) => job.id).filter((id) => !ids.includes(id));
  if (added.length) showJobs([...ids, ...added]);
}

// -- evaluations -------------------------------------------------------------------------------------------

function getRowChoice(): string {
  return get<HTMLInputElement>('input[name="rows"]:checked').value;
}

function drawRows(found: Comparison): void {
  const rows = found.rows ?? [];
  get("[data-choices]").hidden = found.jobs.length < 2;
  const place = get("[data-rows]");
  if (!rows.length) {
    const text =
      getRowChoice() === "all"
        ? t("这些评估没有留下回答。", "These evaluations left no answers.")
        : t("没有这样的行。", "There is no such row.");
    place.replaceChildren(element("div", { class: "empty" }, element("p", {}, text)));
    return;
  }
  place.replaceChildren(
    ...rows.map((row) => buildRow(row, found.jobs)),
    buildPager(offset, found.has_more ?? false, ROWS, (next) => void turn(next)),
  );
}

function buildRow(row: ComparedRow, jobs: ComparedJob[]): HTMLElement {
  const answers = jobs.map((job, place) =>
    buildAnswer(`${describeSubject(job)} · ${job.name}`, row.predictions[place] ?? null, row.label),
  );
  return element(
    "article",
    { class: `answer-row ${row.images.length ? "" : "no-picture"}` },
    row.images.length ? buildPictures(row) : null,
    element(
      "div",
      { class: "answer-texts" },
      element("p", { class: "question" }, element("span", { class: "faint number" }, `#${row.index + 1} `), row.prompt),
      buildAnswer(t("标准答案", "Label"), row.label),
      element("div", { class: "answers-beside" }, ...answers),
    ),
  );
}

async function turn(next: number): Promise<void> {
  offset = next;
  try {
    drawRows(await fetchComparison());
    get("[data-rows-card]").scrollIntoView({ block: "start" });
  } catch (error) {
    notifyError(error);
  }
}

// -- train jobs --------------------------------------------------------------------------------------------

function drawCurves(found: Comparison): void {
  const weight = Number(get<HTMLInputElement>("[data-smoothing]").value);
  get("[data-smoothing-value]").textContent = weight.toFixed(2);
  for (const name of ["loss", "eval_loss"] as const) {
    const curves = found.jobs.map((job) => found.curves?.[job.id] ?? []);
    const measured = curves.map((curve) => curve.filter((point) => point[name] !== null));
    const steps = [...new Set(measured.flatMap((curve) => curve.map((point) => point.step)))].sort((a, b) => a - b);
    const figure = get(`[data-curve="${name}"]`);
    figure.hidden = steps.length === 0;
    if (!steps.length) continue;
    const columns = measured.map((curve) => {
      const values = new Map(curve.map((point) => [point.step, point[name]]));
      const column = steps.map((step) => values.get(step) ?? null);
      return weight > 0 ? smooth(column, weight) : column;
    });
    getCurveChart(name, found.jobs, figure).setData([steps, ...columns]);
  }
}

function getCurveChart(name: string, jobs: ComparedJob[], figure: HTMLElement): Chart {
  let chart = charts.get(name);
  if (!chart) {
    const lines = jobs.map((job, place) => ({
      label: job.name,
      colour: `--chart-${place + 1}`,
      showPoints: name === "eval_loss",
    }));
    chart = new Chart(get(".chart-place", figure), { lines, x: "step", height: 300 });
    charts.set(name, chart);
  }
  return chart;
}

// -- opening -----------------------------------------------------------------------------------------------

for (const radio of document.querySelectorAll('input[name="rows"]'))
  radio.addEventListener("change", () => void turn(0));
for (const button of document.querySelectorAll<HTMLElement>("[data-pick]")) {
  button.addEventListener("click", () => void addJobs(button.dataset["pick"] as JobKind, undefined));
}

open().catch((error: unknown) => {
  get("[data-loading]").hidden = true;
  get("[data-nothing]").hidden = false;
  get("[data-nothing-text]").textContent = explain(error);
  notify(explain(error), "bad");
});
