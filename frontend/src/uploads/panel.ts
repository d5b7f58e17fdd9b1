// The uploads of a page: what is on its way, and what was interrupted and goes on once its file is chosen again.
import { call, callAll, explain, newIdempotencyKey } from "../api";
import { element, get, icon } from "../dom";
import { formatBytes, formatDuration, formatPercent } from "../format";
import { t } from "../language";
import { ask, notify, notifyError, runWithButton } from "../notices";
import { buildBar } from "../work";
import { Transfer, type Upload } from "./transfer";
import { wire } from "./wire";

/** More at once would leave the browser no connection for the rest of the page. */
const MOST_AT_ONCE = 2;

interface Purpose {
  purpose: "dataset" | "file";
  /** Where in the files space; asked when a file is added. */
  folder?: () => string;
  /** What a whole upload becomes. */
  onComplete: (upload: Upload) => Promise<void>;
}

interface Entry {
  upload: Upload;
  /** None: begun in another page, its file must be chosen again. */
  transfer: Transfer | null;
  row: HTMLElement;
}

export class UploadPanel {
  private readonly entries = new Map<string, Entry>();
  private readonly chooser = element("input", { type: "file", hidden: true, "data-continue-input": true });

  constructor(
    private readonly place: HTMLElement,
    private readonly setup: Purpose,
  ) {
    place.after(this.chooser);
    this.chooser.addEventListener("change", () => {
      const files = [...(this.chooser.files ?? [])];
      this.chooser.value = "";
      void this.add(files);
    });
    window.addEventListener("beforeunload", (event) => {
      if ([...this.entries.values()].some((entry) => isMoving(entry))) event.preventDefault();
    });
  }

  /** Find what earlier pages left unfinished. */
  async load(): Promise<void> {
    const uploads = await callAll<Upload>("/uploads");
    for (const upload of uploads) {
      if (upload.purpose !== this.setup.purpose || this.entries.has(upload.id)) continue;
      // A whole file lies in its folder already.
      if (upload.purpose === "file" && upload.status === "complete") continue;
      this.enter(upload, null);
    }
  }

  /** Send files; one that was begun before, by name and size, goes on where the server has it. */
  async add(files: File[]): Promise<void> {
    for (const file of files) {
      try {
        const entry = this.findInterrupted(file) ?? this.enter(await this.begin(file), null);
        entry.transfer = new Transfer(entry.upload, file, wire, () => this.draw(entry));
        this.draw(entry);
      } catch (error) {
        notify(`${file.name}${t("：", ": ")}${explain(error)}`, "bad");
      }
    }
    this.next();
  }

  private findInterrupted(file: File): Entry | undefined {
    return [...this.entries.values()].find(
      ({ transfer, upload }) => !transfer && upload.file_name === file.name && upload.size_bytes === file.size,
    );
  }

  private begin(file: File): Promise<Upload> {
    const folder = this.setup.folder?.();
    const body = { file_name: file.name, size_bytes: file.size, purpose: this.setup.purpose, ...(folder ? { folder } : {}) };
    return call<Upload>("POST", "/uploads", { body, idempotencyKey: newIdempotencyKey() });
  }

  private enter(upload: Upload, transfer: Transfer | null): Entry {
    const entry = { upload, transfer, row: element("li", { class: "upload", "data-upload": upload.id }) };
    this.entries.set(upload.id, entry);
    this.place.append(entry.row);
    this.draw(entry);
    return entry;
  }

  private next(): void {
    const entries = [...this.entries.values()];
    const running = entries.filter((entry) => isMoving(entry)).length;
    const waiting = entries.filter((entry) => entry.transfer?.state === "waiting");
    for (const entry of waiting.slice(0, Math.max(0, MOST_AT_ONCE - running))) void this.run(entry);
  }

  private async run(entry: Entry): Promise<void> {
    await entry.transfer!.run();
    entry.upload = entry.transfer!.upload;
    if (entry.transfer!.state === "complete") await this.finish(entry.upload.id);
    this.next();
  }

  private async finish(id: string): Promise<void> {
    const entry = this.entries.get(id)!;
    try {
      await this.setup.onComplete(entry.upload);
      this.remove(entry);
    } catch (error) {
      notifyError(error);
      this.draw(entry);
    }
  }

  private remove(entry: Entry): void {
    this.entries.delete(entry.upload.id);
    entry.row.remove();
    this.place.hidden = this.entries.size === 0;
  }

  private async discard(entry: Entry): Promise<void> {
    const agreed = await ask({
      title: t(`放弃上传“${entry.upload.file_name}”？`, `Give up uploading “${entry.upload.file_name}”?`),
      text: t("已上传的部分会被删除。", "What has been uploaded of it is deleted."),
      confirm: t("放弃上传", "Give up"),
      dangerous: true,
    });
    if (!agreed) return;
    entry.transfer?.pause();
    await call("DELETE", `/uploads/${encodeURIComponent(entry.upload.id)}`);
    this.remove(entry);
  }

  // -- drawing ---------------------------------------------------------------------------------------------

  private draw(entry: Entry): void {
    this.place.hidden = false;
    const { upload, transfer, row } = entry;
    const state = transfer?.state ?? (upload.status === "complete" ? "unused" : "interrupted");
    if (row.dataset["state"] !== state) {
      row.dataset["state"] = state;
      row.replaceChildren(
        element("div", { class: "upload-name" }, icon("file"), element("strong", { class: "clip" }, upload.file_name)),
        element("div", { class: "upload-actions" }, ...this.buildActions(entry, state)),
        element("div", { class: "upload-bar" }),
        element("p", { class: state === "failed" ? "field-error" : "faint number", "data-upload-text": true }),
      );
    }
    const bytes = transfer?.bytes ?? upload.received_bytes;
    const look = state === "failed" ? "failed" : state === "complete" || state === "unused" ? "succeeded" : "";
    get(".upload-bar", row).replaceChildren(buildBar(upload.size_bytes ? bytes / upload.size_bytes : 1, upload.file_name, look));
    get("[data-upload-text]", row).textContent = describe(entry, state, bytes);
  }

  private buildActions(entry: Entry, state: string): HTMLElement[] {
    const buttons: HTMLElement[] = [];
    if (state === "sending" || state === "retrying")
      buttons.push(buildButton("pause", t("暂停", "Pause"), async () => entry.transfer?.pause()));
    if (state === "paused" || state === "failed")
      buttons.push(buildButton("play", t("继续", "Go on"), async () => void this.run(entry)));
    if (state === "interrupted")
      buttons.push(buildButton("play", t("选择文件以继续", "Choose the file to go on"), async () => this.chooser.click()));
    if (state === "complete") buttons.push(buildButton("refresh", t("再试一次", "Try again"), () => this.finish(entry.upload.id)));
    // All of it had come, only its page was closed before it was used.
    if (state === "unused") buttons.push(buildButton("play", t("导入", "Import"), () => this.finish(entry.upload.id)));
    buttons.push(buildButton("close", t("放弃", "Give up"), () => this.discard(entry)));
    return buttons;
  }
}

function isMoving(entry: Entry): boolean {
  return entry.transfer?.state === "sending" || entry.transfer?.state === "retrying";
}

function buildButton(symbol: string, text: string, act: () => Promise<unknown>): HTMLElement {
  const button: HTMLButtonElement = element(
    "button",
    { class: "button small quiet", type: "button", onclick: () => void runWithButton(button, async () => void (await act())) },
    icon(symbol),
    text,
  );
  return button;
}

function describe(entry: Entry, state: string, bytes: number): string {
  const { upload, transfer } = entry;
  const part = upload.size_bytes ? bytes / upload.size_bytes : 1;
  const sizes = `${formatBytes(bytes)} / ${formatBytes(upload.size_bytes)} · ${formatPercent(Math.floor(part * 100) / 100)}`;
  if (state === "sending") {
    const speed = transfer?.bytesPerSecond;
    if (!speed) return sizes;
    const left = formatDuration((upload.size_bytes - bytes) / speed);
    return `${sizes} · ${formatBytes(speed)}/s · ${t(`剩余 ${left}`, `${left} left`)}`;
  }
  const texts: Record<string, string> = {
    waiting: t("等待前面的文件", "waiting for the files before it"),
    retrying: t("暂时连不上服务器，恢复后自动继续", "the server cannot be reached; it goes on by itself"),
    paused: t("已暂停", "paused"),
    failed: explain(transfer?.error),
    interrupted: t("上次没有传完；重新选择同一个文件，从断点继续", "interrupted; choose the same file again and it goes on from there"),
    complete: t("已传完", "all uploaded"),
    unused: t("已传完，尚未使用", "all uploaded, not used yet"),
  };
  return state === "failed" ? texts["failed"]! : `${sizes} · ${texts[state] ?? ""}`;
}
