// What was used in the last 30 days: device time a day as a chart, and a table by user, device or tier.
import { type Money, callAll, callFirst } from "../api";
import { type Child, element, get, replaceChildrenIfChanged } from "../dom";
import { formatMoney, formatNumber } from "../format";
import { type Tier, nameTier } from "../jobs";
import { t } from "../language";
import { Chart } from "../live/chart";
import { type Poll, poll } from "../poll";
import { buildTable } from "../table";

const DAYS = 30;
const DAY_SECONDS = 86_400;
const PAGE_SIZE = 20;

interface Amount {
  device_seconds: number;
  cost: Money;
  jobs: number;
  attempts: number;
}

interface Usage extends Amount {
  id: string;
  name: string;
  running: Amount;
}

type GroupBy = "user" | "gpu_kind" | "tier";

export function startUsage(isShown: () => boolean): Poll {
  let groupBy: GroupBy = "user";
  let wanted = PAGE_SIZE;
  let chart: Chart | null = null;

  const watch = poll(20, async () => {
    if (!isShown()) return;
    const today = Math.floor(Date.now() / 1000 / DAY_SECONDS) * DAY_SECONDS;
    const first = today - (DAYS - 1) * DAY_SECONDS;
    const query = new URLSearchParams({ group_by: groupBy, created_after: new Date(first * 1000).toISOString() });
    const [days, groups] = await Promise.all([
      callAll<Usage>(`/admin/usage?group_by=day&created_after=${query.get("created_after")!}`),
      callFirst<Usage>("/admin/usage", query, wanted),
    ]);
    get("#usage-total").replaceChildren(...describeTotal(days));
    get("#usage-chart").hidden = days.length === 0;
    if (days.length) {
      chart ??= buildChart();
      chart.setData(buildColumns(days, first));
    }
    replaceChildrenIfChanged(get("#usage-groups"), groupBy, () => buildGroupButtons(groupBy, choose));
    const key = JSON.stringify([groupBy, groups.rows]);
    replaceChildrenIfChanged(get("#usage-table"), key, () => [groups.rows.length ? buildUsage(groupBy, groups.rows) : buildNothing()]);
    get("#more-usage").hidden = !groups.hasMore;
  });

  function choose(chosen: GroupBy): void {
    groupBy = chosen;
    wanted = PAGE_SIZE;
    void watch.now();
  }

  get("#more-usage").addEventListener("click", () => {
    wanted += PAGE_SIZE;
    void watch.now();
  });
  return watch;
}

function buildGroupButtons(chosen: GroupBy, choose: (group: GroupBy) => void): HTMLElement[] {
  const names: Record<GroupBy, string> = { user: t("按用户", "By user"), gpu_kind: t("按设备", "By device"), tier: t("按价格档", "By tier") };
  return (Object.keys(names) as GroupBy[]).map((group) =>
    element("button", { class: "chip", type: "button", "aria-pressed": String(group === chosen), onclick: () => choose(group) }, names[group]),
  );
}

function describeTotal(days: Usage[]): HTMLElement[] {
  const seconds = days.reduce((sum, day) => sum + day.device_seconds, 0);
  const amount = days.reduce((sum, day) => sum + Number(day.cost.amount), 0);
  const currency = days[0]?.cost.currency;
  const cost = currency ? formatMoney({ currency, amount: String(amount) }) : "";
  return [
    element("strong", { class: "number" }, describeHours(seconds)),
    element("span", { class: "faint number" }, cost),
  ];
}

// -- the chart ---------------------------------------------------------------------------------------------

function buildChart(): Chart {
  return new Chart(get(".chart-place", get("#usage-chart")), {
    lines: [{ label: t("卡时", "device hours"), colour: "--chart-1", bars: true }],
    x: "day",
    height: 200,
    range: [0, null],
    formatValue: formatHours,
  });
}

/** Every day of the span, those without use as 0; times are seconds at the day's beginning in UTC. */
function buildColumns(days: Usage[], first: number): [number[], number[]] {
  const hours = new Map(days.map((day) => [day.id, day.device_seconds / 3600]));
  const moments = Array.from({ length: DAYS }, (_, place) => first + place * DAY_SECONDS);
  return [moments, moments.map((moment) => hours.get(new Date(moment * 1000).toISOString().slice(0, 10)) ?? 0)];
}

function describeHours(seconds: number): string {
  const hours = formatHours(seconds / 3600);
  return t(`${hours} 卡时`, `${hours} device hours`);
}

function formatHours(hours: number): string {
  return formatNumber(hours, hours < 1 ? 3 : hours < 100 ? 1 : 0);
}

// -- the table ---------------------------------------------------------------------------------------------

function buildNothing(): HTMLElement {
  return element("p", { class: "card empty" }, t("最近 30 天没有任务使用过设备。", "No job has used a device in the last 30 days."));
}

function buildUsage(groupBy: GroupBy, rows: Usage[]): HTMLElement {
  const first = { user: t("用户", "User"), gpu_kind: t("设备", "Device"), tier: t("价格档", "Tier") }[groupBy];
  const heads = [first, t("用量", "Used"), t("费用", "Cost"), t("任务", "Jobs"), t("运行次数", "Attempts"), t("运行中", "Running")];
  return buildTable(heads, rows.map((row) => buildRow(groupBy, row)));
}

function buildRow(groupBy: GroupBy, row: Usage): Child[][] {
  const { running } = row;
  return [
    [groupBy === "tier" ? nameTier(row.id as Tier) : row.name],
    [element("span", { class: "number" }, describeHours(row.device_seconds))],
    [element("span", { class: "number" }, formatMoney(row.cost))],
    [formatNumber(row.jobs)],
    [formatNumber(row.attempts)],
    running.attempts ? [element("span", { class: "badge info" }, String(running.attempts)), " ", element("span", { class: "faint" }, describeRunning(running))] : [],
  ];
}

function describeRunning(running: Amount): string {
  const soFar = `${describeHours(running.device_seconds)} · ${formatMoney(running.cost)}`;
  return t(`已计入 ${soFar}`, `counted so far: ${soFar}`);
}
