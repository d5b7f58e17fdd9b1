// Short notices at the edge of the page, and questions before something cannot be undone.
import { explain } from "./api";
import { element } from "./dom";
import { t } from "./language";

type Mood = "good" | "bad" | "info";

/** Show a notice; a bad one stays longer, so that it can be read. */
export function notify(text: string, mood: Mood = "info"): void {
  let stack = document.querySelector<HTMLElement>(".toasts");
  if (!stack) {
    stack = element("div", { class: "toasts", role: "status", "aria-live": "polite" });
    document.body.append(stack);
  }
  const toast = element("div", { class: `toast ${mood}` }, text);
  stack.append(toast);
  setTimeout(() => toast.remove(), mood === "bad" ? 9000 : 4000);
}

export function notifyError(error: unknown): void {
  notify(explain(error), "bad");
}

interface Question {
  title: string;
  text: string;
  confirm: string;
  dangerous?: boolean;
}

/** Ask before doing; true when the person agreed. */
export function ask(question: Question): Promise<boolean> {
  return new Promise((resolve) => {
    const dialog = element(
      "dialog",
      { class: "dialog", "aria-label": question.title },
      element(
        "form",
        { method: "dialog" },
        element("h2", {}, question.title),
        element("p", {}, question.text),
        element(
          "div",
          { class: "dialog-actions" },
          element("button", { class: "button", value: "no" }, t("取消", "Cancel")),
          element("button", { class: question.dangerous ? "button danger" : "button primary", value: "yes" }, question.confirm),
        ),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Do what a button stands for: it is off meanwhile, and an error becomes a notice. */
export async function runWithButton(button: HTMLButtonElement, action: () => Promise<void>): Promise<void> {
  if (button.disabled) return;
  button.disabled = true;
  button.classList.add("busy");
  try {
    await action();
  } catch (error) {
    notifyError(error);
  } finally {
    button.disabled = false;
    button.classList.remove("busy");
  }
}
