// The stream's bookkeeping: where it resumes, when it gives up, and that a silent line is not trusted.
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";

import { type Connection, JobStream, type Source } from "../src/live/job_stream";

class FakeSource implements Source {
  readyState = 0;
  onopen: ((event: Event) => void) | null = null;
  onerror: ((event: Event) => void) | null = null;
  closed = false;
  private readonly listeners = new Map<string, (event: MessageEvent<string>) => void>();

  constructor(readonly url: string) {}

  addEventListener(name: string, listen: (event: MessageEvent<string>) => void): void {
    this.listeners.set(name, listen);
  }

  close(): void {
    this.closed = true;
  }

  send(name: string, data: unknown, lastEventId: string): void {
    this.listeners.get(name)?.({ data: JSON.stringify(data), lastEventId } as MessageEvent<string>);
  }

  refuse(): void {
    this.readyState = 2;
    this.onerror?.({} as Event);
  }
}

function open(context: TestContext, goesOn = true) {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const sources: FakeSource[] = [];
  const events: [string, unknown][] = [];
  const connections: Connection[] = [];
  const stream = new JobStream(
    "job1",
    {
      onEvent: (name, data) => events.push([name, data]),
      onConnection: (connection) => connections.push(connection),
      onRefused: async () => goesOn,
    },
    "0.-1.7",
    (url) => {
      sources.push(new FakeSource(url));
      return sources.at(-1)!;
    },
  );
  stream.start();
  return { stream, sources, events, connections };
}

const cursorOf = (source: FakeSource): string | null =>
  new URL(source.url, "http://host").searchParams.get("last_event_id");
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("it begins at its cursor, and after a refusal goes on after the last event that was taken in", async (context) => {
  const { sources, events, connections } = open(context);
  assert.equal(cursorOf(sources[0]!), "0.-1.7");
  sources[0]!.onopen?.({} as Event);
  sources[0]!.send("log", { offset: 7 }, "5.2.90");
  sources[0]!.refuse();
  await settle();
  assert.equal(sources.length, 1, "not at once: the server may be starting");
  context.mock.timers.tick(1000);
  assert.equal(cursorOf(sources[1]!), "5.2.90");
  assert.deepEqual(events, [["log", { offset: 7 }]]);
  assert.equal(connections.at(-1), "reconnecting");
});

test("it waits longer each time it is refused, and starts anew after it was live", async (context) => {
  const { sources } = open(context);
  for (const wait of [1000, 2000, 4000, 8000, 15000, 15000]) {
    const before = sources.length;
    sources.at(-1)!.refuse();
    await settle();
    context.mock.timers.tick(wait - 1);
    assert.equal(sources.length, before);
    context.mock.timers.tick(1);
    assert.equal(sources.length, before + 1);
  }
  sources.at(-1)!.onopen?.({} as Event);
  sources.at(-1)!.refuse();
  await settle();
  context.mock.timers.tick(1000);
  assert.equal(sources.length, 8);
});

test("a line that drops is left to the browser, which resumes by itself", (context) => {
  const { sources, connections } = open(context);
  sources[0]!.onerror?.({} as Event);
  context.mock.timers.tick(5000);
  assert.equal(sources.length, 1);
  assert.equal(connections.at(-1), "reconnecting");
});

test("a line that is silent for too long is given up; one that still says it is alive is not", (context) => {
  const { sources } = open(context);
  sources[0]!.onopen?.({} as Event);
  for (let minute = 0; minute < 5; minute++) {
    context.mock.timers.tick(15_000);
    sources[0]!.send("alive", {}, "9.9.9");
  }
  assert.equal(sources.length, 1);
  context.mock.timers.tick(40_000);
  assert.equal(sources.length, 2);
  assert.equal(sources[0]!.closed, true);
  assert.equal(cursorOf(sources[1]!), "9.9.9");
});

test("events of a line that was given up are not taken in", (context) => {
  const { stream, sources, events } = open(context);
  stream.pause();
  stream.start();
  sources[0]!.send("log", { offset: 7 }, "1.1.1");
  assert.deepEqual(events, []);
  assert.equal(cursorOf(sources[1]!), "0.-1.7");
});

test("the end closes it for good, until the job is resumed", (context) => {
  const { stream, sources, connections } = open(context);
  sources[0]!.send("end", { status: "succeeded" }, "8.8.8");
  assert.equal(connections.at(-1), "ended");
  stream.start();
  assert.equal(sources.length, 1);
  stream.restart();
  assert.equal(cursorOf(sources[1]!), "8.8.8");
});

test("a job that is gone is not asked for again", async (context) => {
  const { sources } = open(context, false);
  sources[0]!.refuse();
  await settle();
  context.mock.timers.tick(60_000);
  assert.equal(sources.length, 1);
});
