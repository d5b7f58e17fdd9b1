// The administrator's page: three tabs, each kept up to date while it is looked at.
import { startJobs } from "../admin/jobs";
import { startNodes } from "../admin/nodes";
import { startUsers } from "../admin/users";
import { get } from "../dom";
import type { Poll } from "../poll";

// A tab starts when it is first opened; its part of the address lets a reload come back to it.
const starts: Record<string, (isShown: () => boolean) => Poll> = { nodes: startNodes, jobs: startJobs, users: startUsers };
const polls = new Map<string, Poll>();

function show(name: string): void {
  for (const tab of document.querySelectorAll<HTMLElement>("[role=tab]")) {
    const isChosen = tab.dataset["tab"] === name;
    tab.setAttribute("aria-selected", String(isChosen));
    get(`#${tab.getAttribute("aria-controls")}`).hidden = !isChosen;
  }
  history.replaceState(null, "", `#${name}`);
  const running = polls.get(name);
  if (running) void running.now();
  else polls.set(name, starts[name]!(() => !get(`#panel-${name}`).hidden));
}

for (const tab of document.querySelectorAll<HTMLElement>("[role=tab]")) {
  tab.addEventListener("click", () => show(tab.dataset["tab"] ?? "nodes"));
}

function showAsAddressed(): void {
  const wanted = location.hash.slice(1);
  show(Object.hasOwn(starts, wanted) ? wanted : "nodes");
}

window.addEventListener("hashchange", showAsAddressed);
showAsAddressed();
