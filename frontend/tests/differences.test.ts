// Which characters of an answer are marked.
import assert from "node:assert/strict";
import { test } from "node:test";

import { findDifferences } from "../src/comparison/differences";

const mark = (answer: string, label: string): string =>
  findDifferences(answer, label)
    .map((part) => (part.differs ? `[${part.text}]` : part.text))
    .join("");

test("only what the label does not hold is marked", () => {
  assert.equal(mark("信号灯是绿色的", "信号灯是红色的"), "信号灯是[绿]色的");
  assert.equal(mark("same", "same"), "same");
  assert.equal(mark("abXcd", "abcd"), "ab[X]cd");
  assert.equal(mark("", "label"), "");
  assert.equal(mark("all wrong", ""), "[all wrong]");
  assert.equal(mark("👍好", "👎好"), "[👍]好");
});

test("the text itself is never changed, and long texts take no time", () => {
  const [long, other] = ["甲乙".repeat(20_000), "丙丁".repeat(20_000)];
  const began = performance.now();
  assert.equal(
    findDifferences(long, other)
      .map((part) => part.text)
      .join(""),
    long,
  );
  assert.ok(performance.now() - began < 1000);
});
