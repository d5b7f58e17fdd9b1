// One's own files in folders: up and down, as a zip, renamed and deleted, measured against the quota.
import { call, newIdempotencyKey } from "../api";
import { element, get, icon } from "../dom";
import { type Entry, type Folder, buildCrumbs, buildFileTable, buildQuota, canBeZipped, isOfJobs, joinPath } from "../files/folder";
import { t } from "../language";
import { ask, askForText, notify, notifyError, runWithButton } from "../notices";
import { watchDropZone } from "../uploads/drop_zone";
import { UploadPanel } from "../uploads/panel";

let path = new URLSearchParams(location.search).get("path") ?? "";
let generation = 0;

const uploads = new UploadPanel(get("#uploads"), {
  purpose: "file",
  folder: () => path,
  onComplete: async (upload) => {
    notify(t(`“${upload.file_name}”已上传。`, `“${upload.file_name}” is uploaded.`), "good");
    await load();
  },
});

async function load(): Promise<void> {
  const asking = (generation += 1);
  const folder = await call<Folder>("GET", `/files?path=${encodeURIComponent(path)}`);
  if (asking !== generation) return; // another folder was opened meanwhile
  get("#quota").hidden = false;
  get("#quota").replaceChildren(...buildQuota(folder));
  get("#crumbs").replaceChildren(...buildCrumbs(path, open));
  // What jobs left is only read.
  for (const selector of ["#drop-zone", "#new-folder"]) get(selector).hidden = isOfJobs(path);
  const link = get<HTMLAnchorElement>("#download-folder");
  link.hidden = !canBeZipped(path, folder.entries);
  link.href = `/api/v1/files/content?path=${encodeURIComponent(path)}`;
  const actions = { open: (entry: Entry) => open(joinPath(path, entry.name)), rename, remove, urlOf };
  get("#files").replaceChildren(folder.entries.length ? buildFileTable(path, folder.entries, actions) : buildNothing());
}

function open(wanted: string): void {
  history.pushState(null, "", wanted ? `/files?path=${encodeURIComponent(wanted)}` : "/files");
  show(wanted);
}

function show(wanted: string): void {
  path = wanted;
  // Until the folder is there, the button would give the one before it.
  get("#download-folder").hidden = true;
  load().catch(notifyError);
}

window.addEventListener("popstate", () => show(new URLSearchParams(location.search).get("path") ?? ""));

function urlOf(entry: Entry): string {
  return `/api/v1/files/content?path=${encodeURIComponent(joinPath(path, entry.name))}`;
}

function buildNothing(): HTMLElement {
  const text = isOfJobs(path)
    ? t("任务结束后，产物会出现在这里。", "What jobs leave appears here.")
    : path
    ? t("这个文件夹是空的。", "This folder is empty.")
    : t("还没有文件。把文件拖到上面，即可在任何电脑上取用。", "No files yet. Drop some above, and have them on any computer.");
  return element("div", { class: "card empty" }, icon("folder"), element("p", {}, text));
}

// -- changes -----------------------------------------------------------------------------------------------

async function makeFolder(): Promise<void> {
  const name = await askForText({ title: t("新建文件夹", "New folder"), label: t("名称", "Name"), value: t("新文件夹", "New folder"), confirm: t("新建", "Make"), most: 200 });
  if (name === null) return;
  await call("POST", "/files/folders", { body: { path: joinPath(path, name) }, idempotencyKey: newIdempotencyKey() });
  await load();
}

async function rename(entry: Entry): Promise<void> {
  const name = await askForText({ title: t(`“${entry.name}”改名`, `Rename “${entry.name}”`), label: t("名称", "Name"), value: entry.name, confirm: t("保存", "Save"), most: 200 });
  if (name === null || name === entry.name) return;
  await call("PATCH", "/files", { body: { path: joinPath(path, entry.name), new_path: joinPath(path, name) } });
  await load();
}

async function remove(entry: Entry): Promise<void> {
  const agreed = await ask({
    title: t(`删除“${entry.name}”？`, `Delete “${entry.name}”?`),
    text: entry.kind === "folder" ? t("其中的所有文件都会删除，无法恢复。", "All files in it are deleted for good.") : t("删除后无法恢复。", "It is deleted for good."),
    confirm: t("删除", "Delete"),
    dangerous: true,
  });
  if (!agreed) return;
  await call("DELETE", `/files?path=${encodeURIComponent(joinPath(path, entry.name))}`);
  await load();
}

const folderButton = get<HTMLButtonElement>("#new-folder");
folderButton.addEventListener("click", () => void runWithButton(folderButton, makeFolder));
watchDropZone(get("#drop-zone"), (files) => void uploads.add(files));
load().catch(notifyError);
uploads.load().catch(notifyError);
