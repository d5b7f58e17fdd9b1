/** Every argument there is, in groups that open and close, found by any word of its name or help. */
import { element } from "../dom";
import { language, t } from "../language";
import { ArgumentField } from "./argument_fields";
import type { ArgumentValues } from "./argument_values";
import type { Argument } from "./arguments";

interface Group {
  root: HTMLDetailsElement;
  count: HTMLElement;
  rare: HTMLDetailsElement | null;
  fields: ArgumentField[];
}

export class ExpertFields {
  readonly root: HTMLElement;
  readonly fields: ArgumentField[] = [];
  private readonly groups: Group[] = [];
  private readonly search: HTMLInputElement;
  private readonly onlyChanged: HTMLInputElement;
  private readonly nothing = element(
    "p",
    { class: "soft", hidden: true },
    t("没有匹配的参数。", "No setting matches."),
  );
  private isUsed: (argument: Argument) => boolean = () => true;

  constructor(
    known: readonly Argument[],
    private readonly values: ArgumentValues,
    private readonly onChange: () => void,
  ) {
    this.search = element("input", {
      class: "input",
      type: "search",
      placeholder: t("搜索参数：名称或说明", "Search settings by name or help"),
      "aria-label": t("搜索参数", "Search settings"),
    });
    this.onlyChanged = element("input", { type: "checkbox" });
    this.search.addEventListener("input", () => this.filter());
    this.onlyChanged.addEventListener("change", () => this.filter());
    const places = element("div", { class: "argument-groups" });
    for (const id of new Set(known.map((argument) => argument.group))) {
      const group = this.buildGroup(known.filter((argument) => argument.group === id));
      this.groups.push(group);
      places.append(group.root);
    }
    this.groups[0]?.root.setAttribute("open", "");
    this.root = element(
      "div",
      { class: "expert" },
      element(
        "div",
        { class: "expert-tools" },
        this.search,
        element("label", { class: "check" }, this.onlyChanged, t("只看修改过的", "Only changed")),
      ),
      places,
      this.nothing,
    );
  }

  private buildGroup(members: Argument[]): Group {
    const fields = members.map((argument) => new ArgumentField(argument, this.values, () => this.onChange(), "all"));
    this.fields.push(...fields);
    const usual = fields.filter((field) => field.argument.form);
    const rarely = fields.filter((field) => !field.argument.form);
    const count = element("span", { class: "badge info", hidden: true });
    const rare = rarely.length
      ? element(
          "details",
          { class: "rare" },
          element("summary", {}, t(`更多参数（${rarely.length}）`, `More settings (${rarely.length})`)),
          buildGrid(rarely),
        )
      : null;
    if (rare && !usual.length) rare.open = true;
    const root = element(
      "details",
      { class: "argument-group" },
      element("summary", {}, element("strong", {}, members[0]!.group_label[language]), count),
      usual.length ? buildGrid(usual) : null,
      rare,
    );
    return { root, count, rare, fields };
  }

  /** Show only what acts on the chosen method. */
  setUsed(isUsed: (argument: Argument) => boolean): void {
    this.isUsed = isUsed;
    this.filter();
  }

  draw(): void {
    for (const field of this.fields) field.draw();
    for (const group of this.groups) {
      const changed = group.fields.filter((field) => this.values.isChanged(field.argument.name)).length;
      group.count.hidden = changed === 0;
      group.count.textContent = t(`${changed} 项已修改`, `${changed} changed`);
    }
  }

  /** Open what hides the field and go there. */
  reveal(field: ArgumentField): void {
    this.search.value = "";
    this.onlyChanged.checked = false;
    this.filter();
    for (let place: Element | null = field.root; place; place = place.parentElement) {
      if (place instanceof HTMLDetailsElement) place.open = true;
    }
    field.root.scrollIntoView({ block: "center" });
    field.root.querySelector<HTMLElement>("input, select, textarea")?.focus();
  }

  private filter(): void {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const filtering = words.length > 0 || this.onlyChanged.checked;
    let shown = 0;
    for (const group of this.groups) {
      let inGroup = 0;
      let inRare = 0;
      for (const field of group.fields) {
        const fits =
          this.isUsed(field.argument) &&
          words.every((word) => field.searchText.includes(word)) &&
          (!this.onlyChanged.checked || this.values.isChanged(field.argument.name));
        field.root.hidden = !fits;
        if (!fits) continue;
        inGroup += 1;
        if (!field.argument.form) inRare += 1;
      }
      group.root.hidden = inGroup === 0;
      if (group.rare) group.rare.hidden = inRare === 0;
      if (filtering && inGroup) group.root.open = true;
      if (filtering && inRare && group.rare) group.rare.open = true;
      shown += inGroup;
    }
    this.nothing.hidden = shown > 0;
  }
}

function buildGrid(fields: ArgumentField[]): HTMLElement {
  return element("div", { class: "argument-grid" }, ...fields.map((field) => field.root));
}
