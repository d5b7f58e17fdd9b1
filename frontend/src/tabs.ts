/** Tabs of a page: one panel at a time, remembered in the address, moved by arrow keys. */
export class Tabs {
  private readonly tabs = [...document.querySelectorAll<HTMLElement>('[role="tab"]')];

  constructor(private readonly onShow: (name: string) => void) {
    for (const tab of this.tabs) {
      tab.addEventListener("click", () => this.show(nameOf(tab), true));
      tab.addEventListener("keydown", (event) => this.move(event, tab));
    }
    window.addEventListener("hashchange", () => this.showFromAddress());
  }

  showFromAddress(): void {
    const wanted = location.hash.slice(1);
    this.show(this.tabs.some((tab) => nameOf(tab) === wanted) ? wanted : nameOf(this.tabs[0]!), false);
  }

  show(name: string, remember: boolean): void {
    for (const tab of this.tabs) {
      const chosen = nameOf(tab) === name;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
      // On a phone the row of tabs scrolls; `nearest` leaves the page where it is.
      if (chosen) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
      const panel = document.getElementById(tab.getAttribute("aria-controls") ?? "");
      if (panel) panel.hidden = !chosen;
    }
    if (remember) history.replaceState(null, "", `#${name}`);
    this.onShow(name);
  }

  private move(event: KeyboardEvent, tab: HTMLElement): void {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (!step) return;
    const next = this.tabs[(this.tabs.indexOf(tab) + step + this.tabs.length) % this.tabs.length]!;
    next.focus();
    this.show(nameOf(next), true);
  }
}

function nameOf(tab: HTMLElement): string {
  return tab.dataset["tab"] ?? "";
}
