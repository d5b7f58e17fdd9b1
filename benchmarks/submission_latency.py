"""From the 201 of a submission to the start of the job's program on an idle node, and where the time goes.

Starts a platform of its own (`tuneforge up`: PostgreSQL, Redis, web, housekeeper, node) whose node runs a stand-in
for LLaMA-Factory that writes down when it was started. Submits jobs one after the other through the REST API and
prints the quantiles of each stretch in milliseconds and, last, one JSON object. Exit code 1 above the limits.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from backend.launch.places import choose_port
from tests.factories import make_dataset, make_model

PASSWORD = "benchmark-password"  # noqa: S105 (of a platform that lives for minutes on loopback)
LIMIT_P50_MS, LIMIT_P95_MS = 150.0, 400.0
STRETCHES = {
    "assign": "201 → assigned (housekeeper)",
    "claim": "assigned → claimed (node, supervisor)",
    "launch": "claimed → launched (folder, wrapper)",
    "exec": "launched → program runs",
    "total": "201 → program runs",
}


def main() -> int:
    """Submit jobs, measure each, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=60)
    options = parser.parse_args()
    with start_platform() as (client, home):
        measured = [measure(client, home) for _ in range(options.jobs + 3)][3:]  # the first ones warm caches
    load = round(os.getloadavg()[0], 1)
    result: dict[str, Any] = {"jobs": len(measured), "load_average": load}
    print(f"Load average of the machine over a minute, all else that runs on it included: {load}")
    print(f"{'':42}{'p50':>8}{'p95':>8}{'max':>8}  ms")
    for name, text in STRETCHES.items():
        values = sorted(1000 * times[name] for times in measured)
        p95 = statistics.quantiles(values, n=20, method="inclusive")[-1]
        result[name] = {"p50_ms": round(statistics.median(values), 1), "p95_ms": round(p95, 1)}
        print(f"{text:42}{statistics.median(values):8.0f}{p95:8.0f}{values[-1]:8.0f}")
    print(json.dumps(result))
    total = result["total"]
    return 0 if total["p50_ms"] <= LIMIT_P50_MS and total["p95_ms"] <= LIMIT_P95_MS else 1


@contextmanager
def start_platform() -> Iterator[tuple[httpx.Client, Path]]:
    """Give a client of a platform whose runs only note their start, and its home."""
    with tempfile.TemporaryDirectory(prefix="tuneforge-benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        home = folder / "home"
        make_model(home)
        make_dataset(home)
        home.chmod(0o711)
        program = shlex.join(
            ["sh", "-c", "date +%s.%N > started; echo '{\"train_loss\": 1}' > output/all_results.json"]
        )
        port = choose_port(folder / "port")
        environment = os.environ | {
            "TUNEFORGE_HOME": str(home),
            "TUNEFORGE_PORT": str(port),
            "TUNEFORGE_ADMIN_PASSWORD": PASSWORD,
            "TUNEFORGE_RUN_COMMAND": program,
            "TUNEFORGE_DEMONSTRATION": "off",
        }
        with (folder / "up.log").open("wb") as log:
            platform = subprocess.Popen(
                [sys.executable, "-m", "backend.cli", "up"], env=environment, stdout=log, stderr=log
            )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=30) as client:
                sign_in(client)
                yield client, home
        finally:
            platform.send_signal(signal.SIGINT)
            platform.wait()


def sign_in(client: httpx.Client) -> None:
    """Wait until the platform's node is online, and show a token from then on."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            if "Authorization" not in client.headers:
                body = {"username": "admin", "password": PASSWORD, "name": "benchmark"}
                token = client.post("/tokens", json=body).raise_for_status().json()["token"]
                client.headers["Authorization"] = f"Bearer {token}"
            has_model = client.get("/models").json()["data"]
            if has_model and client.get("/resources").json()["nodes_online"]:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise TimeoutError("the platform did not start")


def measure(client: httpx.Client, home: Path) -> dict[str, float]:
    """Submit one job and return the seconds of each stretch."""
    body = {
        "kind": "train",
        "model": "tiny",
        "datasets": ["talks"],
        "stage": "sft",
        "finetuning_type": "lora",
    }
    answer = client.post("/jobs", json=body)
    accepted_at = time.time()
    answer.raise_for_status()
    job_id = answer.json()["id"]
    while (job := client.get(f"/jobs/{job_id}").json())["status"] not in ("succeeded", "failed", "cancelled"):
        time.sleep(0.1)
    attempt = home / "jobs" / job_id / "attempts" / "1"
    if job["status"] != "succeeded":
        raise RuntimeError(f"{job['error']}\n{(attempt / 'job.log').read_text()}")
    moves = {
        event["new"]: parse_time(event["at"]) for event in client.get(f"/jobs/{job_id}/events").json()["data"]
    }
    [record] = attempt.rglob("process.json")
    launched_at = float(json.loads(record.read_text())["launched_at"])
    started_at = float((attempt / "started").read_text())
    return {
        "assign": moves["assigned"] - accepted_at,
        "claim": moves["running"] - moves["assigned"],
        "launch": launched_at - moves["running"],
        "exec": started_at - launched_at,
        "total": started_at - accepted_at,
    }


def parse_time(text: str) -> float:
    """Return seconds since 1970."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


if __name__ == "__main__":
    sys.exit(main())
