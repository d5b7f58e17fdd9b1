// The dialog that brings in a dataset or a model from a hub, or from a path that an administrator allows.
import { ApiError, call, explain, newIdempotencyKey } from "./api";
import { get } from "./dom";
import { clearFaults, showFaults } from "./faults";
import { language } from "./language";
import { runWithButton } from "./notices";
import { type HubReference, SplitChoice } from "./split_choice";

interface Setup {
  /** Begins its ids: `<prefix>-dialog`, `-form`, `-cancel`, `-error`. */
  prefix: string;
  /** The button that opens it. */
  opener: string;
  /** Where it is sent, such as `/datasets`. */
  path: string;
  /** Whether a repository may have parts of which one is chosen. */
  hasSplits?: boolean;
}

export class ImportDialog<Made> {
  private readonly dialog: HTMLDialogElement;
  private readonly form: HTMLFormElement;
  private readonly source: HTMLSelectElement;
  private readonly splits: SplitChoice;
  /** The same wish, sent again after an answer that was lost, makes one thing. */
  private wish: { body: string; key: string } | null = null;

  constructor(
    private readonly setup: Setup,
    private readonly onMade: (made: Made) => void,
  ) {
    this.dialog = get<HTMLDialogElement>(`#${setup.prefix}-dialog`);
    this.form = get<HTMLFormElement>(`#${setup.prefix}-form`);
    this.source = get<HTMLSelectElement>("#source", this.form);
    this.splits = new SplitChoice(this.form);
    if (language === "zh") this.source.value = "modelscope";
    get(setup.opener).addEventListener("click", () => this.dialog.showModal());
    get(`#${setup.prefix}-cancel`).addEventListener("click", () => this.dialog.close());
    this.source.addEventListener("change", () => this.drawSource());
    for (const field of ["#source", "#repo_id", "#revision"]) {
      get(field, this.form).addEventListener("input", () => this.splits.forget());
    }
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
    try {
      const wanted = await this.buildBody();
      if (wanted === null) return;
      const body = JSON.stringify(wanted);
      if (this.wish?.body !== body) this.wish = { body, key: newIdempotencyKey() };
      const made = await call<Made>("POST", this.setup.path, { body: wanted, idempotencyKey: this.wish.key });
      this.wish = null;
      this.dialog.close();
      for (const input of this.form.querySelectorAll("input")) input.value = "";
      this.splits.forget();
      this.onMade(made);
    } catch (refused) {
      // The dialog lies above the page's notices: what is wrong stands in it.
      if (refused instanceof ApiError && showFaults(this.form, refused)) return;
      error.textContent = explain(refused);
      error.hidden = false;
    }
  }

  /** What is to be sent; null when something has to be chosen first. */
  private async buildBody(): Promise<Record<string, unknown> | null> {
    const name = this.read("#name");
    const named = name ? { name } : {};
    if (this.source.value === "path") return { ...named, path: this.read("#path") };
    const hub: HubReference = { hub: this.source.value, repo_id: this.read("#repo_id") };
    const revision = this.read("#revision");
    if (revision) hub.revision = revision;
    if (!this.setup.hasSplits || !hub.repo_id) return { ...named, hub };
    const chosen = await this.splits.ask(hub);
    return chosen && { ...named, hub: { ...hub, ...chosen } };
  }

  private read(selector: string): string {
    return get<HTMLInputElement>(selector, this.form).value.trim();
  }
}
