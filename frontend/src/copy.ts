// Copying to the clipboard, also where a page served without https may not use it directly.
import { element } from "./dom";
import { t } from "./language";
import { notify } from "./notices";

export async function copyText(text: string): Promise<void> {
  const copied = navigator.clipboard ? await tryClipboard(text) : copyBySelection(text);
  if (copied) notify(t("已复制。", "Copied."), "good");
  else notify(t("浏览器不允许复制，请手动选中后复制。", "The browser does not allow copying; select the text and copy it."), "bad");
}

async function tryClipboard(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

function copyBySelection(text: string): boolean {
  const area = element("textarea", { class: "visually-hidden", readonly: true });
  area.value = text;
  document.body.append(area);
  area.select();
  const copied = document.execCommand("copy");
  area.remove();
  return copied;
}
