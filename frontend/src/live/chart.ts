/** One chart of a page: uPlot in the page's colours, as wide as its place, with the values under the pointer. */
import uPlot from "uplot";

import { formatSetting } from "../format";
import { language, t } from "../language";

export interface Line {
  label: string;
  /** Name of a colour of the style sheet, such as `--chart-1`. */
  colour: string;
  width?: number;
  dashed?: boolean;
  /** Bars instead of a line. */
  bars?: boolean;
  showPoints?: boolean;
}

export interface ChartSetup {
  lines: Line[];
  /** `day`: seconds at the beginning of days in UTC. */
  x: "step" | "time" | "day";
  height?: number;
  /** How values read at the axis and in the legend. */
  formatValue?: (value: number) => string;
  /** Fixed ends of the value axis; without an upper one it is as high as the values. */
  range?: [number, number | null];
  /** Distances that lines of the value axis may have. */
  steps?: number[];
}

const DAY_STEPS = [1, 2, 5, 7, 10, 15].map((days) => days * 86_400);
const FONT = "11px system-ui, sans-serif";

/** Figures that matter: 0.0000493 → "4.93e-5", 2.71828 → "2.718". */
export function formatFigure(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  return formatSetting(Number(value.toPrecision(4)));
}

export class Chart {
  private readonly plot: uPlot;
  private readonly height: number;

  constructor(
    host: HTMLElement,
    private readonly setup: ChartSetup,
  ) {
    this.height = setup.height ?? 220;
    const empty = [[], ...setup.lines.map(() => [])] as unknown as uPlot.AlignedData;
    this.plot = new uPlot(this.buildOptions(host), empty, host);
    new ResizeObserver(() => this.fit(host)).observe(host);
  }

  /** `data` is x and one column for each line. */
  setData(data: (number | null)[][]): void {
    this.plot.setData(data as uPlot.AlignedData);
  }

  /** Make a line faint (0 to 1), so that another stands out. */
  setOpacity(index: number, opacity: number): void {
    this.plot.series[index + 1]!.alpha = opacity;
    this.plot.redraw(false);
  }

  /** Draw a line, or leave it out. */
  showLine(index: number, show: boolean): void {
    if (this.plot.series[index + 1]?.show !== show) this.plot.setSeries(index + 1, { show });
  }

  private fit(host: HTMLElement): void {
    const width = Math.floor(host.clientWidth);
    if (width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: this.height });
  }

  private buildOptions(host: HTMLElement): uPlot.Options {
    const format = this.setup.formatValue ?? formatFigure;
    const axis = {
      stroke: readColour("--chart-axis"),
      font: FONT,
      grid: { stroke: readColour("--chart-grid"), width: 1 },
      ticks: { show: false },
    };
    return {
      width: Math.max(200, Math.floor(host.clientWidth)),
      height: this.height,
      padding: [10, 12, 0, 0],
      scales: {
        x: { time: this.setup.x !== "step", range: this.setup.x === "day" ? widenByHalfADay : widenPoint },
        y: this.setup.range
          ? { range: (_, __, most) => [this.setup.range![0], this.setup.range![1] ?? 1.1 * (most ?? 1)] }
          : {},
      },
      axes: [
        {
          ...axis,
          size: 28,
          gap: 6,
          ...(this.setup.x === "time"
            ? { space: 84, values: (_: uPlot, ticks: number[]) => ticks.map(formatClock) }
            : {}),
          ...(this.setup.x === "day"
            ? { space: 56, incrs: DAY_STEPS, values: (_: uPlot, ticks: number[]) => ticks.map(formatDay) }
            : {}),
        },
        {
          ...axis,
          size: 58,
          gap: 6,
          values: (_, ticks) => ticks.map(format),
          ...(this.setup.steps ? { incrs: this.setup.steps } : {}),
        },
      ],
      cursor: { drag: { x: true, y: false }, points: { size: 7 } },
      legend: { live: true },
      series: [
        this.buildMoment(),
        ...this.setup.lines.map((line) => this.buildSeries(line, format)),
      ],
      ...(this.setup.x === "day" ? { tzDate: (seconds: number) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC") } : {}),
    };
  }

  private buildMoment(): uPlot.Series {
    const show = this.setup.x === "day" ? formatDay : formatClock;
    return this.setup.x === "step"
          ? {
              label: t("步", "step"),
              value: (plot, step, _, index) => String(index === null ? (plot.data[0].at(-1) ?? "–") : step),
            }
          : {
              label: this.setup.x === "day" ? t("日期（UTC）", "day (UTC)") : t("时间", "time"),
              value: (plot, time, _, index) => show(index === null ? (plot.data[0].at(-1) ?? null) : time),
            };
  }

  private buildSeries(line: Line, format: (value: number) => string): uPlot.Series {
    const colour = readColour(line.colour);
    return {
      label: line.label,
      stroke: colour,
      width: line.width ?? 1.75,
      dash: line.dashed ? [6, 4] : undefined,
      spanGaps: true,
      ...(line.bars ? { paths: uPlot.paths.bars!({ size: [0.7, 36], radius: 0.15 }), fill: colour, width: 0 } : {}),
      points: line.bars ? { show: false } : line.showPoints ? { show: true, size: 6, fill: colour } : {},
      // While nothing is pointed at, the newest value is shown.
      value: (plot, value, place, index) => {
        const shown = index === null ? findNewest(plot.data[place]) : value;
        return shown === null || shown === undefined ? "–" : format(shown);
      },
    };
  }
}

/** One single point gets room around it instead of a range of years. */
function widenPoint(_: uPlot, least: number | null, most: number | null): uPlot.Range.MinMax {
  if (least === null || most === null) return [null, null];
  return least === most ? [least - 30, most + 30] : [least, most];
}

/** Bars stand in the middle of their day. */
function widenByHalfADay(_: uPlot, least: number | null, most: number | null): uPlot.Range.MinMax {
  return least === null || most === null ? [null, null] : [least - 43_200, most + 43_200];
}

function findNewest(values: uPlot.AlignedData[number] | undefined): number | null {
  return Array.from(values ?? []).findLast((value) => value !== null && value !== undefined) ?? null;
}

function formatClock(seconds: number | null): string {
  return seconds === null ? "–" : new Date(seconds * 1000).toLocaleTimeString(undefined, { hour12: false });
}

function formatDay(seconds: number | null): string {
  if (seconds === null) return "–";
  const [locale, month] = language === "zh" ? (["zh-CN", "numeric"] as const) : (["en-GB", "short"] as const);
  return new Date(seconds * 1000).toLocaleDateString(locale, { day: "numeric", month, timeZone: "UTC" });
}

function readColour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim() || "#6b7280";
}
