// The button that makes the cleaned copy of a dataset: its rows that LLaMA-Factory can train on, as a new version.
import { call, newIdempotencyKey } from "../api";
import type { Dataset } from "../datasets";
import { element, icon } from "../dom";
import { formatNumber } from "../format";
import { t } from "../language";
import { runWithButton } from "../notices";

/** Asked again after an answer that was lost, or from another place of the page, it is the same copy. */
const keys = new Map<string, string>();

export function buildCleanButton(
  dataset: Pick<Dataset, "id" | "cleaned_count">,
  onMade: (copy: Dataset) => void | Promise<void>,
): HTMLButtonElement {
  const kept = dataset.cleaned_count ?? 0;
  const button: HTMLButtonElement = element(
    "button",
    {
      class: "button primary",
      type: "button",
      "data-clean": true,
      onclick: (event) => {
        event.preventDefault(); // in a form's row it stands within a label
        void runWithButton(button, () => clean(dataset.id).then(onMade));
      },
    },
    icon("broom"),
    t(`生成清洗后的副本（保留 ${formatNumber(kept)} 条）`, `Make a cleaned copy (keeps ${formatNumber(kept)} ${kept === 1 ? "row" : "rows"})`),
  );
  return button;
}

function clean(id: string): Promise<Dataset> {
  const key = keys.get(id) ?? newIdempotencyKey();
  keys.set(id, key);
  return call<Dataset>("POST", `/datasets/${encodeURIComponent(id)}/clean`, { idempotencyKey: key });
}
