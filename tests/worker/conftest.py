"""The real backend as a process, and nodes of this machine that start the fake trainer or the real one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import yaml

from backend import storage
from backend.database import transaction
from backend.domain.job import FINISHED, JobStatus
from backend.services import jobs
from backend.settings import get_settings
from backend.tables.job import Job
from backend.tables.user import User
from tests.conftest import find_free_port
from tests.factories import assign_jobs, make_user, read_job, submit_job

ROOT = Path(__file__).resolve().parents[2]
ATTEMPT_LOGS = ("supervisor/supervisor.log", "job.log")
FAKE_TRAINER = ROOT / "tests" / "worker" / "fake_trainer.py"


def wait_until(condition: Callable[[], Any], seconds: float = 30.0, what: str = "") -> Any:
    """Return the first true value of `condition`; an error after `seconds`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what or condition}")


@dataclass
class Door:
    """The web process of a test, which can be stopped and started again."""

    port: int
    log: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "uvicorn", "--port", str(self.port), "backend.app:app"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        wait_until(self._answers, 60, f"the web process; see {self.log}")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            return httpx.get(f"{self.url}/healthz", timeout=1).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        """Kill it, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def session_door(migrated_database: str, session_folder: Path) -> Iterator[Door]:
    """The web process of this test process."""
    door = Door(find_free_port(), session_folder / "web.log")
    door.start()
    yield door
    door.kill()


@pytest.fixture
def door(session_door: Door, database: None) -> Door:
    """The web process, running, on empty tables."""
    if session_door.process is None:
        session_door.start()
    return session_door


@dataclass
class Node:
    """A node process of a test."""

    name: str
    home: Path
    environment: dict[str, str] = field(repr=False)
    log: Path
    inside: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, by the command `inside` if there is one; it registers by itself."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self.inside, sys.executable, "-P", "-m", "worker.main", "node"],
                env=self.environment,
                cwd=self.home,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def end(self, number: signal.Signals, seconds: float = 60) -> None:
        """Send a signal and wait for its end."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(seconds)
        self.process = None

    def list_supervisors(self) -> list[int]:
        """Return the pids of its living supervisors."""
        from worker.roster import Roster

        entries = Roster(self.home / "run" / "nodes" / self.name).list_entries()
        return [entry.supervisor.pid for entry in entries if entry.supervisor is not None]


@pytest.fixture
def start_node(door: Door, tuneforge_home: Path, tmp_path: Path) -> Iterator[Callable[..., Node]]:
    """Starts nodes with the fake trainer, or `real=True` for LLaMA-Factory; their jobs end with the test."""
    nodes: list[Node] = []

    def start(
        name: str = "node-1", *, real: bool = False, inside: tuple[str, ...] = (), **variables: str
    ) -> Node:
        environment = {key: value for key, value in os.environ.items() if "_URL" not in key} | {
            "TUNEFORGE_HOME": str(tuneforge_home),
            "TUNEFORGE_SERVER_URL": door.url,
            "TUNEFORGE_NODE_TOKEN": get_settings().node_token,
            "TUNEFORGE_NODE_NAME": name,
            "TUNEFORGE_DEMONSTRATION": "off",
            "OMP_NUM_THREADS": "1",
        }
        if not real:
            environment["TUNEFORGE_RUN_COMMAND"] = f"{sys.executable} {FAKE_TRAINER}"
        node = Node(name, tuneforge_home, environment | variables, tmp_path / f"{name}.log", inside)
        node.start()
        nodes.append(node)
        return node

    yield start
    for node in nodes:
        for pid in node.list_supervisors():
            psutil.Process(pid).kill()
        if node.process is not None:
            node.end(signal.SIGKILL)
        print(f"--- {node.name} ---\n{node.log.read_text()[-4000:]}")
    for process in list_job_processes():
        process.kill()


def list_job_processes() -> list[psutil.Process]:
    """Return every living process of any attempt of this test process's home; other platforms may run beside."""
    jobs_folder = f"{get_settings().jobs_dir}/"
    found = []
    for process in psutil.process_iter():
        try:
            is_alive = process.status() != psutil.STATUS_ZOMBIE
            if (
                is_alive
                and "TUNEFORGE_ATTEMPT" in process.environ()
                and process.cwd().startswith(jobs_folder)
            ):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def submit_fake(tuneforge_home: Path, door: Door) -> Callable[..., str]:
    """Queues a job of the fake trainer: `submit_fake(steps=20, at=3, do="kill")`; returns its id."""
    (tuneforge_home / "models" / "tiny").mkdir(parents=True, exist_ok=True)
    owner_id = make_user("ann")

    def submit(gpu_count: int = 1, **fake: Any) -> str:
        config = yaml.safe_dump({"fake": fake})
        return submit_job(owner_id, config_yaml=config, gpu_count=gpu_count)

    return submit


def run_until(
    job_id: str, condition: Callable[[Job], bool], seconds: float = 60, *, assigning: bool = True
) -> Job:
    """Play the housekeeper until `condition` holds for the job; return the job."""

    def look() -> Job | None:
        if assigning:
            assign_jobs()
        job = read_job(job_id)
        return job if condition(job) else None

    try:
        found: Job = wait_until(look, seconds)
        return found
    except AssertionError as error:
        raise AssertionError(f"{error}\n{describe_job(job_id)}") from None


def run_to_end(job_id: str, seconds: float = 60) -> Job:
    """Play the housekeeper until the job is finished; return it."""
    return run_until(job_id, lambda job: JobStatus(job.status) in FINISHED, seconds)


def count_steps(ledger: Path) -> Counter[int]:
    """Return how often each step was made, by the trainers' own account."""
    return Counter(int(line.split()[1]) for line in ledger.read_text().splitlines())


def list_curve(job_id: str) -> list[int]:
    """Return the steps of the job's curve."""
    with transaction() as session:
        return [point.step for point in jobs.list_points(session, job_id, -1)]


def is_at_step(step: int) -> Callable[[Job], bool]:
    """Return the condition that a job runs and has made a step."""
    return lambda job: job.status == JobStatus.RUNNING and job.step >= step


def ask_to_stop(job_id: str) -> None:
    """Stop as the owner does by the API."""
    with transaction() as session:
        job = session.get_one(Job, job_id)
        jobs.stop(session, session.get_one(User, job.owner_id), job_id)


def resume(job_id: str) -> None:
    """Resume as the owner does by the API."""
    with transaction() as session:
        job = session.get_one(Job, job_id)
        jobs.resume(session, session.get_one(User, job.owner_id), job_id)


def describe_job(job_id: str) -> str:
    """Return what there is to know of a job that did not do as it should."""
    job = read_job(job_id)
    folder = storage.get_attempt_folder(job_id, job.attempt)
    parts = [
        f"status {job.status}, attempt {job.attempt}, phase {job.phase}, step {job.step}, error {job.error}"
    ]
    further = [f"nodes/{path.name}/{name}" for path in folder.glob("nodes/*") for name in ATTEMPT_LOGS]
    for name in (*ATTEMPT_LOGS, *further):
        path = folder / name
        parts.append(
            f"--- {name} ---\n{path.read_text(errors='replace')[-3000:] if path.exists() else 'none'}"
        )
    return "\n".join(parts)
