// Sending one file in chunks: it pauses, goes on, and survives a server that is away for a while.
import { ApiError } from "../api";

/** An upload as the REST interface shows it. */
export interface Upload {
  id: string;
  file_name: string;
  size_bytes: number;
  received_bytes: number;
  chunk_bytes: number;
  purpose: "dataset" | "file";
  folder: string;
  status: "receiving" | "complete";
  expires_at: string | null;
}

/** `waiting` for its turn, `sending`, `retrying` while the server is away, `paused` by the person, or ended. */
export type TransferState = "waiting" | "sending" | "retrying" | "paused" | "complete" | "failed";

/** How a transfer speaks to the server; tests have one of their own. */
export interface Wire {
  look(id: string): Promise<Upload>;
  send(upload: Upload, offset: number, chunk: Blob, onProgress: (bytes: number) => void, signal: AbortSignal): Promise<Upload>;
  wait(seconds: number, signal: AbortSignal): Promise<void>;
}

const SPEED_WINDOW_MS = 5000;
const LONGEST_WAIT_SECONDS = 15;

export class Transfer {
  state: TransferState = "waiting";
  error: unknown = null;
  private sentBytes: number;
  private control = new AbortController();
  private samples: { at: number; bytes: number }[] = [];

  constructor(
    public upload: Upload,
    private readonly file: Blob,
    private readonly wire: Wire,
    private readonly onChange: () => void,
  ) {
    this.sentBytes = upload.received_bytes;
  }

  /** Bytes that the server has, and those on their way. */
  get bytes(): number {
    return this.sentBytes;
  }

  /** Of the last seconds; null until it can be said. */
  get bytesPerSecond(): number | null {
    const [first, last] = [this.samples[0], this.samples.at(-1)];
    if (this.state !== "sending" || !first || !last || last.at - first.at < 500) return null;
    return ((last.bytes - first.bytes) / (last.at - first.at)) * 1000;
  }

  pause(): void {
    this.control.abort();
    this.change("paused");
  }

  /** Send what is missing; resolves when all is there, it was paused, or it failed for good. */
  async run(): Promise<void> {
    const control = new AbortController();
    this.control = control;
    this.samples = [];
    this.error = null;
    this.change("sending");
    let failures = 0;
    while (this.upload.status !== "complete" && !control.signal.aborted) {
      try {
        await this.sendNext(control.signal);
        failures = 0;
      } catch (error) {
        if (control.signal.aborted) return;
        if (!isPassing(error)) return this.fail(error);
        failures += 1;
        await this.waitForServer(failures, error, control.signal);
      }
    }
    if (this.upload.status === "complete") this.change("complete");
  }

  private async sendNext(signal: AbortSignal): Promise<void> {
    const offset = this.upload.received_bytes;
    const chunk = this.file.slice(offset, offset + this.upload.chunk_bytes);
    this.note(offset);
    const answer = await this.wire.send(this.upload, offset, chunk, (bytes) => this.note(offset + bytes), signal);
    this.upload = { ...this.upload, ...answer };
    this.note(this.upload.received_bytes);
    if (this.state !== "sending" && !signal.aborted) this.change("sending");
  }

  /** Where it goes on is what the server says, not what was sent. */
  private async waitForServer(failures: number, error: unknown, signal: AbortSignal): Promise<void> {
    if (!(error instanceof ApiError && error.code === "offset_mismatch" && failures === 1)) {
      this.change("retrying");
      await this.wire.wait(Math.min(LONGEST_WAIT_SECONDS, 2 ** (failures - 1)), signal);
    }
    try {
      this.upload = { ...this.upload, ...(await this.wire.look(this.upload.id)) };
      this.samples = [];
      this.note(this.upload.received_bytes);
    } catch (next) {
      if (!signal.aborted && !isPassing(next)) this.fail(next);
    }
  }

  private fail(error: unknown): void {
    this.control.abort();
    this.error = error;
    this.change("failed");
  }

  private note(bytes: number): void {
    this.sentBytes = bytes;
    const now = Date.now();
    this.samples = [...this.samples.filter((sample) => now - sample.at < SPEED_WINDOW_MS), { at: now, bytes }];
    this.onChange();
  }

  private change(state: TransferState): void {
    this.state = state;
    this.onChange();
  }
}

/** Trying again can help: the server is away, busy, or has another idea of what came. */
function isPassing(error: unknown): boolean {
  if (!(error instanceof ApiError)) return false;
  return error.status === 0 || error.status === 429 || error.code === "offset_mismatch" || [500, 502, 503, 504].includes(error.status);
}
