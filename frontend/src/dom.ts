// Building and finding elements; text always goes in as text, never as HTML.
export type Child = Node | string | number | null | undefined | false;
type Attributes = Record<string, string | number | boolean | EventListener | null | undefined>;

/** Make an element: `class`, `data-…` and other attributes as named, `onclick` and the like as listeners. */
export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(name.replace(/^on/, ""), value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false).map(asNode));
  return made;
}

function asNode(child: Exclude<Child, null | undefined | false>): Node | string {
  return typeof child === "number" ? String(child) : child;
}

/** One of the symbols of templates/_icons.html. */
export function icon(name: string): SVGSVGElement {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(namespace, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** The element that the page's template must hold. */
export function get<Kind extends Element = HTMLElement>(selector: string, root: ParentNode = document): Kind {
  const found = root.querySelector<Kind>(selector);
  if (!found) throw new Error(`The page lacks ${selector}`);
  return found;
}

/** Bring a list up to date: only what changed is replaced, so that focus and scrolling stay. */
export function replaceChildrenIfChanged(parent: Element, key: string, build: () => Node[]): void {
  if (parent.getAttribute("data-shown") === key) return;
  parent.setAttribute("data-shown", key);
  parent.replaceChildren(...build());
}

const PAUSE_MS = 250;

/** Do something once a person has stopped typing in a search field. */
export function onPause(input: HTMLInputElement, act: () => void): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(act, PAUSE_MS);
  });
}
