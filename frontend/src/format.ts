// Numbers, times and money as people read them, in the page's language.
import type { Money } from "./api";
import { language, t } from "./language";

const locale = language === "zh" ? "zh-CN" : "en-GB";

/** 3725 → "1 小时 2 分" / "1 h 2 min"; seconds only below an hour. */
export function formatDuration(seconds: number | null | undefined): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "–";
  const whole = Math.max(0, Math.round(seconds));
  if (whole === 0 && seconds > 0) return t("不到 1 秒", "under 1 s");
  const [days, hours] = [Math.floor(whole / 86400), Math.floor((whole % 86400) / 3600)];
  const [minutes, rest] = [Math.floor((whole % 3600) / 60), whole % 60];
  if (days) return t(`${days} 天 ${hours} 小时`, `${days} d ${hours} h`);
  if (hours) return t(`${hours} 小时 ${minutes} 分`, `${hours} h ${minutes} min`);
  if (minutes) return t(`${minutes} 分 ${rest} 秒`, `${minutes} min ${rest} s`);
  return t(`${rest} 秒`, `${rest} s`);
}

const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** 1536 → "1.5 KiB". */
export function formatBytes(bytes: number | null | undefined): string {
  if (bytes === null || bytes === undefined) return "–";
  let [value, unit] = [bytes, 0];
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${formatNumber(value, value >= 100 || unit === 0 ? 0 : 1)} ${units[unit]}`;
}

export function formatNumber(value: number, maximumFractionDigits = 2): string {
  return new Intl.NumberFormat(locale, { maximumFractionDigits }).format(value);
}

/** Very small and very large values keep their figures: 0.00005 → "5e-5". */
export function formatSetting(value: number): string {
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e7)) return value.toExponential().replace("e+", "e");
  return String(value);
}

/** Four decimals are kept below one unit, two above. */
export function formatMoney(money: Money | null | undefined): string {
  if (!money) return "–";
  const amount = Number(money.amount);
  const digits = amount !== 0 && Math.abs(amount) < 1 ? 4 : 2;
  return new Intl.NumberFormat(locale, {
    style: "currency",
    currency: money.currency,
    currencyDisplay: "narrowSymbol",
    minimumFractionDigits: 2,
    maximumFractionDigits: digits,
  }).format(amount);
}

/** What of a balance people want to know: what is left of what was paid in, else what was used so far. */
export function describeBalance(balance: Money): { label: string; amount: Money } {
  const amount = Number(balance.amount);
  if (amount > 0) return { label: t("余额", "Balance"), amount: balance };
  return { label: t("已用", "Used so far"), amount: { currency: balance.currency, amount: balance.amount.replace(/^-/, "") } };
}

export function formatPercent(fraction: number, digits = 0): string {
  return `${formatNumber(fraction * 100, digits)}%`;
}

/** The moment in the reader's own time zone. */
export function formatTime(iso: string | null | undefined): string {
  if (!iso) return "–";
  return new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "medium", hour12: false }).format(new Date(iso));
}

/** "3 分钟前" / "3 minutes ago" for the last week, the date before that. */
export function formatAgo(iso: string | null | undefined, now = Date.now()): string {
  if (!iso) return "–";
  const seconds = (new Date(iso).getTime() - now) / 1000;
  const relative = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
  if (Math.abs(seconds) < 45) return t("刚刚", "just now");
  if (Math.abs(seconds) < 3600) return relative.format(Math.round(seconds / 60), "minute");
  if (Math.abs(seconds) < 86400) return relative.format(Math.round(seconds / 3600), "hour");
  if (Math.abs(seconds) < 7 * 86400) return relative.format(Math.round(seconds / 86400), "day");
  return new Intl.DateTimeFormat(locale, { dateStyle: "medium" }).format(new Date(iso));
}

/** Seconds between two moments; an unfinished one counts until now. */
export function secondsBetween(start: string | null, end: string | null): number | null {
  if (!start) return null;
  return ((end ? new Date(end).getTime() : Date.now()) - new Date(start).getTime()) / 1000;
}
