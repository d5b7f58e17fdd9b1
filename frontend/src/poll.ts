// Looking again every few seconds, only while somebody sees the page.
import { ApiError, explain } from "./api";
import { element } from "./dom";
import { t } from "./language";

export interface Poll {
  /** Look now, for example after something was changed. */
  now(): Promise<void>;
}

/** Call `look` at once and then every `seconds`; while it fails, a line at the top says so, and it goes on. */
export function poll(seconds: number, look: () => Promise<void>): Poll {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let looking: Promise<void> | undefined;

  async function lookOnce(): Promise<void> {
    clearTimeout(timer);
    try {
      await look();
      showTrouble(null);
    } catch (error) {
      showTrouble(error);
    }
    looking = undefined;
    if (document.visibilityState === "visible") timer = setTimeout(now, seconds * 1000);
  }

  async function now(): Promise<void> {
    // One look at a time; who asks during one wants what comes after it.
    await looking;
    looking ??= lookOnce();
    await looking;
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.visibilityState === "visible") void now();
  });
  void now();
  return { now };
}

function showTrouble(error: unknown): void {
  const shown = document.querySelector(".trouble");
  if (!error) {
    shown?.remove();
    return;
  }
  if (shown) return;
  const text = error instanceof ApiError ? sayItGoesOn() : explain(error);
  document.querySelector(".content")?.prepend(element("p", { class: "banner warning trouble", role: "status" }, text));
}

function sayItGoesOn(): string {
  return t("暂时连不上服务器，正在重试；恢复后页面会自动更新。", "Cannot reach the server; retrying. This page updates by itself once it is back.");
}
