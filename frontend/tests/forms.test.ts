// What a person types into a form, and what becomes of it in a job's body.
import assert from "node:assert/strict";
import { test } from "node:test";

import { type Estimate, addEstimates } from "../src/estimate";
import { ArgumentValues } from "../src/forms/argument_values";
import { type Argument, formatArgument, isSameValue, parseArgument, writeArgument } from "../src/forms/arguments";
import { splitGang } from "../src/forms/gang";
import { listCheckpoints } from "../src/forms/subject_picker";

function argument(values: Partial<Argument>): Argument {
  const label = { zh: "名", en: "name" };
  return {
    name: "x",
    type: "int",
    nullable: false,
    default: 1,
    group: "g",
    group_label: label,
    kinds: ["train"],
    label,
    help: label,
    ...values,
  };
}

test("numbers are read as people write them, within their range", () => {
  const rate = argument({ type: "float", exclusive_minimum: 0, maximum: 1 });
  assert.deepEqual(parseArgument(rate, " 5e-5 "), { value: 5e-5 });
  for (const wrong of ["abc", "0", "-1", "2", "1e999", ""]) assert.ok("problem" in parseArgument(rate, wrong), wrong);
  const count = argument({ type: "int", minimum: 1 });
  assert.deepEqual(parseArgument(count, "8"), { value: 8 });
  for (const wrong of ["1.5", "0", "8x"]) assert.ok("problem" in parseArgument(count, wrong), wrong);
});

test("an empty field is null where null is a value, and choices keep their type", () => {
  assert.deepEqual(parseArgument(argument({ nullable: true }), " "), { value: null });
  assert.deepEqual(parseArgument(argument({ choices: [4, 8], nullable: true }), "8"), { value: 8 });
  assert.deepEqual(parseArgument(argument({ type: "bool" }), "false"), { value: false });
});

test("lists and objects are read, and objects that are none are refused", () => {
  assert.deepEqual(parseArgument(argument({ type: "list" }), "q_proj, v_proj，k_proj,"), {
    value: ["q_proj", "v_proj", "k_proj"],
  });
  assert.deepEqual(parseArgument(argument({ type: "dict" }), '{"a": 1}'), { value: { a: 1 } });
  for (const wrong of ["[1]", "{", "3"])
    assert.ok("problem" in parseArgument(argument({ type: "dict" }), wrong), wrong);
});

test("what is written into a field is read back as the same value", () => {
  const cases: [Argument, unknown][] = [
    [argument({ type: "float" }), 5e-5],
    [argument({ type: "int" }), 100000],
    [argument({ type: "list", nullable: true }), ["a", "b"]],
    [argument({ type: "dict", nullable: true }), { min_lr_rate: 0.1 }],
    [argument({ type: "str" }), "all"],
    [argument({ type: "bool", nullable: true }), null],
  ];
  for (const [described, value] of cases)
    assert.deepEqual(parseArgument(described, writeArgument(described, value)), { value });
  assert.equal(formatArgument(5e-5), "5e-5");
  assert.equal(isSameValue(null, undefined), true);
});

test("a body holds only what was changed, and only what acts", () => {
  const values = new ArgumentValues([
    argument({ name: "seed", default: 42 }),
    argument({ name: "lora_rank", default: 8 }),
  ]);
  values.setDefaults({ lora_rank: 16 });
  values.set("seed", 7);
  values.set("lora_rank", 32);
  assert.deepEqual(values.build(), { seed: 7, lora_rank: 32 });
  assert.deepEqual(
    values.build((name) => name !== "lora_rank"),
    { seed: 7 },
  );
  values.set("seed", 42);
  values.reset("lora_rank");
  assert.deepEqual(values.build(), {});
  assert.equal(values.get("lora_rank"), 16);
});

test("another job's settings replace one's own, but for those that are not of this kind", () => {
  const values = new ArgumentValues([argument({ name: "seed", default: 42 })]);
  values.set("seed", 1);
  values.takeOver({ seed: 42, top_p: 0.5 });
  assert.deepEqual(values.build(), {});
});

test("only checkpoints with weights can be evaluated, newest first", () => {
  const names = [
    "checkpoint-5/adapter_model.safetensors",
    "checkpoint-40/model-00001-of-00002.safetensors",
    "checkpoint-60/trainer_state.json",
    "adapter_model.safetensors",
  ];
  assert.deepEqual(listCheckpoints(names), [40, 5]);
});

test("two jobs take both their times and costs, by each tier, and the memory of the larger", () => {
  const cost = { currency: "CNY", low: "0.1000", expected: "0.2000", high: "0.3000" };
  const one: Estimate = {
    duration_seconds: { low: 1, expected: 2, high: 3 },
    breakdown_seconds: { load: 1, evaluate: 1 },
    steps: 10,
    tokens: null,
    samples: 5,
    memory_bytes: { low: 1, expected: 10, high: 20, available: 100, parts: {} },
    fits: "yes",
    cost,
    by_tier: { express: { ...cost, high: "0.9000" }, flex: cost, spot: { ...cost, low: "0.0500" } },
    basis: "modelled",
    warnings: [{ code: "a", detail: "same" }],
    recommended: null,
  };
  const other: Estimate = { ...one, fits: "tight", memory_bytes: { ...one.memory_bytes, expected: 90 } };
  const both = addEstimates(one, other);
  assert.deepEqual(both.duration_seconds, { low: 2, expected: 4, high: 6 });
  const doubled = { currency: "CNY", low: "0.2000", expected: "0.4000", high: "0.6000" };
  assert.deepEqual(both.cost, doubled);
  assert.deepEqual(both.by_tier, {
    express: { ...doubled, high: "1.8000" },
    flex: doubled,
    spot: { ...doubled, low: "0.1000" },
  });
  assert.deepEqual(
    [both.steps, both.tokens, both.fits, both.memory_bytes.expected, both.warnings.length],
    [20, null, "tight", 90, 1],
  );
});

test("a job lies on as few machines as can be, in equal shares", () => {
  assert.deepEqual(splitGang(8, [8, 8, 4]), { nodes: 1, perNode: 8 });
  assert.deepEqual(splitGang(12, [8, 8, 4]), { nodes: 2, perNode: 6 });
  assert.deepEqual(splitGang(16, [8, 8, 4]), { nodes: 2, perNode: 8 });
  assert.equal(splitGang(24, [8, 8, 4]), null);
  assert.equal(splitGang(7, [4, 4]), null);
  assert.equal(splitGang(1, []), null);
});
