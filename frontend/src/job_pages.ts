// A list of jobs with its counts, as far as somebody has asked to see it.
import { type Page, call } from "./api";
import { element } from "./dom";
import { type Job, type JobStatus, nameStatus } from "./jobs";
import { t } from "./language";

export type Counts = Record<JobStatus, number>;
export type Group = "" | "running" | "queued" | "succeeded" | "failed" | "cancelled";

// A job that is being started counts as running, as it does for whoever waits for it.
const STATUSES: Record<Group, JobStatus[]> = {
  "": [],
  running: ["running", "assigned"],
  queued: ["queued"],
  succeeded: ["succeeded"],
  failed: ["failed"],
  cancelled: ["cancelled"],
};

export interface JobList {
  jobs: Job[];
  counts: Counts;
  hasMore: boolean;
}

export function parseGroup(text: string | null): Group {
  return text !== null && Object.hasOwn(STATUSES, text) ? (text as Group) : "";
}

/** Fetch the first `wanted` jobs that `path` lists, in as many calls as that takes. */
export async function fetchJobs(path: string, query: URLSearchParams, group: Group, wanted: number): Promise<JobList> {
  const jobs: Job[] = [];
  let [after, counts, hasMore] = ["", {} as Counts, true];
  if (group) query.set("status", STATUSES[group].join(","));
  while (hasMore && jobs.length < wanted) {
    query.set("limit", String(Math.min(100, wanted - jobs.length)));
    if (after) query.set("after", after);
    const page = await call<Page<Job> & { counts: Counts }>("GET", `${path}?${query}`);
    jobs.push(...page.data);
    ({ counts, has_more: hasMore } = page);
    after = page.next ?? "";
  }
  return { jobs, counts, hasMore };
}

/** One button for each state, with how many jobs stand in it. */
export function buildGroupButtons(counts: Counts, chosen: Group, choose: (group: Group) => void): HTMLElement[] {
  return (Object.keys(STATUSES) as Group[]).map((group) => {
    const statuses = group ? STATUSES[group] : (Object.keys(counts) as JobStatus[]);
    const count = statuses.reduce((sum, status) => sum + counts[status], 0);
    return element(
      "button",
      { class: "chip", type: "button", "aria-pressed": String(group === chosen), "data-status": group, onclick: () => choose(group) },
      `${group ? nameStatus(group) : t("全部", "All")} (${count})`,
    );
  });
}
