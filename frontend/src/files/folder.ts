// How a folder looks: its entries, the way to it, and how much of the quota is used.
import { element, icon } from "../dom";
import { formatAgo, formatBytes, formatPercent } from "../format";
import { t } from "../language";
import { runWithButton } from "../notices";
import { buildTable } from "../table";
import { buildBar } from "../work";

export interface Entry {
  name: string;
  kind: "folder" | "file";
  size_bytes: number | null;
  modified_at: string;
}

export interface Folder {
  path: string;
  entries: Entry[];
  used_bytes: number;
  quota_bytes: number | null;
}

interface Actions {
  open: (entry: Entry) => void;
  rename: (entry: Entry) => Promise<void>;
  remove: (entry: Entry) => Promise<void>;
  urlOf: (entry: Entry) => string;
}

/** The folder that holds what one's jobs left; it is only read. */
const JOBS_FOLDER = "jobs";

export function isOfJobs(path: string): boolean {
  return path === JOBS_FOLDER || path.startsWith(`${JOBS_FOLDER}/`);
}

export function joinPath(folder: string, name: string): string {
  return folder ? `${folder}/${name}` : name;
}

/** Folders first, each kind by name. */
export function buildFileTable(path: string, entries: Entry[], actions: Actions): HTMLElement {
  const order = [...entries].sort(
    (a, b) => Number(b.kind === "folder") - Number(a.kind === "folder") || a.name.localeCompare(b.name, undefined, { numeric: true }),
  );
  const heads = [t("名称", "Name"), t("大小", "Size"), t("修改时间", "Changed"), ""];
  const rows = order.map((entry) => [
    [buildName(entry, actions, isJobsFolder(path, entry))],
    [entry.kind === "folder" && !entry.size_bytes ? "–" : formatBytes(entry.size_bytes)],
    [formatAgo(entry.modified_at)],
    [isJobsFolder(path, entry) ? null : buildActions(entry, actions, isOfJobs(path))],
  ]);
  return buildTable(heads, rows);
}

/** There is something in the folder that is one's own, or one job's. */
export function canBeZipped(path: string, entries: Entry[]): boolean {
  return path !== JOBS_FOLDER && entries.some((entry) => !isJobsFolder(path, entry));
}

function isJobsFolder(path: string, entry: Entry): boolean {
  return joinPath(path, entry.name) === JOBS_FOLDER;
}

function buildName(entry: Entry, actions: Actions, isOfJobs: boolean): HTMLElement {
  if (entry.kind === "file") return element("a", { class: "file-name", href: actions.urlOf(entry), download: entry.name }, icon("file"), entry.name);
  return element("button", { class: "file-name", type: "button", onclick: () => actions.open(entry) }, icon("folder"), entry.name, isOfJobs ? element("span", { class: "badge" }, t("任务产物", "results of jobs")) : null);
}

function buildActions(entry: Entry, actions: Actions, isReadOnly: boolean): HTMLElement {
  const downloadText = entry.kind === "folder" ? t("打包下载", "Download as zip") : t("下载", "Download");
  return element(
    "div",
    { class: "file-actions" },
    element("a", { class: "icon-button", href: actions.urlOf(entry), download: "", title: downloadText, "aria-label": `${downloadText} ${entry.name}` }, icon("download")),
    ...(isReadOnly ? [] : [buildButton("edit", t("改名", "Rename"), entry, actions.rename), buildButton("trash", t("删除", "Delete"), entry, actions.remove)]),
  );
}

function buildButton(symbol: string, text: string, entry: Entry, act: (entry: Entry) => Promise<void>): HTMLElement {
  const button: HTMLButtonElement = element(
    "button",
    { class: "icon-button", type: "button", title: text, "aria-label": `${text} ${entry.name}`, onclick: () => void runWithButton(button, () => act(entry)) },
    icon(symbol),
  );
  return button;
}

export function buildCrumbs(path: string, open: (path: string) => void): HTMLElement[] {
  const parts = path ? path.split("/") : [];
  const steps = [["", t("我的文件", "My files")], ...parts.map((name, place) => [parts.slice(0, place + 1).join("/"), name])] as [string, string][];
  return steps.map(([to, name], place) =>
    place === steps.length - 1
      ? element("span", { "aria-current": "location" }, name)
      : element("button", { type: "button", onclick: () => open(to) }, name),
  );
}

export function buildQuota(folder: Folder): HTMLElement[] {
  const { used_bytes: used, quota_bytes: quota } = folder;
  if (!quota) return [element("span", { class: "faint number" }, t(`已用 ${formatBytes(used)}`, `${formatBytes(used)} used`))];
  const part = Math.min(1, used / quota);
  return [
    element("span", { class: "number" }, t(`已用 ${formatBytes(used)} / ${formatBytes(quota)}（${formatPercent(part)}）`, `${formatBytes(used)} of ${formatBytes(quota)} used (${formatPercent(part)})`)),
    buildBar(part, t("空间用量", "Space used"), part > 0.9 ? "nearly-full" : ""),
  ];
}
