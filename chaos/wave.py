"""One fault and the jobs it meets: they are submitted, broken into, waited for, and counted."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from chaos import tally
from chaos.client import FINISHED, Client, Json, Refused
from chaos.ledger import Entry, Ledger
from chaos.platform import Platform, wait_until
from chaos.tally import Tally
from chaos.trainer import REAL_STEP_SECONDS, STAND_IN, STEP_SECONDS

SAVE_STEPS = 10
_MET_STEP = 3
_START_SECONDS = 240.0
_END_SECONDS = 420.0
_SLOW_SECONDS = 60.0
_MOST_STEPS = 300


@dataclass(frozen=True)
class Submitted:
    """One job as it was asked for."""

    id: str
    name: str
    steps: int
    is_real: bool


@dataclass(frozen=True)
class Fault:
    """What is done to the platform while a wave's jobs run.

    `span_seconds` is about how long the wave's jobs train. `is_graceful` says that runs are asked to stop, so
    that no step may be made again. `fence_seconds` asks for a platform with that fence.
    """

    name: str
    strike: Callable[[Wave], None]
    span_seconds: float = 8.0
    is_graceful: bool = False
    tier: str = "express"
    fence_seconds: int = 300
    needs_room: bool = False


@dataclass
class Wave:
    """The jobs of one fault."""

    fault: Fault
    number: int
    platform: Platform
    client: Client
    ledger: Ledger
    random: random.Random
    say: Callable[[str], None]
    jobs: list[Submitted] = field(default_factory=list)
    wrongly_told: list[str] = field(default_factory=list)
    # Jobs are also submitted beside the fault, by another thread.
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def run(self, stand_ins: int, reals: int, late: int) -> Tally:
        """Submit, strike, wait and count; `late` jobs are submitted while the fault lasts."""
        began = time.monotonic()
        for _ in range(reals):
            self.submit(is_real=True)
        self._wait_until_training(reals)
        for _ in range(stand_ins):
            self.submit()
        self._wait_until_training(reals + max(1, stand_ins // 3))
        time.sleep(self.random.uniform(0, 1))
        struck = time.monotonic()
        with ThreadPoolExecutor(1) as beside:
            submitting = beside.submit(self._submit_late, late)
            self.fault.strike(self)
            submitting.result()
        self.say(
            f"{self.fault.name}: struck after {struck - began:.0f} s, for {time.monotonic() - struck:.0f} s"
        )
        self.wait_for_all()
        return self._count(time.monotonic() - began)

    def submit(
        self, *, is_real: bool = False, tier: str | None = None, steps: int | None = None
    ) -> Submitted:
        """Submit a job."""
        pace = REAL_STEP_SECONDS + 0.04 if is_real else STEP_SECONDS
        span = self.fault.span_seconds * (1.3 if is_real else self.random.uniform(0.4, 1.2))
        steps = steps or min(_MOST_STEPS, max(2 * SAVE_STEPS, int(span / pace)))
        name = f"chaos {self.number:02} {next(self._numbers):02} of {self.fault.name}"
        body: Json = {
            "name": name,
            "kind": "train",
            "model": "tiny" if is_real else STAND_IN,
            "datasets": ["counting"],
            "tier": tier or self.fault.tier,
            "args": {"max_steps": steps, "save_steps": SAVE_STEPS, "logging_steps": 1, "plot_loss": False}
            | {"cutoff_len": 64, "per_device_train_batch_size": 1, "dataloader_num_workers": 0},
        }
        job = Submitted(self.client.submit(body), name, steps, is_real)
        self.jobs.append(job)
        return job

    def _submit_late(self, count: int) -> None:
        for _ in range(count):
            time.sleep(0.3)
            self.submit()

    # -- looking at them -----------------------------------------------------------------------------------

    def list_training(self) -> list[Submitted]:
        """Return the jobs that train now, by the trainers' own account."""
        self.ledger.look()
        return [job for job in self.jobs if self.ledger.is_training(job.id, _MET_STEP)]

    def _wait_until_training(self, count: int) -> None:
        if count:
            wait_until(lambda: len(self.list_training()) >= count, _START_SECONDS, f"{count} jobs to train")

    def list_unfinished(self) -> list[Json]:
        """Return what the platform shows of this wave's jobs that have not ended."""
        shown = self.client.list_jobs(f"chaos {self.number:02} ")
        return [job for job in shown if job["status"] not in FINISHED]

    def wait_for_all(self) -> None:
        """Wait until every job has ended; what has not by then is counted as lost."""
        began = time.monotonic()
        last: list[Json] = []
        while (unfinished := self.list_unfinished()) and time.monotonic() - began < _END_SECONDS:
            last = unfinished
            time.sleep(0.5)
        if last and time.monotonic() - began > _SLOW_SECONDS:
            moves = self.client.list_moves(last[0]["id"])
            self.say(f"slow: {last[0]['id']}: {moves}")

    def wait_for_end(self, job: Submitted, seconds: float = 120) -> Json:
        """Return a job once it has ended."""
        wait_until(
            lambda: self.client.get_job(job.id)["status"] in FINISHED, seconds, f"the end of {job.name}"
        )
        return self.client.get_job(job.id)

    # -- counting ------------------------------------------------------------------------------------------

    def _count(self, seconds: float) -> Tally:
        self.ledger.look()
        entries = tally.group_by_job(self.ledger.entries)
        shown: dict[str, list[Json]] = {}
        for job in self.client.list_jobs(f"chaos {self.number:02} "):
            shown.setdefault(job["name"], []).append(job)
        total = Tally(problems=list(self.wrongly_told))
        total.lost += len(self.wrongly_told)
        for submitted in self.jobs:
            total.add(
                self._count_job(submitted, entries.get(submitted.id, []), shown.get(submitted.name, []))
            )
        if self.fault.is_graceful and total.steps_repeated:
            total.steps_repeated_after_graceful_stop = total.steps_repeated
        self.say(f"{self.fault.name}: {len(self.jobs)} jobs in {seconds:.0f} s")
        return total

    def _count_job(self, job: Submitted, entries: list[Entry], shown: list[Json]) -> Tally:
        count = Tally(jobs=1)
        missing = tally.list_missing_steps(entries, job.steps)
        statuses = [each["status"] for each in shown]
        if missing or statuses != ["succeeded"]:
            count.lost = 1
            reasons = [(each["end_reason"], each["error"]) for each in shown]
            count.problems.append(
                f"{job.id} lost: shown {statuses} {reasons}, steps never made {missing[:5]}"
            )
        else:
            count.finished = 1
        overlap = tally.find_overlap(entries)
        if overlap or tally.count_last_steps(entries, job.steps) > 1 or len(shown) > 1:
            count.twice = 1
            count.problems.append(f"{job.id} twice: {overlap}, shown {len(shown)} times")
        count.steps_repeated = tally.count_repeated_steps(entries)
        if count.steps_repeated and self.fault.is_graceful:
            runs = [(entry.run, entry.event, entry.step) for entry in entries if entry.event != "step"]
            count.problems.append(f"{job.id} repeated {count.steps_repeated} steps: {runs}")
        count.log_bytes_missing = self._count_missing_log(job, count.problems)
        try:
            points = len(set(range(1, job.steps + 1)) - self.client.list_steps(job.id))
        except Refused:
            points = job.steps
        if points:
            count.points_missing = points
            count.problems.append(f"{job.id}: its curve lacks {points} of {job.steps} points")
        return count

    def _count_missing_log(self, job: Submitted, problems: list[str]) -> int:
        written = self.ledger.read_outputs(job.id)
        attempts = self.platform.see(self.platform.home / "jobs" / job.id / "attempts")
        numbers = sorted(int(path.name) for path in attempts.iterdir()) if attempts.is_dir() else []
        logs = [attempts / str(number) / "job.log" for number in numbers]
        in_files = b"".join(log.read_bytes() for log in logs if log.exists())
        try:
            in_api = self.client.read_log(job.id)
        except Refused as error:
            problems.append(f"{job.id}: its log cannot be read: {error}")
            in_api = b""
        by_file, by_api = (tally.count_missing_bytes(written, found) for found in (in_files, in_api))
        if by_file or by_api:
            problems.append(f"{job.id}: its log's files lack {by_file} bytes, the API's {by_api}")
        return max(by_file, by_api)
