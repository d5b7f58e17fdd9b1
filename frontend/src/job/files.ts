/** What a job left: its files to download, by folder. */
import { element, get } from "../dom";
import { formatBytes } from "../format";
import { type Job, isFinished } from "../jobs";
import { t } from "../language";

export interface Artifact {
  name: string;
  size_bytes: number;
  url: string;
}

/** Draw the list of files; those of a folder are folded together. */
export function drawArtifacts(job: Job, artifacts: Artifact[]): void {
  const place = get("[data-artifacts]");
  const total = artifacts.reduce((sum, file) => sum + file.size_bytes, 0);
  get("[data-artifact-count]").textContent = artifacts.length
    ? t(`${artifacts.length} 个文件，共 ${formatBytes(total)}`, `${artifacts.length} files, ${formatBytes(total)}`)
    : "";
  if (!artifacts.length) {
    const text = isFinished(job)
      ? t("这个任务没有留下文件。", "This job left no files.")
      : t("任务结束后，模型与结果文件会出现在这里。", "The model and result files appear here when the job ends.");
    place.replaceChildren(element("p", { class: "soft" }, text));
    return;
  }
  const groups = new Map<string, Artifact[]>();
  for (const file of artifacts) {
    const slash = file.name.lastIndexOf("/");
    const folder = slash < 0 ? "" : file.name.slice(0, slash);
    groups.set(folder, [...(groups.get(folder) ?? []), file]);
  }
  const folders = [...groups.keys()].sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
  place.replaceChildren(...folders.map((folder) => buildFolder(folder, groups.get(folder)!)));
}

function buildFolder(folder: string, files: Artifact[]): HTMLElement {
  const rows = files.map((file) =>
    element(
      "li",
      {},
      element("a", { href: file.url, download: "" }, file.name.slice(folder ? folder.length + 1 : 0)),
      element("span", { class: "faint number" }, formatBytes(file.size_bytes)),
    ),
  );
  const list = element("ul", { class: "files" }, ...rows);
  if (!folder) return list;
  const size = formatBytes(files.reduce((sum, file) => sum + file.size_bytes, 0));
  return element(
    "details",
    { class: "folder" },
    element("summary", {}, element("span", {}, `${folder}/`), element("span", { class: "faint number" }, size)),
    list,
  );
}
