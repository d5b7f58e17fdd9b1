"""Stand-in supervisors for `benchmarks.reporting_load`: one process, one connection for each job, plain HTTP/1.1.

Claims and reports every job of a plan through the nodes' door as `worker.reporter` would: a report when the last
reply said so, everything not yet taken sent again after a failure. HTTP is written by hand, because this process
shares the machine with what it measures.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backend.domain.pace import spread_pause

CLAIMS_AT_ONCE = 4
AWAY_SECONDS = 1.0
ANSWER_SECONDS = 30.0
HEARTBEAT_SECONDS = 3.0


@dataclass
class Told:
    """What was said, and how it was answered; seconds are Unix time."""

    claimed: int = 0
    reports: int = 0
    refused: int = 0
    resent: int = 0
    points: int = 0
    steady_at: float = 0.0
    ended_at: float = 0.0
    report_seconds: list[float] = field(default_factory=list)
    intervals: list[float] = field(default_factory=list)


class Connection:
    """One connection that is opened again when it was closed."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, path: str, body: dict[str, Any], lease: str = "") -> tuple[int, bytes]:
        """Return status and body of the answer; OSError or TimeoutError when there was none."""
        try:
            return await asyncio.wait_for(self._post(path, json.dumps(body).encode(), lease), ANSWER_SECONDS)
        except (OSError, EOFError, TimeoutError) as error:
            self.close()
            raise OSError(str(error)) from error

    async def _post(self, path: str, body: bytes, lease: str) -> tuple[int, bytes]:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        assert self._reader is not None
        shown = f"X-Lease-Token: {lease}\r\n" if lease else ""
        head = f"POST /internal/v1{path} HTTP/1.1\r\n{self._head}{shown}Content-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        answer = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answer.split(b"content-length:")[1].split(b"\r\n")[0])
        content = await self._reader.readexactly(length)
        if b"\r\nconnection: close" in answer:
            self.close()
        return int(answer[9:12]), content

    def close(self) -> None:
        """Let the next call open a new one."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


class StandIn:
    """The supervisor of one job whose run makes a metric point a second."""

    def __init__(self, plan: dict[str, Any], job_id: str, node: str, told: Told) -> None:
        self._connection = Connection(plan["port"], plan["token"])
        self._place = f"/jobs/{job_id}/attempts/1"
        self._node = node
        self._told = told
        self._lease = ""
        self._began_at = 0.0
        self._step = 0
        self._reading = 0
        self._pending: list[dict[str, Any]] = []

    async def claim(self, turns: asyncio.Semaphore) -> None:
        """Claim the job."""
        body = {"node": self._node, "supervisor": f"stand-in of {self._place}"}
        status, content = 0, b""
        while not status:
            async with turns:
                with suppress(OSError):  # asked again under the same name it is given the same lease
                    status, content = await self._connection.post(f"{self._place}/claim", body)
        if status != 200:
            raise RuntimeError(f"a claim was answered {status}: {content!r}")
        self._lease = json.loads(content)["lease_token"]
        self._told.claimed += 1

    async def run(self, turns: asyncio.Semaphore, ended: asyncio.Event) -> None:
        """Claim, and report until `ended` is set; the last report sends what is left."""
        await self.claim(turns)
        self._began_at = time.time()
        pause = spread_pause(1.0, random.random())
        while self._lease and not ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), pause)
            self._make_points()
            pause = await self._report()
        while self._lease and self._pending:
            async with turns:
                await self._report()

    def _make_points(self) -> None:
        """Note the points that the run has made since the last report."""
        while (at := self._began_at + self._step + 1) <= time.time():
            self._step += 1
            moment = datetime.fromtimestamp(at, UTC).isoformat()
            self._pending.append({"step": self._step, "loss": 1 / self._step, "at": moment})
            self._told.points += 1

    def _read_devices(self) -> list[dict[str, Any]]:
        """Return the job's device, once for every reading that its node makes."""
        reading = int(time.time() / HEARTBEAT_SECONDS)
        if reading == self._reading:
            return []
        self._reading = reading
        return [
            {
                "uuid": self._node,
                "kind": "cpu",
                "name": "slot",
                "index": 0,
                "memory_bytes": 1 << 34,
                "utilization": 50,
            }
        ]

    async def _report(self) -> float:
        """Report; return the pause until the next."""
        sent = len(self._pending)
        body = {"phase": "training", "step": self._step, "points": self._pending, "log_bytes": 0}
        body["devices"] = self._read_devices()
        began = time.perf_counter()
        try:
            status, content = await self._connection.post(f"{self._place}/report", body, self._lease)
        except OSError:
            self._told.resent += 1
            return AWAY_SECONDS
        self._told.reports += 1
        if status != 200:
            self._told.refused += 1
            print(f"a report was answered {status}: {content[:300]!r}", file=sys.stderr)
            self._lease = ""
            return AWAY_SECONDS
        self._told.report_seconds.append(time.perf_counter() - began)
        del self._pending[:sent]
        interval = float(json.loads(content)["report_in_seconds"])
        self._told.intervals.append(interval)
        return spread_pause(interval, random.random())


async def beat(plan: dict[str, Any], name: str, devices: list[dict[str, Any]]) -> None:
    """Heartbeat of one node."""
    connection = Connection(plan["port"], plan["token"])
    while True:
        with suppress(OSError):
            await connection.post("/nodes/heartbeat", {"name": name, "devices": devices})
        await asyncio.sleep(HEARTBEAT_SECONDS)


async def run_plan(plan: dict[str, Any]) -> Told:
    """Run every stand-in: once all report, let them settle, then count for the plan's seconds."""
    told = Told()
    turns, ended = asyncio.Semaphore(CLAIMS_AT_ONCE), asyncio.Event()
    beats = [asyncio.create_task(beat(plan, name, devices)) for name, devices in plan["nodes"].items()]
    stand_ins = [StandIn(plan, job_id, node, told) for job_id, node in plan["jobs"]]
    running = asyncio.gather(*(stand_in.run(turns, ended) for stand_in in stand_ins))
    while told.claimed < len(stand_ins):
        await asyncio.sleep(0.5)
        if running.done():
            await running
    await asyncio.sleep(plan["settle_seconds"])
    told.reports, told.report_seconds, told.intervals, told.steady_at = 0, [], [], time.time()
    Path(plan["steady"]).touch()  # noqa: ASYNC240 (as quick as any other line here)
    await asyncio.sleep(plan["seconds"])
    told.ended_at = time.time()
    reports = told.reports, list(told.report_seconds), list(told.intervals)
    ended.set()
    await running
    told.reports, told.report_seconds, told.intervals = reports
    for task in beats:
        task.cancel()
    return told


def main() -> None:
    """Run the plan of a file and write down what was told."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    Path(plan["told"]).write_text(json.dumps(vars(asyncio.run(run_plan(plan)))))


if __name__ == "__main__":
    main()
