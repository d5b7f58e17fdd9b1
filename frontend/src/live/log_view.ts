/** Shows a log: follows its end while it is at the end, loads earlier parts, and finds text in what is loaded. */
import { element, get } from "../dom";
import { formatBytes } from "../format";
import { t } from "../language";
import { notifyError, runWithButton } from "../notices";
import type { LogFeed } from "./log_feed";
import { findLevel, findMatches } from "./log_lines";

/** Lines kept in the page while following; more are shown when asked for. */
const SHOWN_LINES = 2000;
const EARLIER_LINES = 1000;

export class LogView {
  private readonly scroller = get("[data-log-scroller]");
  private readonly list = get("[data-log-lines]");
  private readonly earlier = get<HTMLButtonElement>("[data-log-earlier]");
  private readonly followBox = get<HTMLInputElement>("[data-log-follow]");
  private readonly search = get<HTMLInputElement>("[data-log-search]");
  private readonly found = get("[data-log-found]");
  private readonly openLine = element("div", { class: "log-line" });
  /** Index in the buffer of the first line that is in the page, and of the first that is not yet. */
  private first = 0;
  private after = 0;
  private matches: number[] = [];
  private match = -1;
  private drawing = 0;

  constructor(
    private readonly feed: LogFeed,
    private readonly jobName: () => string,
  ) {
    this.list.append(this.openLine);
    this.followBox.addEventListener("change", () => this.draw());
    this.scroller.addEventListener("scroll", () => this.noteScroll(), { passive: true });
    this.earlier.addEventListener("click", () => runWithButton(this.earlier, () => this.showEarlier()));
    this.search.addEventListener("input", () => this.find());
    this.search.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.goToMatch(event.shiftKey ? -1 : 1);
    });
    get("[data-log-previous]").addEventListener("click", () => this.goToMatch(-1));
    get("[data-log-next]").addEventListener("click", () => this.goToMatch(1));
    const download = get<HTMLButtonElement>("[data-log-download]");
    download.addEventListener("click", () => runWithButton(download, () => this.download()));
  }

  /** The log was loaded anew: forget what is shown. */
  reset(): void {
    this.first = this.after = Math.max(0, this.feed.buffer.lines.length - SHOWN_LINES);
    this.list.replaceChildren(this.openLine);
    this.draw();
  }

  /** Draw what is new, at most once a frame. */
  schedule(): void {
    this.drawing ||= requestAnimationFrame(() => {
      this.drawing = 0;
      this.draw();
    });
  }

  /** The panel became visible: its end can be scrolled to only now. */
  show(): void {
    this.draw();
  }

  private draw(): void {
    const { lines, openLine } = this.feed.buffer;
    if (this.followBox.checked) this.skipTo(Math.max(this.first, lines.length - SHOWN_LINES));
    const added = document.createDocumentFragment();
    for (; this.after < lines.length; this.after++) added.append(this.buildLine(this.after));
    this.openLine.before(added);
    this.fillLine(this.openLine, openLine);
    this.openLine.hidden = openLine === "";
    this.drawEdges();
    if (this.search.value) this.recount();
    if (this.followBox.checked) this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  /** Leave out lines before `first`: they stay in the buffer. */
  private skipTo(first: number): void {
    while (this.first < first) {
      if (this.first < this.after) this.list.firstElementChild?.remove();
      this.first += 1;
    }
    this.after = Math.max(this.after, this.first);
  }

  private drawEdges(): void {
    const { start, next, lines } = this.feed.buffer;
    this.earlier.hidden = start === 0 && this.first === 0;
    get("[data-log-empty]").hidden = lines.length > 0 || this.openLine.textContent !== "" || start > 0;
    get("[data-log-size]").textContent = formatBytes(next);
  }

  private buildLine(index: number): HTMLElement {
    const line = element("div", { class: "log-line" });
    this.fillLine(line, this.feed.buffer.lines[index]!);
    return line;
  }

  private fillLine(line: HTMLElement, text: string): void {
    line.className = `log-line ${findLevel(text)}`;
    const wanted = this.search.value.toLowerCase();
    const at = wanted ? text.toLowerCase().indexOf(wanted) : -1;
    // A change of case may change the length of rare letters; then the line is not marked inside.
    if (at < 0 || text.length !== text.toLowerCase().length) {
      line.textContent = text;
      return;
    }
    const end = at + wanted.length;
    line.replaceChildren(text.slice(0, at), element("mark", {}, text.slice(at, end)), text.slice(end));
  }

  private noteScroll(): void {
    const fromEnd = this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight;
    if (fromEnd < 8) this.followBox.checked = true;
    else if (fromEnd > 40) this.followBox.checked = false;
  }

  private async showEarlier(): Promise<void> {
    this.followBox.checked = false;
    const heightBefore = this.scroller.scrollHeight;
    if (this.first === 0) {
      const added = await this.feed.loadEarlier();
      this.first += added;
      this.after += added;
    }
    const begin = Math.max(0, this.first - EARLIER_LINES);
    const added = document.createDocumentFragment();
    for (let index = begin; index < this.first; index++) added.append(this.buildLine(index));
    this.first = begin;
    this.list.prepend(added);
    this.drawEdges();
    this.scroller.scrollTop += this.scroller.scrollHeight - heightBefore;
    if (this.search.value) this.recount();
  }

  // -- search ------------------------------------------------------------------------------------------------

  private find(): void {
    for (let index = this.first; index < this.after; index++) {
      this.fillLine(this.list.children[index - this.first] as HTMLElement, this.feed.buffer.lines[index]!);
    }
    this.fillLine(this.openLine, this.feed.buffer.openLine);
    this.match = -1;
    this.recount();
    if (this.search.value) this.goToMatch(-1);
  }

  private recount(): void {
    this.matches = findMatches(this.feed.buffer.lines, this.search.value);
    if (!this.search.value) {
      this.found.textContent = "";
      return;
    }
    const place = this.match >= 0 ? this.matches.indexOf(this.match) + 1 : 0;
    const partly = this.feed.buffer.start > 0 ? t("（仅已加载部分）", " (of what is loaded)") : "";
    this.found.textContent = `${place}/${this.matches.length}${partly}`;
  }

  /** Go to the next match up or down; the first press goes to the last line that matches. */
  private goToMatch(direction: 1 | -1): void {
    if (this.matches.length === 0) return;
    const place = this.matches.indexOf(this.match);
    const next = place < 0 ? this.matches.length - 1 : (place + direction + this.matches.length) % this.matches.length;
    this.match = this.matches[next]!;
    this.followBox.checked = false;
    this.reveal(this.match);
    this.recount();
  }

  private reveal(index: number): void {
    if (index < this.first) {
      const added = document.createDocumentFragment();
      for (let place = index; place < this.first; place++) added.append(this.buildLine(place));
      this.first = index;
      this.list.prepend(added);
    }
    for (const line of this.list.querySelectorAll(".current")) line.classList.remove("current");
    const line = this.list.children[index - this.first];
    line?.classList.add("current");
    line?.scrollIntoView({ block: "center" });
  }

  // -- download ----------------------------------------------------------------------------------------------

  private async download(): Promise<void> {
    try {
      saveFile(await this.feed.download(), `${this.jobName()}.log`);
    } catch (error) {
      notifyError(error);
    }
  }
}

/** Let the browser keep `blob` as a file. */
export function saveFile(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = element("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
