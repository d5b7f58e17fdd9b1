// A place where files are dropped or chosen.
import { get } from "../dom";
import { t } from "../language";
import { notify } from "../notices";

/** The zone holds a file input; `onFiles` gets what was dropped anywhere in it, or chosen. */
export function watchDropZone(zone: HTMLElement, onFiles: (files: File[]) => void): void {
  const input = get<HTMLInputElement>("input[type=file]", zone);
  input.addEventListener("change", () => {
    const files = [...(input.files ?? [])];
    input.value = ""; // the same file may be chosen again
    onFiles(files);
  });
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", (event) => {
    if (!(event.relatedTarget instanceof Node && zone.contains(event.relatedTarget))) zone.classList.remove("over");
  });
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const files = listFiles(event.dataTransfer);
    if (files.length) onFiles(files);
  });
  // A file that misses the zone must not take the person away from the page.
  for (const kind of ["dragover", "drop"] as const) window.addEventListener(kind, (event) => event.preventDefault());
}

function listFiles(transfer: DataTransfer | null): File[] {
  const items = [...(transfer?.items ?? [])].filter((item) => item.kind === "file");
  const hasFolder = items.some((item) => item.webkitGetAsEntry()?.isDirectory);
  if (hasFolder)
    notify(t("文件夹请先打包成 zip 或 tar 再拖进来。", "Pack a folder as zip or tar before you drop it here."), "bad");
  return items
    .filter((item) => !item.webkitGetAsEntry()?.isDirectory)
    .map((item) => item.getAsFile())
    .filter((file) => file !== null);
}
