// The evaluation form: a tuned or untouched model, data it has not learned from, and how it answers.
import { call, explain } from "../api";
import { get } from "../dom";
import { ArgumentSection } from "../forms/argument_section";
import { DatasetPicker, ModelPicker } from "../forms/catalogue";
import { JobForm, type JobBody } from "../forms/job_form";
import { ResourcePicker } from "../forms/resources";
import { SubjectPicker } from "../forms/subject_picker";
import type { Job } from "../jobs";
import { t } from "../language";
import { notify } from "../notices";

const nameInput = get<HTMLInputElement>("#name");
const modelSelect = get<HTMLSelectElement>("#model");
const withUntouched = get<HTMLInputElement>("#with-untouched");

const section = new ArgumentSection("evaluate", () => changed());
const resources = new ResourcePicker(
  get("[data-gpu-kinds]"),
  get("[data-gpu-count]"),
  get("[data-tiers]"),
  () => void contextChanged(),
);
const models = new ModelPicker(modelSelect, get("[data-model-details]"), () => {
  datasets.setModel(models.model);
  changed();
});
const datasets = new DatasetPicker(get("[data-datasets]"), () => changed());
const subject = new SubjectPicker(() => void subjectChanged());
const form = new JobForm(get("#evaluate-form"), { buildBodies, describeResources, onQueued }, section);

function buildBodies(): JobBody[] | string {
  if (!models.model) return t("请选择要评估的模型。", "Choose a model to evaluate.");
  if (!datasets.ids.length)
    return t(
      "选择评估数据后，这里会显示预估的时长、费用与内存。",
      "Choose evaluation data to see the time, cost and memory it would take.",
    );
  const { adapter } = subject;
  const name = nameInput.value.trim();
  const body = {
    kind: "evaluate",
    model: models.model.id,
    datasets: datasets.ids,
    args: section.build(),
    resources: resources.chosen,
    tier: resources.tier,
  };
  const bodies: JobBody[] = [{ ...body, adapter, ...(name ? { name } : {}) }];
  if (adapter && withUntouched.checked) {
    const second = t("原始模型", "untouched");
    bodies.push({ ...body, adapter: null, ...(name ? { name: `${name.slice(0, 100)} ${second}` } : {}) });
  }
  return bodies;
}

function describeResources(): string {
  return resources.kind ? `${resources.kind.name} × ${resources.gpuCount}` : "–";
}

/** Two jobs are followed side by side in the job centre; one on its own page. */
function onQueued(jobs: Job[]): void {
  location.assign(jobs.length > 1 ? "/jobs?kind=evaluate" : `/jobs/${jobs[0]!.id}`);
}

function changed(): void {
  drawTrainingDataNote();
  form.changed();
}

async function contextChanged(): Promise<void> {
  const finetuning_type = subject.job?.spec.finetuning_type ?? "lora";
  try {
    await section.setContext({
      finetuning_type,
      gpu_kind: resources.kind?.id ?? "",
      gpu_count: resources.gpuCount,
      packages: resources.kind?.packages ?? [],
    });
  } catch (error) {
    notify(explain(error), "bad");
  }
  changed();
}

/** A tuned model stands on the model it was trained on: that one is shown and cannot be changed. */
async function subjectChanged(): Promise<void> {
  const { job } = subject;
  modelSelect.disabled = job !== null;
  get("[data-compare-field]").hidden = job === null;
  if (job && !models.choose(job.spec.model)) {
    notify(
      t(`基础模型 ${job.spec.model} 已不可用。`, `The base model ${job.spec.model} cannot be had any more.`),
      "bad",
    );
  }
  datasets.setModel(models.model);
  await contextChanged();
}

/** Figures on rows that a model has learned say little. */
function drawTrainingDataNote(): void {
  const learned = new Set(subject.job?.spec.datasets ?? []);
  const both = datasets.names.filter((name) => learned.has(name));
  const note = get("[data-training-data-note]");
  note.hidden = both.length === 0;
  note.textContent = t(
    `${both.join("、")} 是该模型训练时用过的数据，分数会偏高；建议选择未参与训练的数据。`,
    `The model was trained on ${both.join(", ")}: the figures will look better than they are. Data it has not seen says more.`,
  );
}

// -- opening -----------------------------------------------------------------------------------------------

/** Take over another evaluation's settings. */
async function reuse(job: Job): Promise<void> {
  const { spec } = job;
  await subject.choose(spec.adapter ?? null);
  if (!spec.adapter) models.choose(spec.model);
  datasets.setModel(models.model);
  datasets.choose(spec.datasets);
  resources.choose(spec.resources.gpu_kind, spec.resources.gpu_count, job.tier);
  await contextChanged();
  section.values.takeOver(spec.args);
  section.draw();
  const banner = get("[data-reused-banner]");
  banner.textContent = t(`已复用任务“${job.name}”的参数。`, `The settings of “${job.name}” are taken over.`);
  banner.hidden = false;
  changed();
}

/** Start from a train job: its result, on its device, with its cutoff. */
async function startFrom(jobId: string): Promise<void> {
  await subject.choose(jobId);
  const { job } = subject;
  if (!job) return;
  resources.choose(job.spec.resources.gpu_kind, 1, job.tier);
  await contextChanged();
  const cutoff = job.spec.args["cutoff_len"];
  if (typeof cutoff === "number") section.values.set("cutoff_len", cutoff);
  const unseen = datasets
    .listFitting()
    .filter((dataset) => job.spec.datasets.some((name) => dataset.name.startsWith(`${name}-`)));
  if (unseen.length === 1) datasets.choose([unseen[0]!.id]);
  withUntouched.checked = true;
  section.draw();
  changed();
}

async function open(): Promise<void> {
  await Promise.all([models.load(), datasets.load(), resources.load(), section.load(), subject.load()]);
  const wanted = new URLSearchParams(location.search);
  const [from, job] = [wanted.get("from"), wanted.get("job")];
  if (from) await reuse(await call<Job>("GET", `/jobs/${encodeURIComponent(from)}`));
  else if (job) await startFrom(job);
  else await subject.choose(null);
}

nameInput.addEventListener("input", () => changed());
withUntouched.addEventListener("change", () => changed());
get("[data-reset]").addEventListener("click", () => {
  section.values.resetAll();
  section.draw();
  get("[data-reused-banner]").hidden = true;
  notify(t("已恢复默认参数。", "All settings are at their defaults again."));
  changed();
});
open().catch((error: unknown) => notify(explain(error), "bad"));
