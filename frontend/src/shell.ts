// What every page has: the drawer on small screens, the switch of languages, and signing out.
import { call } from "./api";
import { notifyError } from "./notices";

const drawer = document.querySelector<HTMLElement>(".sidebar");
const toggle = document.querySelector<HTMLButtonElement>(".drawer-toggle");

function setDrawer(open: boolean): void {
  document.body.classList.toggle("drawer-open", open);
  toggle?.setAttribute("aria-expanded", String(open));
}

toggle?.addEventListener("click", () => setDrawer(!document.body.classList.contains("drawer-open")));
document.querySelector(".drawer-shade")?.addEventListener("click", () => setDrawer(false));
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") setDrawer(false);
});
drawer?.addEventListener("click", (event) => {
  if (event.target instanceof Element && event.target.closest("a")) setDrawer(false);
});

// Signed in, the choice is remembered with the account; the link itself serves everyone else.
for (const link of document.querySelectorAll<HTMLAnchorElement>("a[data-language]")) {
  link.addEventListener("click", async (event) => {
    if (!document.querySelector('meta[name="csrf-token"]')) return;
    event.preventDefault();
    try {
      await call("PATCH", "/me", { body: { language: link.dataset["language"] } });
      location.assign(link.href);
    } catch (error) {
      notifyError(error);
    }
  });
}

document.querySelector<HTMLButtonElement>("#sign-out")?.addEventListener("click", async () => {
  const token = document.querySelector<HTMLMetaElement>('meta[name="csrf-token"]')?.content ?? "";
  try {
    // Whatever the answer: without a session the sign-in page is where to go.
    await fetch("/logout", { method: "POST", headers: { "X-CSRF-Token": token } });
    location.assign("/login");
  } catch (error) {
    notifyError(error);
  }
});
