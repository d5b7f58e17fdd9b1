"""The whole platform as people start it, in a home of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend.launch.children import list_marked
from tests.conftest import find_free_port
from tests.demonstration.conftest import demonstration_home

__all__ = ["demonstration_home"]

PASSWORD = "correct horse battery"
FINISHED = ("succeeded", "failed", "cancelled")


@dataclass
class RunningPlatform:
    """A platform started by `tuneforge up`, and clients of it."""

    home: Path
    port: int
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What `tuneforge up` prints."""
        return self.home.parent / f"{self.home.name}.up.log"

    def start(self) -> float:
        """Start it and return the seconds until it was ready."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("TUNEFORGE_", "SWANLAB_"))}
        for name in ("DATABASE_URL", "REDIS_URL"):
            kept.pop(name, None)
        environment = kept | {
            "TUNEFORGE_HOME": str(self.home),
            "TUNEFORGE_PORT": str(self.port),
            "TUNEFORGE_ADMIN_PASSWORD": PASSWORD,
            **self.settings,
        }
        began = time.monotonic()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "backend.cli", "up"], env=environment, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        while not self._is_ready():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() - began < 240, self.log.read_text()
            time.sleep(0.1)
        return time.monotonic() - began

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self, number: int = signal.SIGINT) -> None:
        """Stop it as Ctrl-C does; nothing of it may be left."""
        if self.process is None:
            return
        self.process.send_signal(number)
        self.process.wait(200)
        self.process = None
        left = list_marked(self.home)
        assert not left, [process.cmdline() for process in left]

    def sign_in(self, username: str = "admin") -> httpx.Client:
        """Return a client that shows an API token of `username`, who is registered when new."""
        api = f"{self.url}/api/v1"
        credentials = {"username": username, "password": PASSWORD}
        if username != "admin":
            made = httpx.post(f"{api}/users", json=credentials, timeout=60)
            assert made.status_code in (201, 409), made.text
        answer = httpx.post(
            f"{api}/tokens", json={**credentials, "name": f"test-{time.time_ns()}"}, timeout=60
        )
        assert answer.status_code == 201, answer.text
        headers = {"Authorization": f"Bearer {answer.json()['token']}"}
        return httpx.Client(base_url=api, headers=headers, timeout=60)


def wait_for_job(client: httpx.Client, job_id: str, seconds: float = 600) -> dict[str, Any]:
    """Return the job once it has ended."""
    end = time.monotonic() + seconds
    while True:
        job: dict[str, Any] = client.get(f"/jobs/{job_id}").raise_for_status().json()
        if job["status"] in FINISHED:
            return job
        assert time.monotonic() < end, job
        time.sleep(0.5)


def wait_for_step(client: httpx.Client, job_id: str, step: int, seconds: float = 300) -> dict[str, Any]:
    """Return the job once it has trained `step` steps."""
    end = time.monotonic() + seconds
    while True:
        job: dict[str, Any] = client.get(f"/jobs/{job_id}").raise_for_status().json()
        if job["progress"]["step"] >= step:
            return job
        assert job["status"] not in FINISHED, job
        assert time.monotonic() < end, job
        time.sleep(0.3)


@pytest.fixture(scope="session")
def platform(demonstration_home: Path, session_folder: Path) -> Iterator[RunningPlatform]:
    """One platform for the tests of this folder, with the demonstration made."""
    home = session_folder / "platform"
    home.mkdir(mode=0o711)
    for name in ("models", "datasets"):
        shutil.copytree(demonstration_home / name, home / name)
    running = RunningPlatform(home, find_free_port())
    running.start()
    yield running
    running.stop()
