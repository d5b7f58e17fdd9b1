// How long a dataset's rows are by the tokenizer of a model that is here, and what a cutoff would take off.
import { call, explain } from "../api";
import type { Dataset } from "../datasets";
import { element, get } from "../dom";
import type { Cut, LengthSource } from "../estimate";
import { listModels } from "../forms/catalogue";
import { formatNumber } from "../format";
import { t } from "../language";
import { runWithButton } from "../notices";
import { type Work, buildWorkLine } from "../work";
import type { Tokens } from "./report";
import { buildDistribution } from "./statistics";

interface Profile {
  row_count: number;
  counted: number;
  /** One row of so many was counted. */
  step: number;
  /** Rows of which LLaMA-Factory may make a few tokens more or less. */
  inexact: number;
  tokens: Tokens;
}

interface ProfileAnswer extends LengthSource {
  code: string;
  progress: Work | null;
  profile: Profile | null;
  cut: Cut | null;
}

const FIRST_WAIT_MS = 1000;
const LAST_WAIT_MS = 10_000;
const TYPING_MS = 300;

export class ProfileCard {
  private readonly root = get("[data-profile]");
  private readonly model = get<HTMLSelectElement>("#profile-model");
  private readonly cutoff = get<HTMLInputElement>("#profile-cutoff");
  private readonly result = get("[data-profile-result]");
  private timer: ReturnType<typeof setTimeout> | undefined;
  private waitMs = FIRST_WAIT_MS;
  /** Answers that come after another question are passed over. */
  private question = 0;

  constructor(private readonly url: string) {
    this.model.addEventListener("change", () => this.ask(true));
    this.cutoff.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.ask(false), TYPING_MS);
    });
  }

  /** Offer the models that are here and read all that the dataset holds. */
  async setDataset(dataset: Dataset): Promise<void> {
    this.root.hidden = dataset.status !== "ready";
    if (this.root.hidden) return;
    const able = (await listModels()).filter(
      (model) => model.status === "ready" && dataset.modalities.every((kind) => model.modalities.includes(kind)),
    );
    const chosen = this.model.value;
    const options = able.map((model) => element("option", { value: model.id }, model.name));
    this.model.replaceChildren(this.model.options[0]!, ...options);
    this.model.value = able.some((model) => model.id === chosen) ? chosen : "";
    this.ask(false);
  }

  /** Ask how it stands; `count` has it counted too, unless that was done or failed. */
  private ask(count: boolean): void {
    clearTimeout(this.timer);
    this.waitMs = FIRST_WAIT_MS;
    if (!this.model.value) {
      this.result.replaceChildren();
      return;
    }
    void this.look(count);
  }

  private async look(count: boolean): Promise<void> {
    const question = ++this.question;
    const model = this.model.value;
    const cutoff = this.cutoff.checkValidity() ? Number(this.cutoff.value) || 2048 : 2048;
    try {
      const query = new URLSearchParams({ model, cutoff_len: String(cutoff) });
      let answer = await call<ProfileAnswer>("GET", `${this.url}/profile?${query}`);
      if (count && answer.code === "not_counted") answer = await this.start(model, cutoff);
      if (question !== this.question) return;
      this.draw(answer, model, cutoff);
    } catch (error) {
      if (question === this.question) this.result.replaceChildren(element("p", { class: "bad" }, explain(error)));
    }
  }

  private start(model: string, cutoff: number): Promise<ProfileAnswer> {
    return call<ProfileAnswer>("POST", `${this.url}/profile`, { body: { model, cutoff_len: cutoff } });
  }

  private draw(answer: ProfileAnswer, model: string, cutoff: number): void {
    if (answer.profile) this.result.replaceChildren(...buildResult(answer, answer.profile));
    else if (answer.status === "counting") this.result.replaceChildren(buildWorkLine(answer.progress));
    else this.result.replaceChildren(...this.buildStart(answer, model, cutoff));
    if (answer.status === "counting") this.lookLater();
  }

  private lookLater(): void {
    this.timer = setTimeout(() => {
      if (document.hidden) this.lookLater();
      else void this.look(false);
    }, this.waitMs);
    this.waitMs = Math.min(LAST_WAIT_MS, this.waitMs * 1.4);
  }

  private buildStart(answer: ProfileAnswer, model: string, cutoff: number): HTMLElement[] {
    const text = element("p", { class: "soft" }, t(answer.detail_zh, answer.detail));
    if (answer.code !== "not_counted" && answer.code !== "failed") return [text];
    const button: HTMLButtonElement = element(
      "button",
      {
        class: "button small",
        type: "button",
        onclick: () =>
          void runWithButton(button, async () => {
            this.waitMs = FIRST_WAIT_MS;
            this.draw(await this.start(model, cutoff), model, cutoff);
          }),
      },
      answer.code === "failed" ? t("重试", "Try again") : t("统计", "Count"),
    );
    return [text, button];
  }
}

function buildResult(answer: ProfileAnswer, profile: Profile): HTMLElement[] {
  if (!profile.counted) return [element("p", { class: "soft" }, t("没有可用于训练的数据，无法统计。", "No row can be used, so there is nothing to count."))];
  const chart = buildDistribution(t("每条的词元数", "Tokens of a row"), profile.tokens, t("词元", "tokens"));
  chart.classList.remove("card");
  return [chart, buildCut(answer, profile), ...buildNotes(profile)];
}

function buildCut(answer: ProfileAnswer, profile: Profile): HTMLElement {
  const { cutoff_len: cutoff, rows, tokens } = answer.cut!;
  const limit = formatNumber(cutoff);
  const about = profile.step > 1 ? t("约 ", "about ") : "";
  const text = rows
    ? t(
        `超过 ${limit} 个词元的数据：${about}${formatNumber(rows)} 条，训练时共会截掉 ${about}${formatNumber(tokens)} 个词元。`,
        `Rows longer than ${limit} tokens: ${about}${formatNumber(rows)}; ${about}${formatNumber(tokens)} tokens in all would be cut off.`,
      )
    : t(`没有超过 ${limit} 个词元的数据，不会截断。`, `No row is longer than ${limit} tokens: nothing is cut off.`);
  return element("p", { "data-profile-cut": true }, text);
}

function buildNotes(profile: Profile): HTMLElement[] {
  const notes = [
    profile.step > 1
      ? t(
          `数据较多，均匀抽取了 ${formatNumber(profile.counted)} 条统计（共 ${formatNumber(profile.row_count)} 条）。`,
          `There is much data: ${formatNumber(profile.counted)} rows, spread evenly over ${formatNumber(profile.row_count)}, were counted.`,
        )
      : "",
    profile.inexact
      ? t(
          `其中 ${formatNumber(profile.inexact)} 条含该模型特有的媒体或工具格式，长度为近似值。`,
          `Of these, ${formatNumber(profile.inexact)} hold media or tools in a form of this model's own; their lengths are approximate.`,
        )
      : "",
  ].filter(Boolean);
  return notes.map((note) => element("p", { class: "faint" }, note));
}
