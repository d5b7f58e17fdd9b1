/** Follows one job by server-sent events: resumes by the last id, whatever drops, sleeps or restarts in between. */

export type Connection = "connecting" | "live" | "reconnecting" | "ended";

export interface StreamListener {
  onEvent(name: string, data: unknown): void;
  onConnection(connection: Connection): void;
  /** The server refuses; asks whether to go on trying. */
  onRefused(): Promise<boolean>;
}

/** The part of EventSource that is used here; tests give one of their own. */
export interface Source {
  readyState: number;
  onopen: ((event: Event) => void) | null;
  onerror: ((event: Event) => void) | null;
  addEventListener(name: string, listen: (event: MessageEvent<string>) => void): void;
  close(): void;
}

const EVENTS = ["status", "progress", "metric", "log", "end", "alive"];
const CLOSED = 2;
/** The server speaks at least every 15 s; a line that is silent for longer is dead, though nobody said so. */
const SILENCE_MS = 40_000;
const LONGEST_WAIT_MS = 15_000;

export class JobStream {
  private source: Source | null = null;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private watchdog: ReturnType<typeof setTimeout> | undefined;
  private failures = 0;
  private ended = false;

  /** `cursor` is the id of the last event that was taken in: where to go on. */
  constructor(
    private readonly jobId: string,
    private readonly listener: StreamListener,
    private cursor: string,
    private readonly open: (url: string) => Source = (url) => new EventSource(url) as Source,
  ) {}

  get isEnded(): boolean {
    return this.ended;
  }

  /** Connect, or do nothing when that is done already. */
  start(): void {
    if (this.source || this.ended) return;
    clearTimeout(this.retry);
    this.listener.onConnection(this.failures ? "reconnecting" : "connecting");
    const url = `/api/v1/jobs/${this.jobId}/stream?last_event_id=${encodeURIComponent(this.cursor)}`;
    const source = this.open(url);
    this.source = source;
    source.onopen = () => {
      this.failures = 0;
      this.listener.onConnection("live");
      this.watch();
    };
    source.onerror = () => this.onError(source);
    for (const name of EVENTS) {
      source.addEventListener(name, (event) => {
        if (this.source === source) this.take(name, event);
      });
    }
    this.watch();
  }

  private take(name: string, event: MessageEvent<string>): void {
    this.watch();
    this.listener.onEvent(name, JSON.parse(event.data));
    // Only after it was taken in: an event that broke a listener comes again.
    if (event.lastEventId) this.cursor = event.lastEventId;
    if (name === "end") {
      this.ended = true;
      this.pause();
      this.listener.onConnection("ended");
    }
  }

  private onError(source: Source): void {
    if (this.source !== source) return;
    this.listener.onConnection("reconnecting");
    // A dropped line is mended by the browser itself; a refusal (a proxy's 502, a signed-out session) is not.
    if (source.readyState === CLOSED) void this.comeBack();
  }

  private async comeBack(): Promise<void> {
    this.pause();
    this.failures += 1;
    const wait = Math.min(LONGEST_WAIT_MS, 1000 * 2 ** (this.failures - 1));
    this.retry = setTimeout(() => this.start(), wait);
    if (!(await this.listener.onRefused())) this.stop();
  }

  private watch(): void {
    clearTimeout(this.watchdog);
    this.watchdog = setTimeout(() => {
      this.listener.onConnection("reconnecting");
      this.pause();
      this.failures += 1;
      this.start();
    }, SILENCE_MS);
  }

  /** Disconnect; `start` goes on from here. */
  pause(): void {
    clearTimeout(this.watchdog);
    clearTimeout(this.retry);
    this.source?.close();
    this.source = null;
  }

  private stop(): void {
    this.ended = true;
    this.pause();
  }

  /** A finished job was resumed: follow it again. */
  restart(): void {
    this.ended = false;
    this.start();
  }
}
