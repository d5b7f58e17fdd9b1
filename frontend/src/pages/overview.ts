// The overview: counts, devices and recent jobs, kept up to date while the page is looked at.
import { type Money, type Page, call, callAll } from "../api";
import { type Dataset, isUsable } from "../datasets";
import { element, get, icon, replaceChildrenIfChanged } from "../dom";
import { describeBalance, formatAgo, formatBytes, formatMoney } from "../format";
import { describeProgress, progressBar } from "../job_rows";
import { type Job, type JobKind, type JobStatus, nameKind, statusBadge } from "../jobs";
import { t } from "../language";
import { poll } from "../poll";

interface DeviceKind {
  id: string;
  name: string;
  memory_bytes: number;
  price_per_hour: Money;
  total: number;
  free: number;
}

interface Resources {
  gpu_kinds: DeviceKind[];
  nodes_online: number;
}

type JobPage = Page<Job> & { counts: Record<JobStatus, number> };

poll(4, async () => {
  const [recent, train, evaluate, resources, me] = await Promise.all([
    call<JobPage>("GET", "/jobs?limit=6"),
    call<JobPage>("GET", "/jobs?kind=train&limit=1"),
    call<JobPage>("GET", "/jobs?kind=evaluate&limit=1"),
    call<Resources>("GET", "/resources"),
    call<{ balance: Money }>("GET", "/me"),
  ]);
  drawCounts("train", train.counts);
  drawCounts("evaluate", evaluate.counts);
  drawDevices(resources);
  drawJobs(recent.data);
  const balance = describeBalance(me.balance);
  get("#balance").textContent = `${balance.label} ${formatMoney(balance.amount)}`;
});
void countDatasets();

function drawCounts(kind: JobKind, counts: Record<JobStatus, number>): void {
  get(`[data-count="${kind}-running"]`).textContent = String(counts.running + counts.assigned);
  get(`[data-count="${kind}-queued"]`).textContent = String(counts.queued);
}

async function countDatasets(): Promise<void> {
  const ready = (await callAll<Pick<Dataset, "status">>("/datasets")).filter(isUsable);
  get("#dataset-count").textContent = ready.length
    ? t(`${ready.length} 个数据集可直接使用`, `${ready.length} dataset${ready.length === 1 ? "" : "s"} ready to use`)
    : t("还没有数据集，上传一个试试", "No dataset yet: upload one");
}

function drawDevices(resources: Resources): void {
  const online = resources.nodes_online;
  get("#nodes-warning").hidden = online > 0;
  get("#nodes-online").textContent = t(`${online} 个节点在线`, `${online} node${online === 1 ? "" : "s"} online`);
  replaceChildrenIfChanged(get("#devices"), JSON.stringify(resources.gpu_kinds), () =>
    resources.gpu_kinds.length
      ? resources.gpu_kinds.map(buildDevice)
      : [element("p", { class: "soft" }, t("还没有节点登记设备。", "No node has registered a device yet."))],
  );
}

function buildDevice(kind: DeviceKind): HTMLElement {
  const used = element("span");
  used.style.width = `${kind.total ? ((kind.total - kind.free) / kind.total) * 100 : 0}%`;
  return element(
    "div",
    { class: "device" },
    element(
      "div",
      { class: "device-line" },
      element("span", { class: "device-name", title: kind.id }, icon("chip"), kind.name),
      element("span", { class: "number" }, t(`空闲 ${kind.free} / ${kind.total}`, `${kind.free} of ${kind.total} free`)),
    ),
    element("div", { class: "progress", "aria-hidden": "true" }, used),
    element(
      "p",
      { class: "faint" },
      `${formatBytes(kind.memory_bytes)} · ${formatMoney(kind.price_per_hour)}${t(" /卡/小时", " per device and hour")}`,
    ),
  );
}

function drawJobs(jobs: Job[]): void {
  // Times are told as "3 minutes ago": the minute is part of what is shown.
  const key = JSON.stringify([jobs, Math.floor(Date.now() / 60000)]);
  replaceChildrenIfChanged(get("#recent-jobs"), key, () => (jobs.length ? jobs.map(buildRow) : [buildInvitation()]));
}

function buildRow(job: Job): HTMLElement {
  return element(
    "a",
    { class: "recent", href: `/jobs/${job.id}` },
    element("span", { class: "recent-name clip", title: job.name }, job.name),
    statusBadge(job),
    element("span", { class: "faint clip" }, [nameKind(job.kind), describeProgress(job), formatAgo(job.created_at)].filter(Boolean).join(" · ")),
    job.status === "running" ? progressBar(job) : null,
  );
}

function buildInvitation(): HTMLElement {
  return element(
    "div",
    { class: "empty" },
    icon("rocket"),
    element(
      "p",
      {},
      t("还没有任务。用自带的演示模型和数据试一次，几分钟就能看到结果。", "No jobs yet. Try the demonstration model and data: the result takes a few minutes."),
    ),
    element("a", { class: "button primary", href: "/train" }, t("开始微调", "Start fine-tuning")),
  );
}
