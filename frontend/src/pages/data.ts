// Datasets: those one has, those shared with all, and presets to fetch; files dropped here become new ones.
import { call, callAll } from "../api";
import { buildDatasetTable } from "../data/table";
import { type Dataset, describeDataset } from "../datasets";
import { element, get, icon, onPause, replaceChildrenIfChanged } from "../dom";
import { ImportDialog } from "../import_dialog";
import { t } from "../language";
import { notify, notifyError } from "../notices";
import { poll } from "../poll";
import { watchDropZone } from "../uploads/drop_zone";
import { UploadPanel } from "../uploads/panel";
import type { Upload } from "../uploads/transfer";

type Group = "" | "own" | "public" | "available";
const GROUPS: Group[] = ["", "own", "public", "available"];

const asked = new URLSearchParams(location.search).get("show") as Group | null;
let group: Group = asked && GROUPS.includes(asked) ? asked : "";
let datasets: Dataset[] = [];

const search = get<HTMLInputElement>("#search");
const uploads = new UploadPanel(get("#uploads"), { purpose: "dataset", onComplete: importUpload });
const watch = poll(3, async () => {
  datasets = await callAll<Dataset>("/datasets");
  draw();
});

/** The same upload becomes one dataset, however often this is said. */
async function importUpload(upload: Upload): Promise<void> {
  const body = { upload_id: upload.id };
  const dataset = await call<Dataset>("POST", "/datasets", { body, idempotencyKey: `import-${upload.id}` });
  notify(t(`“${dataset.name}”已上传，正在检查。`, `“${dataset.name}” is uploaded and being checked.`), "good");
  await watch.now();
}

// -- the list ----------------------------------------------------------------------------------------------

function belongsTo(dataset: Dataset, wanted: Group): boolean {
  if (wanted === "") return true;
  if (wanted === "available") return dataset.status === "available";
  if (wanted === "public") return dataset.visibility === "public" && dataset.status !== "available";
  return dataset.visibility !== "public";
}

/** Own ones first, then shared ones, then presets to fetch; among themselves as the server has them, newest first. */
function listShown(): Dataset[] {
  const words = search.value.trim().toLowerCase();
  const rank = (dataset: Dataset): number => (belongsTo(dataset, "own") ? 0 : belongsTo(dataset, "public") ? 1 : 2);
  return datasets
    .filter((dataset) => belongsTo(dataset, group))
    .filter((dataset) => `${dataset.name} ${describeDataset(dataset)}`.toLowerCase().includes(words))
    .sort((a, b) => rank(a) - rank(b));
}

function draw(): void {
  drawFilters();
  const shown = listShown();
  const key = JSON.stringify([group, search.value, shown, Math.floor(Date.now() / 60000)]);
  replaceChildrenIfChanged(get("#datasets"), key, () => [
    shown.length ? buildDatasetTable(shown, () => void watch.now()) : buildNothing(),
  ]);
}

function drawFilters(): void {
  const names: Record<Group, string> = {
    "": t("全部", "All"),
    own: t("我的", "Mine"),
    public: t("公共", "Shared"),
    available: t("待下载的预置", "Presets to fetch"),
  };
  const counts = GROUPS.map((one) => datasets.filter((dataset) => belongsTo(dataset, one)).length);
  replaceChildrenIfChanged(get("#dataset-filters"), JSON.stringify([group, counts]), () =>
    GROUPS.map((one, place) =>
      element(
        "button",
        { class: "chip", type: "button", "aria-pressed": String(one === group), onclick: () => choose(one) },
        `${names[one]} (${counts[place]})`,
      ),
    ),
  );
}

function choose(other: Group): void {
  group = other;
  history.replaceState(null, "", group ? `/data?show=${group}` : "/data");
  draw();
}

function buildNothing(): HTMLElement {
  const texts: Record<Group, string> = {
    "": t("还没有数据集。把文件拖到上面，或从 Hub 导入。", "No datasets yet. Drop a file above, or import one from a hub."),
    own: t("您还没有数据集。把文件拖到上面，或从 Hub 导入。", "You have no dataset yet. Drop a file above, or import one from a hub."),
    public: t("还没有公共数据集，管理员可以把数据集设为公共。", "No shared dataset yet; an administrator can share one with all."),
    available: t("预置数据集都已下载。", "Every preset has been fetched."),
  };
  const text = search.value ? t("没有符合条件的数据集。", "No dataset matches.") : texts[group];
  return element("div", { class: "card empty" }, icon(search.value ? "search" : "data"), element("p", {}, text));
}

onPause(search, draw);
watchDropZone(get("#drop-zone"), (files) => void uploads.add(files));
new ImportDialog<Dataset>(
  { prefix: "import", opener: "#import", path: "/datasets", hasSplits: true },
  (dataset) => {
    notify(t(`已开始导入“${dataset.name}”。`, `“${dataset.name}” is being imported.`), "good");
    choose("");
    void watch.now();
  },
);
uploads.load().catch(notifyError);
