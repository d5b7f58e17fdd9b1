/** A job's log as lines: pieces come by byte offset, perhaps twice; progress bars collapse to how they last stood. */

export interface LogPiece {
  /** Byte offset of the piece's first byte. */
  offset: number;
  text: string;
  /** Byte offset after its last byte. */
  next: number;
}

/** What a terminal would show of a line with carriage returns: the last state that was not blank. */
export function foldCarriageReturns(line: string): string {
  if (!line.includes("\r")) return line;
  const states = line.split("\r");
  for (let place = states.length - 1; place >= 0; place--) {
    const state = states[place]!;
    if (state.trim() !== "") return state;
  }
  return "";
}

const ESCAPES = /\u001b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)|[@-_])/g;
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f]/g;

/** The line as people read it: bars collapsed, colours and other control sequences taken out. */
export function cleanLine(raw: string): string {
  return foldCarriageReturns(raw.replace(ESCAPES, "")).replace(CONTROLS, "").trimEnd();
}

/** What must be kept of an unfinished line: its last state, and before one that is still blank the one it will replace. */
function shortenOpenLine(raw: string): string {
  const begin = raw.lastIndexOf("\r");
  if (begin < 0) return raw;
  const last = raw.slice(begin + 1);
  return last.trim() === "" ? `${foldCarriageReturns(raw)}\r${last}` : last;
}

/**
 * The part of a log that was loaded, without a gap: bytes `start` up to `next`.
 *
 * `lines` are whole lines; `openLine` is the last one, which has no line feed yet.
 */
export class LogBuffer {
  readonly lines: string[] = [];
  start: number;
  next: number;
  private open = "";

  /** Begin at a byte offset at which a line begins. */
  constructor(start = 0) {
    this.start = start;
    this.next = start;
  }

  get openLine(): string {
    return cleanLine(this.open);
  }

  /**
   * Take a piece and return how it went: "added", "known" when all of it was here already, or "gap" when bytes
   * between `next` and the piece are missing and must be fetched first.
   */
  append(piece: LogPiece): "added" | "known" | "gap" {
    if (piece.next <= this.next) return "known";
    if (piece.offset > this.next) return "gap";
    let text = piece.text;
    if (piece.offset < this.next) {
      const bytes = new TextEncoder().encode(text);
      // Broken bytes became replacement characters of another length: then no cut is safe.
      if (bytes.length !== piece.next - piece.offset) return "gap";
      text = new TextDecoder().decode(bytes.subarray(this.next - piece.offset));
    }
    this.take(text);
    this.next = piece.next;
    return "added";
  }

  private take(text: string): void {
    const parts = (this.open + text).split("\n");
    this.open = shortenOpenLine(parts.pop()!);
    for (const part of parts) this.lines.push(cleanLine(part));
  }

  /** Put earlier text in front; it begins and ends between lines, and `start` is its byte offset. */
  prepend(text: string, start: number): number {
    const parts = text.split("\n");
    if (parts[parts.length - 1] === "") parts.pop();
    this.lines.unshift(...parts.map(cleanLine));
    this.start = start;
    return parts.length;
  }
}

/**
 * Cut `bytes`, which begin at byte `offset` of the log, to where a line begins.
 *
 * Returns null when there is no line feed in them, so that more must be asked for. The log's own beginning needs no cut.
 */
export function cutToLine(bytes: Uint8Array, offset: number): { text: string; start: number } | null {
  let begin = 0;
  if (offset > 0) {
    const feed = bytes.indexOf(10);
    if (feed < 0 || feed === bytes.length - 1) return null;
    begin = feed + 1;
  }
  return { text: new TextDecoder().decode(bytes.subarray(begin)), start: offset + begin };
}

/** How loud a line is: LLaMA-Factory, transformers and Python say it in these ways. */
export function findLevel(line: string): "error" | "warning" | "" {
  if (/^(Traceback|[A-Za-z_.]*(Error|Exception|Interrupt)\b)|\[ERROR\b|\bERROR\b|out of memory/.test(line))
    return "error";
  if (/\[WARNING\b|\bWARNING\b|Warning:/.test(line)) return "warning";
  return "";
}

/** Indexes of the lines that hold `wanted`, whatever its case. */
export function findMatches(lines: readonly string[], wanted: string): number[] {
  const needle = wanted.toLowerCase();
  if (needle === "") return [];
  const found: number[] = [];
  lines.forEach((line, index) => {
    if (line.toLowerCase().includes(needle)) found.push(index);
  });
  return found;
}
