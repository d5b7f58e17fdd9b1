/** The log of one job as far as it was loaded: its tail by REST, what follows by the stream, earlier parts when asked. */
import { request } from "../api";
import { LogBuffer, type LogPiece, cutToLine } from "./log_lines";

const TAIL_BYTES = 128 * 1024;
const LARGEST_PIECE = 8 * 1024 * 1024;

export class LogFeed {
  buffer = new LogBuffer();
  private wantedNext = 0;
  private filling: Promise<void> | null = null;

  constructor(
    private readonly jobId: string,
    private readonly onChange: () => void,
  ) {}

  /** Load the end of the log, beginning between lines; afterwards `buffer.next` is where the stream goes on. */
  async loadTail(): Promise<void> {
    const size = Number((await this.fetch(0, 1)).headers.get("X-Log-Size") ?? 0);
    for (let wanted = TAIL_BYTES; ; wanted *= 4) {
      const offset = Math.max(0, size - wanted);
      const found = await this.fetchPiece(offset, Math.min(LARGEST_PIECE, size - offset));
      const cut = cutToLine(found.bytes, offset);
      if (cut === null && wanted < LARGEST_PIECE) continue;
      this.buffer = new LogBuffer(cut?.start ?? found.next);
      if (cut) this.buffer.append({ offset: cut.start, text: cut.text, next: found.next });
      this.onChange();
      return;
    }
  }

  /** Load more in front of what is here; returns how many lines came. */
  async loadEarlier(): Promise<number> {
    const end = this.buffer.start;
    for (let wanted = TAIL_BYTES; this.buffer.start > 0; wanted *= 4) {
      const offset = Math.max(0, end - wanted);
      const found = await this.fetchPiece(offset, Math.min(LARGEST_PIECE, end - offset));
      const cut = cutToLine(found.bytes, offset);
      if (cut === null && wanted < LARGEST_PIECE) continue;
      if (this.buffer.start !== end) return 0;
      const added = cut ? this.buffer.prepend(cut.text, cut.start) : this.buffer.prepend("", offset);
      this.onChange();
      return added;
    }
    return 0;
  }

  /** Take a piece of the stream; bytes that are missing before it are fetched. */
  take(piece: LogPiece): void {
    this.wantedNext = Math.max(this.wantedNext, piece.next);
    const outcome = this.buffer.append(piece);
    if (outcome === "added") this.onChange();
    if (outcome === "gap") this.filling ??= this.fillGap().finally(() => (this.filling = null));
  }

  private async fillGap(): Promise<void> {
    while (this.buffer.next < this.wantedNext) {
      const offset = this.buffer.next;
      const found = await this.fetchPiece(offset, LARGEST_PIECE);
      if (found.next === offset) return;
      this.buffer.append({ offset, text: new TextDecoder().decode(found.bytes), next: found.next });
      this.onChange();
    }
  }

  /** The whole log, as a file to keep. */
  async download(): Promise<Blob> {
    const pieces: Uint8Array<ArrayBuffer>[] = [];
    for (let offset = 0; ;) {
      const found = await this.fetchPiece(offset, LARGEST_PIECE);
      if (found.next === offset) break;
      pieces.push(found.bytes);
      offset = found.next;
    }
    return new Blob(pieces, { type: "text/plain;charset=utf-8" });
  }

  private async fetchPiece(offset: number, limit: number): Promise<{ bytes: Uint8Array<ArrayBuffer>; next: number }> {
    if (limit <= 0) return { bytes: new Uint8Array(), next: offset };
    const answer = await this.fetch(offset, limit);
    const bytes = new Uint8Array(await answer.arrayBuffer());
    return { bytes, next: Number(answer.headers.get("X-Log-Next-Offset") ?? offset) };
  }

  private fetch(offset: number, limit: number): Promise<Response> {
    return request("GET", `/jobs/${this.jobId}/logs?offset=${offset}&limit=${limit}`);
  }
}
