// The dialog that brings in a dataset or a model from a hub, or from a path that an administrator allows.
import { ApiError, call, explain, newIdempotencyKey } from "./api";
import { get } from "./dom";
import { clearFaults, showFaults } from "./faults";
import { language } from "./language";
import { runWithButton } from "./notices";

interface Setup {
  /** Begins its ids: `<prefix>-dialog`, `-form`, `-cancel`, `-error`. */
  prefix: string;
  /** The button that opens it. */
  opener: string;
  /** Where it is sent, such as `/datasets`. */
  path: string;
}

export class ImportDialog<Made> {
  private readonly dialog: HTMLDialogElement;
  private readonly form: HTMLFormElement;
  private readonly source: HTMLSelectElement;
  /** The same wish, sent again after an answer that was lost, makes one thing. */
  private wish: { body: string; key: string } | null = null;

  constructor(
    private readonly setup: Setup,
    private readonly onMade: (made: Made) => void,
  ) {
    this.dialog = get<HTMLDialogElement>(`#${setup.prefix}-dialog`);
    this.form = get<HTMLFormElement>(`#${setup.prefix}-form`);
    this.source = get<HTMLSelectElement>("#source", this.form);
    if (language === "zh") this.source.value = "modelscope";
    get(setup.opener).addEventListener("click", () => this.dialog.showModal());
    get(`#${setup.prefix}-cancel`).addEventListener("click", () => this.dialog.close());
    this.source.addEventListener("change", () => this.drawSource());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void runWithButton(get<HTMLButtonElement>("[type=submit]", this.form), () => this.send());
    });
  }

  private drawSource(): void {
    const isPath = this.source.value === "path";
    get('[data-source="path"]', this.form).hidden = !isPath;
    get('[data-source="hub"]', this.form).hidden = isPath;
  }

  private async send(): Promise<void> {
    const error = get(`#${this.setup.prefix}-error`);
    clearFaults(this.form);
    error.hidden = true;
    const body = JSON.stringify(this.buildBody());
    if (this.wish?.body !== body) this.wish = { body, key: newIdempotencyKey() };
    try {
      const made = await call<Made>("POST", this.setup.path, { body: this.buildBody(), idempotencyKey: this.wish.key });
      this.wish = null;
      this.dialog.close();
      for (const input of this.form.querySelectorAll("input")) input.value = "";
      this.onMade(made);
    } catch (refused) {
      // The dialog lies above the page's notices: what is wrong stands in it.
      if (refused instanceof ApiError && showFaults(this.form, refused)) return;
      error.textContent = explain(refused);
      error.hidden = false;
    }
  }

  private buildBody(): Record<string, unknown> {
    const name = this.read("#name");
    const named = name ? { name } : {};
    if (this.source.value === "path") return { ...named, path: this.read("#path") };
    const hub: Record<string, string> = { hub: this.source.value, repo_id: this.read("#repo_id") };
    const revision = this.read("#revision");
    if (revision) hub["revision"] = revision;
    return { ...named, hub };
  }

  private read(selector: string): string {
    return get<HTMLInputElement>(selector, this.form).value.trim();
  }
}
