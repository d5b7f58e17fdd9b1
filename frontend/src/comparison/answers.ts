/** Rows of evaluations as people read them: pictures, question, label, and answers with what differs marked. */
import { element } from "../dom";
import { t } from "../language";
import { findDifferences } from "./differences";

export interface ComparedRow {
  index: number;
  prompt: string;
  label: string;
  images: string[];
  predictions: (string | null)[];
}

/** One answer under its name; against a label it says whether it is right and marks what is not in the label. */
export function buildAnswer(name: string, answer: string | null, label?: string): HTMLElement {
  if (answer === null) {
    return element(
      "div",
      { class: "answer" },
      element("span", { class: "answer-name" }, name),
      element("p", { class: "faint" }, t("没有这一行的回答", "No answer to this row")),
    );
  }
  const right = label !== undefined && answer.trim() === label.trim();
  const mark =
    label === undefined
      ? null
      : element(
          "span",
          { class: right ? "mark right" : "mark wrong" },
          right ? t("正确", "right") : t("不同", "differs"),
        );
  const text = element("p", { class: "answer-text" });
  if (label === undefined || right) text.textContent = answer;
  else if (answer.trim() === "") text.append(element("span", { class: "faint" }, t("（空）", "(empty)")));
  else
    text.append(
      ...findDifferences(answer.trim(), label.trim()).map((part) =>
        part.differs ? element("mark", {}, part.text) : part.text,
      ),
    );
  return element("div", { class: "answer" }, element("span", { class: "answer-name" }, name, " ", mark), text);
}

/** The row's pictures; each opens alone when it is pressed. */
export function buildPictures(row: ComparedRow): HTMLElement {
  const pictures = row.images.map((url) =>
    element(
      "a",
      { href: url, target: "_blank", rel: "noopener" },
      element("img", {
        src: url,
        loading: "lazy",
        alt: t(`第 ${row.index + 1} 行的图片`, `Picture of row ${row.index + 1}`),
      }),
    ),
  );
  return element("div", { class: "pictures" }, ...pictures);
}

/** "第 1–20 条，共 64 条". */
export function buildRange(offset: number, count: number, total: number | null): HTMLElement {
  const text = !count
    ? t("没有数据", "No rows")
    : total === null
      ? t(`第 ${offset + 1}–${offset + count} 条`, `Rows ${offset + 1}–${offset + count}`)
      : t(`第 ${offset + 1}–${offset + count} 条，共 ${total} 条`, `Rows ${offset + 1}–${offset + count} of ${total}`);
  return element("span", { class: "faint number" }, text);
}

export function buildPager(
  offset: number,
  hasMore: boolean,
  pageSize: number,
  turn: (offset: number) => void,
): HTMLElement {
  return element(
    "nav",
    { class: "pager", "aria-label": t("翻页", "Pages") },
    element(
      "button",
      { class: "button", type: "button", disabled: offset === 0, onclick: () => turn(Math.max(0, offset - pageSize)) },
      t("上一页", "Previous"),
    ),
    element(
      "button",
      { class: "button", type: "button", disabled: !hasMore, onclick: () => turn(offset + pageSize) },
      t("下一页", "Next"),
    ),
  );
}

// -- metrics -----------------------------------------------------------------------------------------------

const ORDER = ["predict_bleu-4", "predict_rouge-1", "predict_rouge-2", "predict_rouge-l"];

/** The metrics that say how good answers are, best known first. */
export function sortMetrics(metrics: Record<string, unknown>): string[] {
  const quality = Object.keys(metrics).filter(
    (name) => typeof metrics[name] === "number" && /bleu|rouge|accuracy/.test(name),
  );
  const place = (name: string): number => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  return quality.sort((a, b) => place(a) - place(b) || a.localeCompare(b));
}

export function nameMetric(name: string): string {
  const short = name
    .replace(/^predict_/, "")
    .replace("bleu", "BLEU")
    .replace("rouge-l", "ROUGE-L")
    .replace("rouge", "ROUGE");
  // A hyphen that does not break: the name stays on one line.
  return short.replaceAll("-", "\u2011");
}
