// Metric points by step, and smoothing.
import assert from "node:assert/strict";
import { test } from "node:test";

import { type MetricPoint, PointStore, smooth } from "../src/live/points";

const point = (step: number, values: Partial<MetricPoint> = {}): MetricPoint => ({
  step,
  attempt: 1,
  at: "2026-11-24T00:00:00Z",
  ...values,
});

test("the same points twice draw no second curve", () => {
  const store = new PointStore();
  assert.equal(store.add([point(1, { loss: 2 }), point(2, { loss: 1 })]), true);
  assert.equal(store.add([point(1, { loss: 2 }), point(2, { loss: 1 })]), false);
  assert.deepEqual(store.buildSeries(["loss"]), [
    [1, 2],
    [2, 1],
  ]);
});

test("a later attempt's point replaces that of its step; an earlier attempt's comes too late", () => {
  const store = new PointStore();
  store.add([point(1, { loss: 2 }), point(2, { loss: 1.5 })]);
  store.add([point(2, { loss: 1.4, attempt: 2 })]);
  store.add([point(2, { loss: 1.5 })]);
  assert.deepEqual(store.buildSeries(["loss"]), [
    [1, 2],
    [2, 1.4],
  ]);
});

test("points that come out of order are drawn in order, and what was not measured is missing", () => {
  const store = new PointStore();
  store.add([point(10, { loss: 1 }), point(5, { loss: 2 })]);
  store.add([point(10, { loss: 1, eval_loss: 1.2 }), point(7, { learning_rate: 0.1 })]);
  assert.deepEqual(store.buildSeries(["loss", "eval_loss"]), [
    [5, 10],
    [2, 1],
    [null, 1.2],
  ]);
  assert.equal(store.findLast("eval_loss")?.step, 10);
  assert.equal(store.findLast("grad_norm"), null);
});

test("smoothing keeps a constant, changes nothing at weight 0 and leaves gaps", () => {
  assert.deepEqual(smooth([1, 2, null, 3], 0), [1, 2, null, 3]);
  for (const value of smooth([4, 4, 4], 0.9)) assert.ok(Math.abs(value! - 4) < 1e-12);
  const [first, , gap] = smooth([1, 3, null], 0.5);
  assert.equal(first, 1);
  assert.equal(gap, null);
});
