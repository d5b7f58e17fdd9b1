// The language of the page, as the server rendered it.
export type Language = "zh" | "en";

export const language: Language = document.documentElement.lang.startsWith("zh") ? "zh" : "en";

/** Both languages stand side by side, here as in the templates. */
export function t(zh: string, en: string): string {
  return language === "zh" ? zh : en;
}
