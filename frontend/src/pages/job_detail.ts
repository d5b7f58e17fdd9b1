// One job's page: its parts, all fed by one live job.
import { call, explain } from "../api";
import { get } from "../dom";
import { JobHeader, buildGoneNote } from "../job/header";
import { JobInfo } from "../job/info";
import { LiveJob } from "../job/live_job";
import { JobParameters } from "../job/parameters";
import { JobResults } from "../job/results";
import { Tabs } from "../tabs";
import { JobTracking } from "../job/tracking";
import type { Job } from "../jobs";
import { LogView } from "../live/log_view";
import { notify, notifyError } from "../notices";

async function openPage(): Promise<void> {
  const root = get("#job");
  const job = await call<Job>("GET", `/jobs/${root.dataset["jobId"]}`);
  const live = new LiveJob(job, {
    onJob: (changed) => drawJob(changed),
    onProgress: (changed) => header.drawProgress(changed),
    onPoints: (points) => tracking.setPoints(points),
    onLog: () => log.schedule(),
    onConnection: (connection) => header.drawConnection(connection),
    onGone: () => root.replaceChildren(buildGoneNote()),
  });
  const header = new JobHeader((changed) => live.set(changed));
  const info = new JobInfo();
  const parameters = new JobParameters(() => live.job);
  const tracking = new JobTracking();
  const results = new JobResults();
  const log = new LogView(live.log, () => live.job.name);
  const tabs = new Tabs((name) => {
    if (name === "parameters") parameters.show();
    if (name === "log") log.show();
    tracking.show(name === "tracking");
    results.show(name === "results");
  });

  function drawJob(changed: Job): void {
    header.draw(changed);
    info.draw(changed);
    tracking.draw(changed);
    results.draw(changed);
  }

  drawJob(job);
  tabs.showFromAddress();
  await live.start();
  log.reset();
}

openPage().catch((error: unknown) => {
  notifyError(error);
  notify(explain(error), "bad");
});
