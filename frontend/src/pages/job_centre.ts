// The job centre: one's jobs by kind and state, what can be done to each, and the choice of which to compare.
import { element, get, icon, onPause, replaceChildrenIfChanged } from "../dom";
import { buildJobCard } from "../job_card";
import { type Counts, type Group, buildGroupButtons, fetchJobs, parseGroup } from "../job_pages";
import type { Job, JobKind } from "../jobs";
import { t } from "../language";
import { poll } from "../poll";

const PAGE_SIZE = 20;
const MOST_COMPARED = 8;

const asked = new URLSearchParams(location.search);
let kind: JobKind = asked.get("kind") === "evaluate" ? "evaluate" : "train";
let group = parseGroup(asked.get("status"));
let wantedRows = PAGE_SIZE;
let generation = 0;
const selected = new Map<string, string>();

const search = get<HTMLInputElement>("#search");
const sort = get<HTMLSelectElement>("#sort");
search.value = asked.get("q") ?? "";
if (asked.get("sort") === "created_at") sort.value = "created_at";

const watch = poll(2.5, look);

async function look(): Promise<void> {
  const asking = generation;
  const { jobs, counts, hasMore } = await fetchJobs("/jobs", buildQuery(), group, wantedRows);
  if (asking !== generation) return; // another filter was chosen meanwhile
  drawFilters(counts);
  drawJobs(jobs, counts);
  get("#more").hidden = !hasMore;
  drawSelection();
}

function buildQuery(): URLSearchParams {
  const query = new URLSearchParams({ kind });
  if (search.value.trim()) query.set("q", search.value.trim());
  if (sort.value !== "-created_at") query.set("sort", sort.value);
  return query;
}

// -- filters -----------------------------------------------------------------------------------------------

function applyFilters(): void {
  generation += 1;
  wantedRows = PAGE_SIZE;
  const address = buildQuery();
  if (group) address.set("status", group);
  history.replaceState(null, "", `/jobs?${address}`);
  drawTabs();
  void watch.now();
}

function drawTabs(): void {
  for (const tab of document.querySelectorAll<HTMLElement>("[role=tab]")) {
    tab.setAttribute("aria-selected", String(tab.dataset["kind"] === kind));
  }
  const button = get<HTMLAnchorElement>("#new-job");
  button.href = kind === "train" ? "/train" : "/evaluate";
  get("span", button).textContent = kind === "train" ? t("新建微调", "New fine-tuning") : t("新建评估", "New evaluation");
}

function drawFilters(counts: Counts): void {
  const key = JSON.stringify([kind, group, counts]);
  replaceChildrenIfChanged(get("#status-filters"), key, () => buildGroupButtons(counts, group, chooseGroup));
}

function chooseGroup(other: Group): void {
  group = other;
  applyFilters();
}

for (const tab of document.querySelectorAll<HTMLElement>("[role=tab]")) {
  tab.addEventListener("click", () => {
    kind = tab.dataset["kind"] === "evaluate" ? "evaluate" : "train";
    group = "";
    selected.clear();
    applyFilters();
  });
}

onPause(search, applyFilters);
sort.addEventListener("change", applyFilters);
get("#more").addEventListener("click", () => {
  wantedRows += PAGE_SIZE;
  void watch.now();
});
drawTabs();

// -- the list ----------------------------------------------------------------------------------------------

function drawJobs(jobs: Job[], counts: Counts): void {
  const list = get("#jobs");
  if (!jobs.length) {
    const exist = Object.values(counts).some((count) => count > 0);
    replaceChildrenIfChanged(list, `none ${kind} ${exist} ${search.value}`, () => [exist || search.value ? buildNothingFound() : buildInvitation()]);
    return;
  }
  if (list.firstElementChild?.className !== "job-list") list.replaceChildren(element("div", { class: "job-list" }));
  list.removeAttribute("data-shown");
  keepCards(list.firstElementChild as HTMLElement, jobs);
}

/** Cards of jobs that did not change stay as they are, with focus and what is hovered. */
function keepCards(list: HTMLElement, jobs: Job[]): void {
  const present = new Map(Array.from(list.children, (card) => [card.getAttribute("data-job"), card]));
  const minute = Math.floor(Date.now() / 60000);
  const cards = jobs.map((job) => {
    const key = JSON.stringify([job, job.status === "running" ? Date.now() : minute, selected.has(job.id)]);
    const card = present.get(job.id);
    if (card?.getAttribute("data-shown") === key) return card;
    const made = buildJobCard(job, { isSelected: selected.has(job.id), onSelect: select, onChange: () => void watch.now() });
    made.setAttribute("data-shown", key);
    return made;
  });
  const isSame = cards.length === list.children.length && cards.every((card, place) => card === list.children[place]);
  if (!isSame) list.replaceChildren(...cards);
}

function buildInvitation(): HTMLElement {
  const [text, url, action] =
    kind === "train"
      ? [
          t("还没有微调任务。选好模型和数据，提交前就能看到预计用时和费用。", "No fine-tuning yet. Choose a model and data; you see time and cost before you start."),
          "/train",
          t("开始微调", "Start fine-tuning"),
        ]
      : [
          t("还没有评估任务。分别评估微调后的模型和原始模型，就能逐条对比。", "No evaluations yet. Evaluate the tuned and the untouched model, then compare them answer by answer."),
          "/evaluate",
          t("开始评估", "Start an evaluation"),
        ];
  return element("div", { class: "card empty" }, icon(kind === "train" ? "tune" : "gauge"), element("p", {}, text), element("a", { class: "button primary", href: url }, action));
}

function buildNothingFound(): HTMLElement {
  function clear(): void {
    search.value = "";
    chooseGroup("");
  }
  return element(
    "div",
    { class: "card empty" },
    icon("search"),
    element("p", {}, t("没有符合条件的任务。", "No job matches these filters.")),
    element("button", { class: "button", type: "button", onclick: clear }, t("清除筛选条件", "Clear the filters")),
  );
}

// -- choosing what to compare ------------------------------------------------------------------------------

function select(job: Job, on: boolean): void {
  if (on) selected.set(job.id, job.name);
  else selected.delete(job.id);
  drawSelection();
}

function drawSelection(): void {
  const count = selected.size;
  get("#selection").hidden = count === 0;
  get<HTMLButtonElement>("#compare-selection").disabled = count < 2 || count > MOST_COMPARED;
  const texts = [t(`已选 ${count} 个任务`, `${count} chosen`)];
  if (count === 1) texts.push(t("再选一个即可对比", "choose one more to compare"));
  if (count > MOST_COMPARED) texts.push(t(`最多对比 ${MOST_COMPARED} 个`, `at most ${MOST_COMPARED} can be compared`));
  get("#selection-text").textContent = texts.join(t("，", ", "));
}

get("#clear-selection").addEventListener("click", () => {
  selected.clear();
  void watch.now();
});
get("#compare-selection").addEventListener("click", () => {
  location.assign(`/compare?jobs=${[...selected.keys()].join(",")}`);
});
