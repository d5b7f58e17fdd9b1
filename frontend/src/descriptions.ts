// What models and datasets have in common: a description in both languages, and what they are made of.
import { element } from "./dom";
import { formatNumber } from "./format";
import { language, t } from "./language";

export type Bilingual = string | { zh?: string; en?: string } | null | undefined;

export function readDescription(description: Bilingual): string {
  if (typeof description === "string") return description;
  return description?.[language] ?? description?.en ?? "";
}

export function nameModality(modality: string): string {
  const names: Record<string, string> = {
    text: t("文本", "text"),
    image: t("图片", "images"),
    video: t("视频", "video"),
    audio: t("音频", "audio"),
  };
  return names[modality] ?? modality;
}

export function buildModalities(modalities: string[]): HTMLElement[] {
  return modalities.map((modality) => element("span", { class: "badge" }, nameModality(modality)));
}

/** 1180000 → "1.2 M". */
export function formatCount(count: number): string {
  if (count >= 1e9) return `${formatNumber(count / 1e9, 1)} B`;
  if (count >= 1e6) return `${formatNumber(count / 1e6, 1)} M`;
  return formatNumber(count, 0);
}
