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

interface TextQuestion {
  title: string;
  label: string;
  value: string;
  confirm: string;
  most: number;
}

/** Ask for one line; null when the person did not want to. */
export function askForText(question: TextQuestion): Promise<string | null> {
  return new Promise((resolve) => {
    const input = element("input", { class: "input", maxlength: question.most, required: true, "aria-label": question.label });
    input.value = question.value;
    const dialog: HTMLDialogElement = element(
      "dialog",
      { class: "dialog", "aria-label": question.title },
      element(
        "form",
        { method: "dialog" },
        element("h2", {}, question.title),
        input,
        element(
          "div",
          { class: "dialog-actions" },
          element("button", { class: "button", type: "button", onclick: () => dialog.close() }, t("取消", "Cancel")),
          element("button", { class: "button primary", value: "yes" }, question.confirm),
        ),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      const text = input.value.trim();
      resolve(dialog.returnValue === "yes" && text ? text : null);
    });
    document.body.append(dialog);
    dialog.showModal();
    input.select();
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
