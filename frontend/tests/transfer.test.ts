import assert from "node:assert/strict";
import { test } from "node:test";

import { ApiError } from "../src/api";
import { Transfer, type Upload, type Wire } from "../src/uploads/transfer";

const CONTENT = "abcdefghijklmnopqrstuvwxyz";

function refuse(status: number, code: string): ApiError {
  return new ApiError({ title: "no", status, detail: "no", code, errors: [] });
}

/** A server that keeps what came; `faults` are thrown one by one before a chunk is taken, `lost` after it. */
class Server implements Wire {
  kept = "";
  waits: number[] = [];
  faults: (Error | null)[] = [];
  lost: (Error | null)[] = [];

  show(): Upload {
    const received_bytes = this.kept.length;
    return {
      id: "u",
      file_name: "letters.txt",
      size_bytes: CONTENT.length,
      received_bytes,
      chunk_bytes: 10,
      purpose: "file",
      folder: "",
      status: received_bytes === CONTENT.length ? "complete" : "receiving",
      expires_at: null,
    };
  }

  look = async (): Promise<Upload> => this.show();

  async send(_: Upload, offset: number, chunk: Blob): Promise<Upload> {
    const fault = this.faults.shift();
    if (fault) throw fault;
    if (offset !== this.kept.length) throw refuse(409, "offset_mismatch");
    this.kept += await chunk.text();
    const lost = this.lost.shift();
    if (lost) throw lost;
    return this.show();
  }

  async wait(seconds: number): Promise<void> {
    this.waits.push(seconds);
  }
}

function start(server: Server, onChange: () => void = () => undefined): Transfer {
  return new Transfer(server.show(), new Blob([CONTENT]), server, onChange);
}

test("a file goes over in chunks", async () => {
  const server = new Server();
  const transfer = start(server);
  await transfer.run();
  assert.equal(server.kept, CONTENT);
  assert.equal(transfer.state, "complete");
  assert.equal(transfer.bytes, CONTENT.length);
});

test("a server that is away is waited for, longer each time, and then it goes on", async () => {
  const server = new Server();
  server.faults = [null, refuse(0, "unreachable"), refuse(503, "database_away"), refuse(502, "http")];
  const states = new Set<string>();
  const transfer: Transfer = start(server, () => states.add(transfer.state));
  await transfer.run();
  assert.equal(server.kept, CONTENT);
  assert.deepEqual(server.waits, [1, 2, 4]);
  assert.ok(states.has("retrying"));
});

test("an answer that was lost costs no byte and doubles none", async () => {
  const server = new Server();
  server.lost = [refuse(0, "unreachable"), null, null];
  const transfer = start(server);
  await transfer.run();
  assert.equal(server.kept, CONTENT);
});

test("what another page sent meanwhile is not sent again", async () => {
  const server = new Server();
  const transfer = start(server);
  server.kept = CONTENT.slice(0, 10);
  await transfer.run();
  assert.equal(server.kept, CONTENT);
  assert.deepEqual(server.waits, [], "an offset that differs needs no waiting");
});

test("a refusal ends it with its reason, and it may be tried again", async () => {
  const server = new Server();
  server.faults = [null, refuse(507, "disk_full")];
  const transfer = start(server);
  await transfer.run();
  assert.equal(transfer.state, "failed");
  assert.equal((transfer.error as ApiError).code, "disk_full");
  await transfer.run();
  assert.equal(transfer.state, "complete");
  assert.equal(server.kept, CONTENT);
});

test("paused, it rests, and goes on from there", async () => {
  const server = new Server();
  const transfer: Transfer = start(server, () => {
    if (server.kept.length === 10 && transfer.state === "sending") transfer.pause();
  });
  await transfer.run();
  assert.equal(transfer.state, "paused");
  const rested = server.kept.length;
  assert.ok(rested < CONTENT.length);
  const again = new Transfer(transfer.upload, new Blob([CONTENT]), server, () => undefined);
  await again.run();
  assert.equal(server.kept, CONTENT);
});
