"""A running platform on this machine, as the benchmarks speak to it: signed in as its administrator, by the REST API."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

_FINISHED = {"succeeded", "failed", "cancelled"}


class LocalPlatform(NamedTuple):
    """A client of the REST API (`/jobs`, …), and the platform's home."""

    client: httpx.Client
    home: Path


@contextmanager
def open_platform(description: str) -> Iterator[LocalPlatform]:
    """Read `--url` and `--home` from the command line and sign in there."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--home", type=Path, default=Path(".tuneforge"))
    options = parser.parse_args()
    with httpx.Client(base_url=f"{options.url}/api/v1", timeout=60) as client:
        sign_in(client, options.home)
        yield LocalPlatform(client, options.home)


def sign_in(client: httpx.Client, home: Path) -> None:
    """Have the client speak as the administrator of the platform whose home this is."""
    client.headers["Authorization"] = f"Bearer {_make_token(client, home)}"


def _make_token(client: httpx.Client, home: Path) -> str:
    password = os.environ.get("TUNEFORGE_ADMIN_PASSWORD") or (
        (home / "secrets" / "admin_password").read_text().strip()
    )
    body = {"username": "admin", "password": password, "name": f"benchmark-{time.time_ns()}"}
    return str(client.post("/tokens", json=body).raise_for_status().json()["token"])


def run_job(client: httpx.Client, body: dict[str, Any]) -> dict[str, Any]:
    """Submit a job and return it once it has succeeded."""
    job = client.post("/jobs", json=body).raise_for_status().json()
    job = wait_until(client, job["id"], lambda now: now["status"] in _FINISHED)
    if job["status"] != "succeeded":
        sys.exit(f"{job['name']} ended as {job['status']}: {job['error']}")
    return job


def wait_until(
    client: httpx.Client, job_id: str, is_so: Callable[[dict[str, Any]], object]
) -> dict[str, Any]:
    """Return a job as soon as `is_so` says so of it."""
    while True:
        job: dict[str, Any] = client.get(f"/jobs/{job_id}").raise_for_status().json()
        if is_so(job):
            return job
        time.sleep(0.5)
