/** The charts of a job: drawn from its metric points as they come, and from samples of its devices. */
import { call } from "../api";
import { element, get } from "../dom";
import { formatBytes, formatNumber } from "../format";
import { type Job, isFinished } from "../jobs";
import { t } from "../language";
import { Chart, type ChartSetup, formatFigure } from "../live/chart";
import { type MetricName, type PointStore, smooth } from "../live/points";

interface DeviceSample {
  at: string;
  device: string;
  utilization: number | null;
  memory_used_bytes: number | null;
  power_watts: number | null;
}

const DEVICE_SECONDS = 10;
/** From so many points on a curve is smoothed at first; the raw one stays, faintly. */
const SMOOTH_FROM = 60;
/** Powers of two, from one KiB to 16 TiB. */
const BYTE_STEPS = Array.from({ length: 35 }, (_, power) => 2 ** (power + 10));
const COLOURS = ["--chart-1", "--chart-2", "--chart-3", "--chart-4"];

export class JobTracking {
  private readonly charts = new Map<string, Chart>();
  private readonly smoothing = get<HTMLInputElement>("[data-smoothing]");
  private smoothingChosen = false;
  private visible = false;
  private points: PointStore | null = null;
  private job: Job | null = null;
  private devices = "";

  constructor() {
    this.smoothing.addEventListener("input", () => {
      this.smoothingChosen = true;
      this.drawPoints();
    });
    setInterval(() => {
      if (this.visible && !document.hidden && this.job && !isFinished(this.job)) void this.loadDevices();
    }, DEVICE_SECONDS * 1000);
  }

  draw(job: Job): void {
    const becameFinished = this.job !== null && !isFinished(this.job) && isFinished(job);
    this.job = job;
    this.drawSwanlab(job);
    this.drawEmpty();
    if (becameFinished && this.visible) void this.loadDevices();
  }

  /** The panel is seen: charts get their width only now. */
  show(visible: boolean): void {
    this.visible = visible;
    if (!visible) return;
    this.drawPoints();
    void this.loadDevices();
  }

  setPoints(points: PointStore): void {
    this.points = points;
    if (this.visible) this.drawPoints();
  }

  // -- SwanLab -----------------------------------------------------------------------------------------------

  private drawSwanlab(job: Job): void {
    const { mode, url } = job.tracking;
    const link = get<HTMLAnchorElement>("[data-swanlab-link]");
    link.hidden = url === null;
    if (url !== null) link.href = safeUrl(url);
    get("[data-swanlab]").hidden = job.kind !== "train";
    get("[data-swanlab-text]").textContent = this.describeTracking(mode, url);
  }

  private describeTracking(mode: Job["tracking"]["mode"], url: string | null): string {
    if (mode === "off") return t("这个任务没有使用 SwanLab 跟踪。", "This job is not tracked by SwanLab.");
    if (url === null)
      return t("任务开始训练后，可在 SwanLab 中跟踪。", "Once training starts, it can be followed in SwanLab.");
    if (mode === "cloud") return t("请进入 SwanLab 进行训练跟踪。", "Follow this run in SwanLab.");
    if (mode === "offline")
      return t(
        "SwanLab 暂时连不上，记录已保存在本机。",
        "SwanLab could not be reached; the records are kept on this platform.",
      );
    return t(
      "SwanLab 在本机记录了这次训练，无需联网即可查看。",
      "SwanLab recorded this run here; its dashboard needs no internet.",
    );
  }

  // -- charts of points --------------------------------------------------------------------------------------

  private drawPoints(): void {
    const { points } = this;
    if (!this.visible || !points?.size) {
      this.drawEmpty();
      return;
    }
    this.drawEmpty();
    this.drawLoss(points);
    this.drawMetric(points, "learning_rate", "--chart-3");
    this.drawMetric(points, "grad_norm", "--chart-4");
    this.drawMetric(
      points,
      "tokens_per_second",
      "--chart-2",
      (value) => formatNumber(value, 0),
      t("词元/秒", "tokens/s"),
    );
  }

  private drawLoss(points: PointStore): void {
    const [steps, losses, evalLosses] = points.buildSeries(["loss", "eval_loss"]) as [
      number[],
      (number | null)[],
      (number | null)[],
    ];
    if (!steps.length) return;
    if (!this.smoothingChosen) this.smoothing.value = steps.length >= SMOOTH_FROM ? "0.6" : "0";
    const weight = Number(this.smoothing.value);
    get("[data-smoothing-field]").hidden = steps.length < 5;
    get("[data-smoothing-value]").textContent = weight.toFixed(2);
    const chart = this.getChart("loss", {
      lines: [
        { label: "loss", colour: "--chart-1" },
        { label: t("平滑", "smoothed"), colour: "--chart-1", width: 2 },
        { label: "eval_loss", colour: "--chart-5", width: 2, showPoints: true },
      ],
    });
    chart.setData([steps, losses, weight > 0 ? smooth(losses, weight) : losses, evalLosses]);
    chart.setOpacity(0, weight > 0 ? 0.35 : 1);
    chart.showLine(1, weight > 0);
    chart.showLine(
      2,
      evalLosses.some((value) => value !== null),
    );
    const last = points.findLast("loss");
    const lastEval = points.findLast("eval_loss");
    this.setLast(
      "loss",
      [last ? formatFigure(last.loss!) : "", lastEval ? `eval ${formatFigure(lastEval.eval_loss!)}` : ""]
        .filter(Boolean)
        .join(" · "),
    );
  }

  private drawMetric(points: PointStore, name: MetricName, colour: string, format = formatFigure, unit = ""): void {
    const [steps, values] = points.buildSeries([name]) as [number[], (number | null)[]];
    if (!steps.length) return;
    this.getChart(name, { lines: [{ label: name, colour }], formatValue: format }).setData([steps, values]);
    this.setLast(name, `${format(values.at(-1) ?? NaN)} ${unit}`.trim());
  }

  private getChart(name: string, setup: Partial<ChartSetup> & Pick<ChartSetup, "lines">): Chart {
    const figure = get(`[data-chart="${name}"]`);
    figure.hidden = false;
    let chart = this.charts.get(name);
    if (!chart) {
      chart = new Chart(get(".chart-place", figure), { x: "step", ...setup });
      this.charts.set(name, chart);
    }
    return chart;
  }

  private setLast(name: string, text: string): void {
    get("[data-chart-last]", get(`[data-chart="${name}"]`)).textContent = text;
  }

  private drawEmpty(): void {
    const empty = !this.points?.size && this.devices === "";
    get("[data-charts-empty]").hidden = !empty;
    get("[data-charts]").hidden = empty;
    if (!empty || !this.job) return;
    const text =
      this.job.kind === "evaluate"
        ? t("评估任务没有训练曲线；结果见“结果”页签。", "An evaluation has no curves; its figures are under Results.")
        : isFinished(this.job)
          ? t("这个任务没有留下任何指标。", "This job left no metrics.")
          : t(
              "训练开始并记录第一个指标后，曲线会出现在这里。",
              "The curves appear here with the first metric of the training.",
            );
    get("[data-charts-empty-text]").textContent = text;
  }

  // -- charts of devices -------------------------------------------------------------------------------------

  private async loadDevices(): Promise<void> {
    if (!this.job) return;
    try {
      const { points } = await call<{ points: DeviceSample[] }>("GET", `/jobs/${this.job.id}/metrics/gpu`);
      this.drawDevices("utilization", points, (sample) => sample.utilization, {
        formatValue: (value) => `${formatNumber(value, 0)}%`,
        range: [0, 100],
      });
      this.drawDevices("memory", points, (sample) => sample.memory_used_bytes, {
        formatValue: formatBytes,
        steps: BYTE_STEPS,
        range: [0, null],
      });
      this.drawEmpty();
    } catch (error) {
      // The next look comes in a few seconds.
      console.warn(error);
    }
  }

  private drawDevices(
    name: string,
    samples: DeviceSample[],
    read: (sample: DeviceSample) => number | null,
    setup: Required<Pick<ChartSetup, "formatValue">> & Partial<ChartSetup>,
  ): void {
    const measured = samples.filter((sample) => read(sample) !== null);
    if (!measured.length || !this.visible) return;
    const devices = [...new Set(measured.map((sample) => sample.device))];
    const times = [...new Set(measured.map((sample) => sample.at))];
    const place = new Map(times.map((at, index) => [at, index]));
    const columns = devices.map(() => times.map((): number | null => null));
    for (const sample of measured) columns[devices.indexOf(sample.device)]![place.get(sample.at)!] = read(sample);
    // A resumed job may run on other devices: the chart is then built anew.
    const drawn = `${name}:${devices.join()}`;
    if (this.devices && !this.devices.includes(drawn)) this.dropChart(name);
    this.devices += drawn;
    const lines = devices.map((device, index) => ({
      label: shortenDevice(device, index),
      colour: COLOURS[index % COLOURS.length]!,
    }));
    this.getChart(name, { ...setup, lines, x: "time" }).setData([
      times.map((at) => new Date(at).getTime() / 1000),
      ...columns,
    ]);
    const newest = columns
      .map((column) => column.findLast((value) => value !== null) ?? null)
      .filter((value) => value !== null);
    this.setLast(name, newest.map(setup.formatValue).join(" · "));
  }

  private dropChart(name: string): void {
    this.charts.delete(name);
    get(`[data-chart="${name}"] .chart-place`).replaceWith(element("div", { class: "chart-place" }));
  }
}

function shortenDevice(uuid: string, index: number): string {
  return uuid.length > 12 ? `GPU ${index}` : uuid;
}

/** Only addresses that a browser opens as a page: the link came from a training run. */
function safeUrl(url: string): string {
  return /^https?:\/\//.test(url) || /^\/(?!\/)/.test(url) ? url : "#";
}
