// The administrator's page: tabs, each started when it is first opened and kept up to date while it is looked at.
import { startAudit } from "../admin/audit";
import { startJobs } from "../admin/jobs";
import { startNodes } from "../admin/nodes";
import { startUsage } from "../admin/usage";
import { startUsers } from "../admin/users";
import { get } from "../dom";
import { Tabs } from "../tabs";
import type { Poll } from "../poll";

const starts: Record<string, (isShown: () => boolean) => Poll> = {
  nodes: startNodes,
  jobs: startJobs,
  users: startUsers,
  usage: startUsage,
  audit: startAudit,
};
const polls = new Map<string, Poll>();

new Tabs((name) => {
  const running = polls.get(name);
  if (running) void running.now();
  else polls.set(name, starts[name]!(() => !get(`#panel-${name}`).hidden));
}).showFromAddress();
