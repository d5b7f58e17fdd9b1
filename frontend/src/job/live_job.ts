/** One job as the page knows it: kept current by one event stream, and told to whoever shows a part of it. */
import { ApiError, call } from "../api";
import { type Job, type Progress, isFinished } from "../jobs";
import { type Connection, JobStream } from "../live/job_stream";
import { LogFeed } from "../live/log_feed";
import type { LogPiece } from "../live/log_lines";
import { type MetricPoint, PointStore } from "../live/points";

/** A page that nobody sees lets its line go after this long: browsers allow only six to one server. */
const HIDDEN_MS = 30_000;

export interface JobWatcher {
  onJob(job: Job): void;
  onProgress(job: Job): void;
  onPoints(points: PointStore): void;
  onLog(): void;
  onConnection(connection: Connection): void;
  onGone(): void;
}

export class LiveJob {
  readonly points = new PointStore();
  readonly log: LogFeed;
  private stream: JobStream | null = null;
  private hiding: ReturnType<typeof setTimeout> | undefined;

  constructor(
    public job: Job,
    private readonly watcher: JobWatcher,
  ) {
    this.log = new LogFeed(job.id, () => watcher.onLog());
  }

  /** Load the log's end, then follow everything else from the beginning and the log from there. */
  async start(): Promise<void> {
    await this.log.loadTail();
    // The cursor: points since ever, the log from the byte where the loaded tail ends.
    const cursor = `0.-1.${this.log.buffer.next}`;
    this.stream = new JobStream(
      this.job.id,
      {
        onEvent: (name, data) => this.take(name, data),
        onConnection: (connection) => this.watcher.onConnection(connection),
        onRefused: () => this.lookAgain(),
      },
      cursor,
    );
    this.stream.start();
    document.addEventListener("visibilitychange", () => this.noteVisibility());
    window.addEventListener("pagehide", () => this.stream?.pause());
    window.addEventListener("pageshow", () => this.stream?.start());
  }

  private take(name: string, data: unknown): void {
    if (name === "status") {
      this.set(data as Job);
    } else if (name === "progress") {
      this.job = { ...this.job, progress: data as Progress };
      this.watcher.onProgress(this.job);
    } else if (name === "metric") {
      if (this.points.add((data as { points: MetricPoint[] }).points)) this.watcher.onPoints(this.points);
    } else if (name === "log") {
      this.log.take(data as LogPiece);
    }
  }

  /** The page did something to the job: show its answer, and follow a finished job that goes on. */
  set(job: Job): void {
    const wasFinished = isFinished(this.job);
    this.job = job;
    this.watcher.onJob(job);
    if (wasFinished && !isFinished(job)) this.stream?.restart();
  }

  /** The stream was refused: is the job gone, or is the server only away? Returns whether to go on trying. */
  private async lookAgain(): Promise<boolean> {
    try {
      this.set(await call<Job>("GET", `/jobs/${this.job.id}`));
      return true;
    } catch (error) {
      const gone = error instanceof ApiError && error.status === 404;
      if (gone) this.watcher.onGone();
      return !gone;
    }
  }

  private noteVisibility(): void {
    clearTimeout(this.hiding);
    if (document.hidden) this.hiding = setTimeout(() => this.stream?.pause(), HIDDEN_MS);
    else this.stream?.start();
  }
}
