// The log by pieces: nothing lost, nothing doubled, whatever way it comes.
import assert from "node:assert/strict";
import { test } from "node:test";

import { LogBuffer, cleanLine, cutToLine, findLevel, findMatches, foldCarriageReturns } from "../src/live/log_lines";

const bytes = (text: string): number => new TextEncoder().encode(text).length;

function feed(buffer: LogBuffer, text: string, offset = buffer.next): string {
  return buffer.append({ offset, text, next: offset + bytes(text) });
}

test("a progress bar collapses to how it last stood", () => {
  assert.equal(foldCarriageReturns("\r 10%\r 50%\r100%"), "100%");
  assert.equal(foldCarriageReturns("\r 10%\r          \r{'loss': 1}"), "{'loss': 1}");
  assert.equal(foldCarriageReturns(" 10%\r   \r"), " 10%");
  assert.equal(foldCarriageReturns("plain"), "plain");
});

test("a bar that comes in pieces is one line, also while it is not finished", () => {
  const buffer = new LogBuffer();
  feed(buffer, "start\n\r 10%");
  assert.equal(buffer.openLine, " 10%");
  feed(buffer, "\r 2");
  feed(buffer, "0%");
  assert.equal(buffer.openLine, " 20%");
  feed(buffer, "\r100%\r\nend\n");
  assert.deepEqual(buffer.lines, ["start", "100%", "end"]);
  assert.equal(buffer.openLine, "");
});

test("a line that ends in a carriage return is overwritten by the next piece", () => {
  const buffer = new LogBuffer();
  feed(buffer, " 10%\r");
  assert.equal(buffer.openLine, " 10%");
  feed(buffer, " 20%\n");
  assert.deepEqual(buffer.lines, [" 20%"]);
});

test("colours and control characters are not shown, also when a sequence is cut in two", () => {
  const buffer = new LogBuffer();
  feed(buffer, "\u001b[3");
  feed(buffer, "1mred\u001b[0m\u0007 text\n");
  assert.deepEqual(buffer.lines, ["red text"]);
  assert.equal(cleanLine("\u001b]0;title\u0007shown\u001b[A"), "shown");
});

test("the same piece twice changes nothing", () => {
  const buffer = new LogBuffer();
  assert.equal(feed(buffer, "one\ntwo\n"), "added");
  assert.equal(feed(buffer, "one\ntwo\n", 0), "known");
  assert.equal(feed(buffer, "two\n", 4), "known");
  assert.deepEqual(buffer.lines, ["one", "two"]);
});

test("of a piece that overlaps only the new part is taken, cut between characters", () => {
  const buffer = new LogBuffer();
  feed(buffer, "损失\n");
  assert.equal(feed(buffer, "损失\n下降\n", 0), "added");
  assert.deepEqual(buffer.lines, ["损失", "下降"]);
  assert.equal(buffer.next, bytes("损失\n下降\n"));
});

test("a piece after a gap is refused, and so is an overlap whose bytes were broken", () => {
  const buffer = new LogBuffer();
  feed(buffer, "one\n");
  assert.equal(feed(buffer, "three\n", 10), "gap");
  assert.equal(buffer.append({ offset: 2, text: "e\n\ufffdx\n", next: 7 }), "gap");
  assert.deepEqual(buffer.lines, ["one"]);
});

test("earlier lines go in front and later pieces still fit", () => {
  const buffer = new LogBuffer(8);
  feed(buffer, "three\n");
  assert.equal(buffer.prepend("one\ntwo\n", 0), 2);
  feed(buffer, "four\n");
  assert.deepEqual(buffer.lines, ["one", "two", "three", "four"]);
  assert.equal(buffer.start, 0);
});

test("a part of the log is cut to where a line begins", () => {
  const text = new TextEncoder().encode("失\ntwo\nthree\n");
  assert.deepEqual(cutToLine(text.subarray(1), 101), { text: "two\nthree\n", start: 104 });
  assert.deepEqual(cutToLine(text, 0), { text: "失\ntwo\nthree\n", start: 0 });
  assert.equal(cutToLine(new TextEncoder().encode("no end"), 5), null);
});

test("any way of cutting a log into pieces gives the same lines", () => {
  const log = "a\r 10%\r 99%\nb\n\u001b[1mc\u001b[0m\n损失\r\nlast";
  const whole = new LogBuffer();
  feed(whole, log);
  for (let size = 1; size < log.length; size++) {
    const buffer = new LogBuffer();
    for (let at = 0; at < log.length; at += size) feed(buffer, log.slice(at, at + size));
    assert.deepEqual(buffer.lines, whole.lines, `pieces of ${size}`);
    assert.equal(buffer.openLine, "last");
  }
});

test("errors and warnings stand out, and lines are found whatever their case", () => {
  assert.equal(findLevel("torch.OutOfMemoryError: CUDA out of memory."), "error");
  assert.equal(findLevel("[WARNING|2026] something"), "warning");
  assert.equal(findLevel("{'loss': 1.0}"), "");
  assert.deepEqual(findMatches(["Loss 1", "x", "LOSS 2"], "loss"), [0, 2]);
  assert.deepEqual(findMatches(["a"], ""), []);
});
