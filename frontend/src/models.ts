// Base models as the REST interface shows them, and what their statuses are called.
import { type WorkError } from "./datasets";
import { type Bilingual } from "./descriptions";
import { element } from "./dom";
import { t } from "./language";
import { type Work } from "./work";

export type ModelStatus = "available" | "downloading" | "paused" | "failed" | "ready" | "missing";

export interface BaseModel {
  id: string;
  name: string;
  source: string;
  path: string;
  architecture: string;
  parameters: number;
  modalities: string[];
  template: string;
  size_bytes: number;
  status: ModelStatus;
  description: Bilingual;
  licence?: string | null;
  visibility?: "public" | "private";
  owner?: string | null;
  progress?: Work | null;
  error?: WorkError | null;
  created_at: string;
}

export function nameModelStatus(status: ModelStatus): string {
  const names: Record<ModelStatus, string> = {
    available: t("未下载", "Not fetched"),
    downloading: t("下载中", "Downloading"),
    paused: t("已暂停", "Paused"),
    failed: t("下载失败", "Download failed"),
    ready: t("可用", "Ready"),
    missing: t("文件缺失", "Files missing"),
  };
  return names[status] ?? status;
}

export function modelBadge(model: Pick<BaseModel, "status">): HTMLElement {
  const looks: Record<ModelStatus, string> = {
    available: "",
    downloading: "running",
    paused: "warning",
    failed: "bad",
    ready: "good",
    missing: "warning",
  };
  const look = looks[model.status] ?? "";
  return element("span", { class: `badge status ${look}`, "data-status": model.status }, nameModelStatus(model.status));
}
