// Everybody's jobs in one table.
import { call } from "../api";
import { type Child, element, get, onPause, replaceChildrenIfChanged } from "../dom";
import { formatAgo, formatMoney, formatTime } from "../format";
import { type Group, buildGroupButtons, fetchJobs } from "../job_pages";
import { describeDevices, describeProgress } from "../job_rows";
import { type Job, isFinished, nameKind, statusBadge } from "../jobs";
import { t } from "../language";
import { ask, runWithButton } from "../notices";
import { type Poll, poll } from "../poll";
import { buildTable } from "../table";

const PAGE_SIZE = 30;

export function startJobs(isShown: () => boolean): Poll {
  const search = get<HTMLInputElement>("#search");
  let group: Group = "";
  let wanted = PAGE_SIZE;

  const watch = poll(4, async () => {
    if (!isShown()) return;
    const query = new URLSearchParams(search.value.trim() ? { q: search.value.trim() } : {});
    const { jobs, counts, hasMore } = await fetchJobs("/admin/jobs", query, group, wanted);
    replaceChildrenIfChanged(get("#status-filters"), JSON.stringify([group, counts]), () => buildGroupButtons(counts, group, choose));
    const key = JSON.stringify([jobs, Math.floor(Date.now() / 60000)]);
    replaceChildrenIfChanged(get("#job-table"), key, () => [jobs.length ? buildJobs(jobs, watch) : buildNothing()]);
    get("#more").hidden = !hasMore;
  });

  function choose(chosen: Group): void {
    group = chosen;
    wanted = PAGE_SIZE;
    void watch.now();
  }

  onPause(search, () => choose(group));
  get("#more").addEventListener("click", () => {
    wanted += PAGE_SIZE;
    void watch.now();
  });
  return watch;
}

function buildNothing(): HTMLElement {
  return element("p", { class: "card empty" }, t("没有符合条件的任务。", "No job matches."));
}

function buildJobs(jobs: Job[], watch: Poll): HTMLElement {
  const heads = [t("任务", "Job"), t("用户", "User"), t("状态", "State"), t("设备", "Devices"), t("创建", "Created"), t("费用", "Cost"), ""];
  return buildTable(heads, jobs.map((job) => buildRow(job, watch)));
}

function buildRow(job: Job, watch: Poll): Child[][] {
  const where = job.assignment ? `${describeDevices(job)} · ${job.assignment.node}` : describeDevices(job);
  return [
    [element("a", { href: `/jobs/${job.id}` }, job.name), element("div", { class: "faint" }, `${nameKind(job.kind)} · ${job.spec.model}`)],
    [job.owner],
    [statusBadge(job), isFinished(job) ? null : element("div", { class: "faint" }, describeProgress(job))],
    [where],
    [element("span", { title: formatTime(job.created_at) }, formatAgo(job.created_at))],
    [element("span", { class: "number" }, formatMoney(job.cost))],
    [isFinished(job) || job.stop_requested_at ? null : buildStop(job, watch)],
  ];
}

function buildStop(job: Job, watch: Poll): HTMLElement {
  const button: HTMLButtonElement = element(
    "button",
    { class: "button small", type: "button", onclick: () => void runWithButton(button, stop) },
    t("停止", "Stop"),
  );
  async function stop(): Promise<void> {
    const agreed = await ask({
      title: t("停止这个任务？", "Stop this job?"),
      text: t(
        `“${job.name}”属于 ${job.owner}。已训练的部分会保留，之后可以继续。`,
        `“${job.name}” is ${job.owner}'s. What is trained so far is kept, and the job can go on later.`,
      ),
      confirm: t("停止", "Stop"),
      dangerous: true,
    });
    if (!agreed) return;
    await call("POST", `/jobs/${job.id}/stop`, { body: { keep: true } });
    await watch.now();
  }
  return button;
}
