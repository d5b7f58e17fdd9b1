"""Many running jobs report at once: is any report lost, how late do metrics appear, how fast do pages answer?

Starts PostgreSQL, Redis and `tuneforge web` of its own on loopback, queues jobs through the platform's services,
and lets stand-in supervisors in another process claim and report them through the nodes' door. Each stand-in
makes a metric point a second and reports when the reply says so. Prints one row per number of jobs and, last, one
JSON object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

PASSWORD = "benchmark-password"  # noqa: S105 (of a platform that lives for minutes on loopback)
NODE_DEVICES = 250
TOTAL_POINTS = 1_000_000


def main() -> int:
    """Run every size and print the curve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--jobs", default="100,300,1000,3000", help="numbers of running jobs, joined by commas"
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long each number reports")
    parser.add_argument("--stand-ins", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stand_ins:
        plan = json.loads(options.stand_ins.read_text())
        Path(plan["told"]).write_text(json.dumps(asyncio.run(run_stand_ins(plan))))
        return 0
    print(
        f"{'jobs':>6}{'reports/s':>11}{'lost points':>13}{'delay p95':>11}{'job p50':>9}{'job p99':>9}{'list p99':>10}"
    )
    results = []
    for count in (int(part) for part in options.jobs.split(",")):
        with start_platform() as (url, node_token):
            results.append(measure(url, node_token, count, options.seconds))
        show(results[-1])
    print(json.dumps({"sizes": results}))
    return 0 if all(result["lost_points"] == 0 for result in results) else 1


def show(result: dict[str, Any]) -> None:
    """Print one row of the curve."""
    print(
        f"{result['jobs']:6}{result['reports_per_second']:11.1f}{result['lost_points']:13}"
        f"{result['metric_delay_p95_seconds']:10.2f}s{result['job_p50_ms']:7.0f}ms{result['job_p99_ms']:7.0f}ms"
        f"{result['list_p99_ms']:8.0f}ms",
        flush=True,
    )


@contextmanager
def start_platform() -> Iterator[tuple[str, str]]:
    """Give the address and node token of a platform without nodes, ended afterwards."""
    from backend.launch.places import choose_port, get_postgres_account
    from backend.launch.postgres import Postgres
    from backend.launch.redis import Redis

    with tempfile.TemporaryDirectory(prefix="tuneforge-benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        ports = [choose_port(folder / f"port{index}") for index in range(3)]
        account = get_postgres_account()
        postgres = Postgres(folder / "postgres", PASSWORD, ports[0], folder / "postgres.log", account)
        redis = Redis(folder / "redis", PASSWORD, ports[1], folder / "redis.log")
        postgres.start()
        redis.start()
        (folder / "home").mkdir()
        os.environ |= {
            "DATABASE_URL": postgres.url,
            "REDIS_URL": redis.url,
            "TUNEFORGE_HOME": str(folder / "home"),
            "TUNEFORGE_PORT": str(ports[2]),
            "TUNEFORGE_ADMIN_PASSWORD": PASSWORD,
        }
        forget_cached_settings()
        program = [sys.executable, "-m", "backend.cli"]
        subprocess.run([*program, "migrate"], check=True, capture_output=True)
        with (folder / "web.log").open("wb") as log:
            web = subprocess.Popen([*program, "web"], stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{ports[2]}"
            wait_until(lambda: httpx.get(f"{url}/healthz").status_code == 200)
            yield url, make_node_token()
        finally:
            web.terminate()
            web.wait()
            redis.stop()
            postgres.stop()


def make_node_token() -> str:
    """Return the node token of the present home, making it as the web process would."""
    from backend.settings import get_settings

    return get_settings().node_token


def forget_cached_settings() -> None:
    """Let settings, engine and Celery be made from the present environment."""
    from backend import database, queue
    from backend.settings import get_settings

    for cached in (get_settings, database.get_engine, queue.get_celery):
        cached.cache_clear()


def wait_until(check: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until `check` is true; an address that does not answer yet is not."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if check():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise TimeoutError("the platform did not start")


def measure(url: str, node_token: str, count: int, seconds: float) -> dict[str, Any]:
    """Bring `count` jobs to run, let them report for `seconds`, and ask for pages meanwhile."""
    nodes = [
        (f"node-{index}", min(NODE_DEVICES, count - at))
        for index, at in enumerate(range(0, count, NODE_DEVICES))
    ]
    register(url, node_token, nodes)
    token = make_token(url)
    assigned = queue_jobs(count)
    with tempfile.TemporaryDirectory() as name:
        plan = Path(name) / "plan.json"
        told = Path(name) / "told.json"
        plan.write_text(
            json.dumps({
                "url": url, "token": node_token, "seconds": seconds, "jobs": assigned, "nodes": nodes,
                "told": str(told),
            })
        )  # fmt: skip
        stand_ins = subprocess.Popen([sys.executable, __file__, "--stand-ins", str(plan)])
        times = ask_for_pages(url, token, [job_id for job_id, _ in assigned], stand_ins)
        if stand_ins.wait() != 0:
            raise RuntimeError("the stand-in supervisors failed")
        outcome = json.loads(told.read_text())
    stored, delays = read_points()
    return {
        "jobs": count,
        "reports_per_second": round(outcome["reports"] / seconds, 1),
        "refused_reports": outcome["refused"],
        "lost_points": outcome["points"] - stored,
        "metric_delay_p50_seconds": round(quantile(delays, 0.50), 3),
        "metric_delay_p95_seconds": round(quantile(delays, 0.95), 3),
        "job_p50_ms": round(quantile(times["job"], 0.50) * 1000, 1),
        "job_p99_ms": round(quantile(times["job"], 0.99) * 1000, 1),
        "list_p50_ms": round(quantile(times["list"], 0.50) * 1000, 1),
        "list_p99_ms": round(quantile(times["list"], 0.99) * 1000, 1),
        "requests_measured": len(times["job"]) + len(times["list"]),
    }


def register(url: str, node_token: str, nodes: list[tuple[str, int]]) -> None:
    """Register the nodes through their door."""
    headers = {"Authorization": f"Bearer {node_token}"}
    for name, count in nodes:
        devices = [
            {"uuid": f"{name}-{i}", "kind": "cpu", "name": "slot", "index": i, "memory_bytes": 1 << 34}
            for i in range(count)
        ]
        body = {"protocol_version": 1, "name": name, "devices": devices}
        httpx.post(f"{url}/internal/v1/nodes/register", json=body, headers=headers).raise_for_status()


def make_token(url: str) -> str:
    """Return an API token of the administrator."""
    body = {"username": "admin", "password": PASSWORD, "name": "benchmark"}
    return str(httpx.post(f"{url}/api/v1/tokens", json=body).raise_for_status().json()["token"])


def queue_jobs(count: int) -> list[tuple[str, str]]:
    """Queue `count` jobs through the services and assign them all; return (job id, node name)."""
    from sqlalchemy import select

    from backend.database import transaction
    from backend.domain.job import JobKind
    from backend.domain.spec import PreparedJob
    from backend.services import dispatch, jobs
    from backend.tables.job import Job
    from backend.tables.node import Node
    from backend.tables.user import User

    spec = {
        "kind": "train",
        "model": "m",
        "datasets": ["d"],
        "args": {},
        "stage": "sft",
        "finetuning_type": "lora",
    }
    launch = {"model_path": "models/m", "adapter_path": None, "datasets": [], "tracking": "off"}
    estimate = {"steps": TOTAL_POINTS, "duration_seconds": {"low": 50, "expected": 60, "high": 90}}
    with transaction() as session:
        owner = session.scalars(select(User)).one()
        for index in range(count):
            prepared = PreparedJob(
                f"job {index}", JobKind.TRAIN, spec, "stage: sft\n", launch, estimate, "cpu", 1, "express"
            )
            jobs.submit(session, owner, prepared)
    with transaction() as session:
        dispatch.dispatch(session)
    with transaction() as session:
        rows = session.execute(select(Job.id, Node.name).join(Node, Node.id == Job.node_id)).all()
    if len(rows) != count:
        raise RuntimeError(f"only {len(rows)} of {count} jobs were assigned")
    return [(job_id, name) for job_id, name in rows]


def ask_for_pages(
    url: str, token: str, job_ids: list[str], stand_ins: subprocess.Popen[bytes]
) -> dict[str, list[float]]:
    """Ask for a job and for a list of jobs in turn, about ten a second, until the stand-ins end."""
    times: dict[str, list[float]] = {"job": [], "list": []}
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"{url}/api/v1", headers=headers, timeout=60) as client:
        turn = 0
        while stand_ins.poll() is None:
            kind = ("job", "list")[turn % 2]
            path = f"/jobs/{job_ids[turn * 7 % len(job_ids)]}" if kind == "job" else "/jobs?limit=20"
            began = time.perf_counter()
            client.get(path).raise_for_status()
            times[kind].append(time.perf_counter() - began)
            turn += 1
            time.sleep(0.08)
    return times


def read_points() -> tuple[int, list[float]]:
    """Return how many points are stored and how long each took from being made to being stored."""
    from sqlalchemy import select

    from backend.database import transaction
    from backend.tables.job import MetricRow

    with transaction() as session:
        rows = session.execute(select(MetricRow.at, MetricRow.noted_at)).all()
    return len(rows), [(noted_at - at).total_seconds() for at, noted_at in rows]


def quantile(values: list[float], share: float) -> float:
    """Return the `share` quantile."""
    if len(values) < 2:
        return values[0] if values else float("nan")
    return statistics.quantiles(values, n=1000, method="inclusive")[min(998, round(share * 1000) - 1)]


# -- the other process -------------------------------------------------------------------------------------


async def run_stand_ins(plan: dict[str, Any]) -> dict[str, int]:
    """Claim and report every job of the plan until its time is over; return what was said."""
    headers = {"Authorization": f"Bearer {plan['token']}"}
    told = {"reports": 0, "refused": 0, "points": 0}
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    client = httpx.AsyncClient(base_url=plan["url"], headers=headers, timeout=120, limits=limits)
    async with client:
        leases = [(job_id, await claim(client, job_id, node)) for job_id, node in plan["jobs"]]
        end = time.monotonic() + plan["seconds"]
        beats = [asyncio.create_task(beat(client, name, count)) for name, count in plan["nodes"]]
        await asyncio.gather(*(report(client, job_id, lease, end, told) for job_id, lease in leases))
        for task in beats:
            task.cancel()
    return told


async def claim(client: httpx.AsyncClient, job_id: str, node: str) -> str:
    """Claim one attempt; return its lease."""
    path = f"/internal/v1/jobs/{job_id}/attempts/1/claim"
    answer = await client.post(path, json={"node": node, "supervisor": "stand-in"})
    return str(answer.raise_for_status().json()["lease_token"])


async def beat(client: httpx.AsyncClient, name: str, count: int) -> None:
    """Heartbeat of one node."""
    devices = [
        {"uuid": f"{name}-{i}", "kind": "cpu", "name": "slot", "index": i, "memory_bytes": 1 << 34}
        for i in range(count)
    ]
    while True:
        await client.post("/internal/v1/nodes/heartbeat", json={"name": name, "devices": devices})
        await asyncio.sleep(3)


async def report(
    client: httpx.AsyncClient, job_id: str, lease: str, end: float, told: dict[str, int]
) -> None:
    """Report one job: a point a second, sent when the last reply said so; the last report sends all that is left."""
    headers, step, waiting = {"X-Lease-Token": lease}, 0, 1.0
    pending: list[dict[str, Any]] = []
    made_at = time.monotonic()
    while True:
        is_last = time.monotonic() + waiting >= end
        pause_until = min(end, time.monotonic() + waiting)
        while time.monotonic() < pause_until:
            await asyncio.sleep(min(1.0, max(0.0, pause_until - time.monotonic())))
            if time.monotonic() - made_at >= 1.0:
                made_at, step = time.monotonic(), step + 1
                pending.append({"step": step, "loss": 1 / step, "at": datetime.now(UTC).isoformat()})
                told["points"] += 1
        body = {"phase": "training", "step": step, "points": pending, "log_bytes": 0}
        answer = await client.post(
            f"/internal/v1/jobs/{job_id}/attempts/1/report", json=body, headers=headers
        )
        told["reports"] += 1
        if answer.status_code != 200:
            told["refused"] += 1
            return
        pending, waiting = [], answer.json()["report_in_seconds"]
        if is_last:
            return


if __name__ == "__main__":
    sys.exit(main())
