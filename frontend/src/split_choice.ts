// The choice of a subset and a split of a hub's dataset, asked before anything is fetched.
import { call } from "./api";
import { element, get } from "./dom";
import { formatBytes, formatNumber } from "./format";
import { t } from "./language";

interface Split {
  name: string;
  file_count: number;
  size_bytes: number;
  example_count: number | null;
}

interface Contents {
  subsets: { name: string; is_default: boolean; splits: Split[] }[];
}

export interface HubReference {
  hub: string;
  repo_id: string;
  revision?: string;
}

export class SplitChoice {
  private readonly field: HTMLElement;
  private readonly select: HTMLSelectElement;
  /** The repository whose splits the field shows. */
  private shown = "";
  private choices: { subset: string; split: string }[] = [];

  constructor(form: HTMLElement) {
    this.field = get("[data-splits]", form);
    this.select = get<HTMLSelectElement>("#split", form);
  }

  /** What is chosen of this repository; null when a person has to choose first. Without a choice to make, nothing. */
  async ask(reference: HubReference): Promise<{ subset?: string; split?: string } | null> {
    const key = JSON.stringify(reference);
    if (this.shown === key) return this.choices.length > 1 ? (this.choices[Number(this.select.value)] ?? null) : {};
    this.forget();
    const revision = reference.revision ? `?revision=${encodeURIComponent(reference.revision)}` : "";
    const repository = reference.repo_id.split("/").map(encodeURIComponent).join("/");
    const contents = await call<Contents>("GET", `/hubs/${reference.hub}/datasets/${repository}/subsets${revision}`);
    this.draw(contents);
    this.shown = key;
    if (this.choices.length < 2) return {};
    this.select.focus();
    return null;
  }

  /** Another repository is named: what was listed does not count any more. */
  forget(): void {
    this.shown = "";
    this.choices = [];
    this.field.hidden = true;
  }

  private draw(contents: Contents): void {
    const options: HTMLOptionElement[] = [];
    for (const subset of contents.subsets) {
      for (const split of subset.splits) {
        const isUsual = split.name === "train" && (subset.is_default || contents.subsets[0] === subset);
        options.push(element("option", { value: options.length, selected: isUsual }, describe(subset.name, split)));
        this.choices.push({ subset: subset.name, split: split.name });
      }
    }
    this.select.replaceChildren(...options);
    this.field.hidden = this.choices.length < 2;
  }
}

function describe(subset: string, split: Split): string {
  const name = subset === "default" ? split.name : `${subset} / ${split.name}`;
  const rows = split.example_count === null ? "" : t(`${formatNumber(split.example_count)} 条，`, `${formatNumber(split.example_count)} rows, `);
  return `${name} (${rows}${formatBytes(split.size_bytes)})`;
}
