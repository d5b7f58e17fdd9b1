"""Many running jobs report at once: is any point lost, how late do they appear, how fast do pages answer?

Starts PostgreSQL, Redis and `tuneforge web` of its own on loopback, queues jobs through the platform's services,
and lets stand-in supervisors in another process (`benchmarks.stand_in_supervisors`) claim and report them through
the nodes' door. Each stand-in makes a metric point a second and reports when the reply says so. Meanwhile pages
are asked for one after the other, and some jobs are followed live. Prints one row per number of jobs, where the
processor went, and, last, one JSON object. Exit code 1 when a point was lost or 1,000 jobs miss their limits.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

PASSWORD = "benchmark-password"  # noqa: S105 (of a platform that lives for minutes on loopback)
NODE_DEVICES = 250
TOTAL_POINTS = 1_000_000
SETTLE_SECONDS = 12.0
LIMIT_PAGE_MS, LIMIT_DELAY_SECONDS, LIMIT_JOBS = 150.0, 12.0, 1000
"""What is asked for up to `LIMIT_JOBS` jobs: the 99th percentile of pages, the 95th of a metric's delay."""

PAGES = {
    "job page": "/jobs/{job_id}",
    "job api": "/api/v1/jobs/{job_id}",
    "list page": "/jobs",
    "list api": "/api/v1/jobs?limit=20",
}
COLUMNS = (
    ("jobs", "jobs", "{:.0f}"),
    ("interval", "interval_seconds", "{:.1f}s"),
    ("reports/s", "reports_per_second", "{:.0f}"),
    ("refused", "refused_reports", "{:.0f}"),
    ("lost", "lost_points", "{:.0f}"),
    ("delay p95", "metric_delay_p95_seconds", "{:.2f}s"),
    ("report p50", "report_p50_ms", "{:.0f}ms"),
    ("p95", "report_p95_ms", "{:.0f}ms"),
    ("p99", "report_p99_ms", "{:.0f}ms"),
    *((f"{name} p99", f"{name.replace(' ', '_')}_p99_ms", "{:.0f}ms") for name in PAGES),
    ("cpu web", "cpu_web", "{:.2f}"),
    ("database", "cpu_database", "{:.2f}"),
    ("stand-ins", "cpu_stand_ins", "{:.2f}"),
    ("asking", "cpu_asking", "{:.2f}"),
    ("load", "load_average", "{:.1f}"),
)


@dataclass(frozen=True)
class Place:
    """A platform of the benchmark: its port, the token of its nodes, and its processes by what they do."""

    port: int
    node_token: str
    processes: dict[str, psutil.Process]

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"


def main() -> int:
    """Run every size and print the curve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--jobs", default="100,300,1000,3000", help="numbers of running jobs, joined by commas"
    )
    parser.add_argument("--seconds", type=float, default=45, help="how long each number is measured")
    parser.add_argument("--watched", type=int, default=20, help="how many jobs are followed live meanwhile")
    options = parser.parse_args()
    print(
        "Processor time in cores; load: the machine's average over a minute, all else that runs on it included."
    )
    print("  ".join(f"{title:>{max(9, len(title))}}" for title, _, _ in COLUMNS))
    results = []
    for count in (int(part) for part in options.jobs.split(",")):
        with start_platform() as place:
            results.append(measure(place, count, options.seconds, options.watched))
        show(results[-1])
    print(json.dumps({"sizes": results}))
    return 0 if all(is_good(result) for result in results) else 1


def is_good(result: dict[str, Any]) -> bool:
    """Whether nothing was lost and, up to `LIMIT_JOBS` jobs, pages and points came in time."""
    if result["lost_points"] or result["refused_reports"]:
        return False
    pages = [result[f"{name.replace(' ', '_')}_p99_ms"] for name in PAGES]
    in_time = max(pages) < LIMIT_PAGE_MS and result["metric_delay_p95_seconds"] <= LIMIT_DELAY_SECONDS
    return result["jobs"] > LIMIT_JOBS or in_time


def show(result: dict[str, Any]) -> None:
    """Print one row of the curve."""
    cells = ((form.format(result[key]), max(9, len(title))) for title, key, form in COLUMNS)
    print("  ".join(f"{text:>{width}}" for text, width in cells), flush=True)


@contextmanager
def start_platform() -> Iterator[Place]:
    """Give a platform without nodes, ended afterwards."""
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
            database = int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
            processes = {"web": psutil.Process(web.pid), "database": psutil.Process(database)}
            yield Place(ports[2], make_node_token(), processes)
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


def measure(place: Place, count: int, seconds: float, watched: int) -> dict[str, Any]:
    """Bring `count` jobs to run, let them report for `seconds`, and ask for pages meanwhile."""
    nodes = {
        f"node-{index}": build_devices(f"node-{index}", min(NODE_DEVICES, count - at))
        for index, at in enumerate(range(0, count, NODE_DEVICES))
    }
    register(place, nodes)
    token = make_token(place.url)
    assigned = queue_jobs(count)
    job_ids = [job_id for job_id, _ in assigned]
    with tempfile.TemporaryDirectory() as name:
        plan_file, told_file, steady = (Path(name) / part for part in ("plan.json", "told.json", "steady"))
        plan = {
            "port": place.port,
            "token": place.node_token,
            "seconds": seconds,
            "jobs": assigned,
            "nodes": nodes,
        }
        plan |= {"settle_seconds": SETTLE_SECONDS, "told": str(told_file), "steady": str(steady)}
        plan_file.write_text(json.dumps(plan))
        command = [sys.executable, "-m", "benchmarks.stand_in_supervisors", str(plan_file)]
        stand_ins = subprocess.Popen(command)
        wait_until(lambda: steady.exists() or stand_ins.poll() is not None, 600)
        processes = place.processes | {"stand_ins": psutil.Process(stand_ins.pid), "asking": psutil.Process()}
        before = {name: read_cpu_seconds(process) for name, process in processes.items()}
        with follow_live(place, token, job_ids[:watched]):
            times = ask_for_pages(place, token, job_ids, seconds)
        used = {
            name: (read_cpu_seconds(process) - before[name]) / seconds for name, process in processes.items()
        }
        if stand_ins.wait() != 0:
            raise RuntimeError("the stand-in supervisors failed")
        told = json.loads(told_file.read_text())
    return describe(count, seconds, told, times) | {
        f"cpu_{name}": round(part, 2) for name, part in used.items()
    }


def describe(
    count: int, seconds: float, told: dict[str, Any], times: dict[str, list[float]]
) -> dict[str, Any]:
    """Return the figures of one size."""
    stored, delays = read_points(told["steady_at"], told["ended_at"])
    result: dict[str, Any] = {
        "jobs": count,
        "interval_seconds": round(statistics.fmean(told["intervals"]), 2),
        "reports_per_second": round(told["reports"] / seconds, 1),
        "refused_reports": told["refused"],
        "resent_reports": told["resent"],
        "points": told["points"],
        "lost_points": told["points"] - stored,
        "load_average": round(os.getloadavg()[0], 1),
        "pages_asked": sum(map(len, times.values())),
    }
    for share, label in ((0.5, "p50"), (0.95, "p95"), (0.99, "p99")):
        result[f"report_{label}_ms"] = round(quantile(told["report_seconds"], share) * 1000, 1)
        result[f"metric_delay_{label}_seconds"] = round(quantile(delays, share), 3)
        for name, seconds_taken in times.items():
            result[f"{name.replace(' ', '_')}_{label}_ms"] = round(quantile(seconds_taken, share) * 1000, 1)
    return result


def read_cpu_seconds(process: psutil.Process) -> float:
    """Return the processor time of a process and of those below it, ended ones included; of our own only itself."""
    if process.pid == os.getpid():
        return time.process_time()
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def build_devices(node: str, count: int) -> list[dict[str, Any]]:
    """Return `count` slots of a node."""
    return [
        {"uuid": f"{node}-{i}", "kind": "cpu", "name": "slot", "index": i, "memory_bytes": 1 << 34}
        for i in range(count)
    ]


def register(place: Place, nodes: dict[str, list[dict[str, Any]]]) -> None:
    """Register the nodes through their door."""
    from backend.domain.protocol import PROTOCOL_VERSION

    headers = {"Authorization": f"Bearer {place.node_token}"}
    for name, devices in nodes.items():
        body = {"protocol_version": PROTOCOL_VERSION, "name": name, "devices": devices}
        answer = httpx.post(f"{place.url}/internal/v1/nodes/register", json=body, headers=headers)
        answer.raise_for_status()


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


def ask_for_pages(place: Place, token: str, job_ids: list[str], seconds: float) -> dict[str, list[float]]:
    """Ask for a job and a list, as page and as JSON, in turn, about 15 a second; return the seconds of each."""
    times: dict[str, list[float]] = {name: [] for name in PAGES}
    end = time.monotonic() + seconds
    turn = 0
    with httpx.Client(base_url=place.url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
        while time.monotonic() < end:
            for name, path in PAGES.items():
                began = time.perf_counter()
                client.get(path.format(job_id=job_ids[turn * 7 % len(job_ids)])).raise_for_status()
                times[name].append(time.perf_counter() - began)
                time.sleep(0.05)
            turn += 1
    return times


@contextmanager
def follow_live(place: Place, token: str, job_ids: list[str]) -> Iterator[None]:
    """Hold the event streams of these jobs open, as browsers that show them would."""
    head = f"HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n"
    sockets = []
    for job_id in job_ids:
        sockets.append(socket.create_connection(("127.0.0.1", place.port)))
        sockets[-1].sendall(f"GET /api/v1/jobs/{job_id}/stream {head}".encode())
    ended = threading.Event()

    def drain() -> None:
        while not ended.is_set():
            for ready in select.select(sockets, [], [], 0.5)[0] if sockets else []:
                ready.recv(1 << 16)
            ended.wait(0.2)

    draining = threading.Thread(target=drain)
    draining.start()
    try:
        yield
    finally:
        ended.set()
        draining.join()
        for one in sockets:
            one.close()


def read_points(steady_at: float, ended_at: float) -> tuple[int, list[float]]:
    """Return how many points are stored, and the delays from being made to being stored of those in steady time.

    Points of the last seconds are left out of the delays: the last report of all, which waits for nothing, sent them.
    """
    from sqlalchemy import func, select

    from backend.database import transaction
    from backend.domain.pace import LONGEST_SECONDS
    from backend.tables.job import MetricRow

    first, last = (datetime.fromtimestamp(at, UTC) for at in (steady_at, ended_at - LONGEST_SECONDS))
    with transaction() as session:
        stored = session.scalar(select(func.count()).select_from(MetricRow)) or 0
        query = select(MetricRow.at, MetricRow.noted_at).where(MetricRow.at.between(first, last))
        delays = [(noted_at - at).total_seconds() for at, noted_at in session.execute(query)]
    return stored, delays


def quantile(values: list[float], share: float) -> float:
    """Return the `share` quantile."""
    if len(values) < 2:
        return values[0] if values else float("nan")
    return statistics.quantiles(values, n=1000, method="inclusive")[min(998, round(share * 1000) - 1)]


if __name__ == "__main__":
    sys.exit(main())
