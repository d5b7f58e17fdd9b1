// A table that becomes a list of cards on a phone: there, each cell carries its column's name.
import { type Child, element } from "./dom";

type Content = Child[];

/** `rows` hold for every column what stands in its cell. */
export function buildTable(heads: string[], rows: Content[][]): HTMLElement {
  return element(
    "div",
    { class: "card table-card" },
    element(
      "table",
      { class: "table stacking" },
      element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))),
      element("tbody", {}, ...rows.map((cells) => element("tr", {}, ...cells.map((content, place) => buildCell(heads[place] ?? "", content))))),
    ),
  );
}

function buildCell(head: string, content: Content): HTMLElement {
  return element("td", { "data-label": head || null }, element("div", {}, ...content));
}
