// The fine-tune form: model, data, settings and resources, with an estimate that follows every change.
import { call, explain } from "../api";
import { get } from "../dom";
import { type ArgumentContext, ArgumentSection, PrecisionField, drawGlobalBatch } from "../forms/argument_section";
import { DatasetPicker, ModelPicker } from "../forms/catalogue";
import { JobForm, type JobBody } from "../forms/job_form";
import { pickJobs } from "../forms/job_picker";
import { ResourcePicker } from "../forms/resources";
import { StrategyField } from "../forms/strategy_field";
import type { Job } from "../jobs";
import { t } from "../language";
import { notify, notifyError, runWithButton } from "../notices";

type Method = "lora" | "freeze" | "full";

const nameInput = get<HTMLInputElement>("#name");
const methods = [...document.querySelectorAll<HTMLInputElement>('input[name="finetuning_type"]')];

const section = new ArgumentSection("train", () => changed());
const resources = new ResourcePicker(
  get("[data-gpu-kinds]"),
  get("[data-gpu-count]"),
  get("[data-tiers]"),
  () => void contextChanged(),
  true,
);
const models = new ModelPicker(get("#model"), get("[data-model-details]"), () => {
  datasets.setModel(models.model);
  changed();
});
const datasets = new DatasetPicker(get("[data-datasets]"), () => changed());
const precision = new PrecisionField(get("[data-precision]"), section, () => changed());
const strategy = new StrategyField(section, () => changed());
const form = new JobForm(get("#train-form"), { buildBodies, describeResources, onQueued }, section);

function getMethod(): Method {
  return (methods.find((radio) => radio.checked)?.value ?? "lora") as Method;
}

function buildBodies(): JobBody[] | string {
  if (!models.model) return t("请选择基础模型。", "Choose a base model.");
  if (!datasets.ids.length)
    return t(
      "选择训练数据后，这里会显示预估的时长、费用与内存。",
      "Choose training data to see the time, cost and memory it would take.",
    );
  const name = nameInput.value.trim();
  return [
    {
      kind: "train",
      ...(name ? { name } : {}),
      model: models.model.id,
      datasets: datasets.ids,
      stage: "sft",
      finetuning_type: getMethod(),
      args: section.build(),
      resources: resources.chosen,
      tier: resources.tier,
    },
  ];
}

function describeResources(): string {
  return resources.kind ? `${resources.kind.name} × ${resources.gpuCount}` : "–";
}

function onQueued(jobs: Job[]): void {
  location.assign(`/jobs/${jobs[0]!.id}`);
}

function changed(): void {
  drawGlobalBatch(get("[data-global-batch]"), section.values, resources.gpuCount);
  precision.draw(resources.isCpu);
  strategy.draw(resources.gpuCount > 1 && !resources.isCpu);
  form.changed();
}

function getContext(): ArgumentContext {
  return {
    finetuning_type: getMethod(),
    gpu_kind: resources.kind?.id ?? "",
    gpu_count: resources.gpuCount,
    packages: resources.kind?.packages ?? [],
  };
}

/** Method or device changed: defaults follow them. */
async function contextChanged(): Promise<void> {
  drawMethodHint();
  try {
    await section.setContext(getContext());
  } catch (error) {
    notifyError(error);
  }
  changed();
}

function drawMethodHint(): void {
  const hints: Record<Method, string> = {
    lora: t(
      "只训练少量附加参数，省显存，适合大多数情况。",
      "Trains few added weights: little memory, right for most cases.",
    ),
    freeze: t("只训练模型的最后几层。", "Trains the last layers only."),
    full: t("训练全部参数，显存需求最大。", "Trains all weights: the most memory."),
  };
  get("[data-method-hint]").textContent = hints[getMethod()];
}

// -- settings of another job -------------------------------------------------------------------------------

async function reuse(job: Job): Promise<void> {
  const { spec } = job;
  const foundModel = models.choose(spec.model);
  datasets.setModel(models.model);
  const missing = datasets.choose(spec.datasets);
  for (const radio of methods) radio.checked = radio.value === spec.finetuning_type;
  resources.choose(spec.resources.gpu_kind, spec.resources.gpu_count, job.tier);
  await section.setContext(getContext());
  section.values.takeOver(spec.args);
  section.draw();
  const banner = get("[data-reused-banner]");
  const lost = [...(foundModel ? [] : [spec.model]), ...missing];
  banner.textContent =
    t(`已复用任务“${job.name}”的参数。`, `The settings of “${job.name}” are taken over.`) +
    (lost.length
      ? t(
          ` 其中 ${lost.join("、")} 已不可用，请重新选择。`,
          ` ${lost.join(", ")} cannot be had any more: choose again.`,
        )
      : "");
  banner.hidden = false;
  drawMethodHint();
  changed();
}

async function chooseJob(): Promise<void> {
  const [job] = await pickJobs({
    title: t("复用哪个任务的参数？", "Take over which job's settings?"),
    confirm: t("复用", "Take over"),
    kind: "train",
    statuses: [],
    most: 1,
  });
  if (job) await reuse(job);
}

function resetAll(): void {
  section.values.resetAll();
  section.draw();
  get("[data-reused-banner]").hidden = true;
  notify(t("已恢复默认参数。", "All settings are at their defaults again."));
  changed();
}

/** What a link from the pages of data and models has chosen already. */
function takeOverChoice(model: string | null, dataset: string | null): void {
  if (model === null && dataset === null) return;
  const missing = model !== null && !models.choose(model) ? [model] : [];
  datasets.setModel(models.model);
  if (dataset !== null) missing.push(...datasets.choose([dataset]));
  if (missing.length)
    notify(
      t("链接中的模型或数据集不能与当前选择一起使用，请重新选择。", "The model or dataset of the link cannot be used with the present choice; choose again."),
      "bad",
    );
  changed();
}

// -- SwanLab -----------------------------------------------------------------------------------------------

async function drawSwanlabBanner(): Promise<void> {
  const { swanlab } = await call<{ swanlab: { status: string } }>("GET", "/me");
  const texts: Record<string, string> = {
    unset: t(
      "您未配置 SwanLab API Key，训练将只在本机记录；不影响开始训练。",
      "No SwanLab API key is set: the run is recorded on this platform only. You can start all the same.",
    ),
    rejected: t(
      "SwanLab 拒绝了您的 API Key，训练将只在本机记录。",
      "SwanLab rejected your API key: the run is recorded on this platform only.",
    ),
    unreachable: t(
      "暂时无法连接 SwanLab，开始训练时会再次尝试。",
      "SwanLab cannot be reached for now; it is tried again when the training starts.",
    ),
  };
  const text = texts[swanlab.status];
  get("[data-swanlab-banner]").hidden = text === undefined;
  get("[data-swanlab-text]").textContent = text ?? "";
}

// -- opening -----------------------------------------------------------------------------------------------

async function open(): Promise<void> {
  drawSwanlabBanner().catch(console.warn);
  await Promise.all([models.load(), datasets.load(), resources.load(), section.load()]);
  datasets.setModel(models.model);
  await contextChanged();
  const asked = new URLSearchParams(location.search);
  takeOverChoice(asked.get("model"), asked.get("dataset"));
  const from = asked.get("from");
  if (from) await reuse(await call<Job>("GET", `/jobs/${encodeURIComponent(from)}`));
}

nameInput.addEventListener("input", () => changed());
for (const radio of methods) radio.addEventListener("change", () => void contextChanged());
get("[data-reset]").addEventListener("click", resetAll);
const reuseButton = get<HTMLButtonElement>("[data-reuse]");
reuseButton.addEventListener("click", () => runWithButton(reuseButton, chooseJob));
open().catch((error: unknown) => notify(explain(error), "bad"));
