"""What trainers themselves say they did: one file outside the platform, from which everything is counted."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Event = Literal["begin", "step", "stopped", "done"]


@dataclass(frozen=True)
class Entry:
    """One thing that a trainer did.

    `begin` says at which step it goes on (0: from nothing), `step` that it made a step, `stopped` that it saved
    that step because it was asked to stop, `done` that it made the job's last step. `at` is in seconds since boot.
    """

    job: str
    attempt: int
    process: int
    event: Event
    step: int
    at: float

    @property
    def run(self) -> tuple[str, int, int]:
        """What tells the runs of a job apart: an attempt that was started twice has two processes."""
        return self.job, self.attempt, self.process


class Pen:
    """Writes the entries of one run, and a copy of all that the run's log took of its output."""

    def __init__(self, folder: Path, mark: str) -> None:
        self.job, _, attempt = mark.rpartition(".")
        self.attempt = int(attempt)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._ledger = os.open(folder / "ledger.jsonl", flags, 0o644)
        (folder / "output").mkdir(exist_ok=True)
        self._copy = os.open(folder / "output" / f"{mark}.{os.getpid()}", flags, 0o644)

    def note(self, event: Event, step: int) -> None:
        """Append an entry; one write, so that entries of runs beside each other do not mix."""
        entry = Entry(
            self.job, self.attempt, os.getpid(), event, step, time.clock_gettime(time.CLOCK_BOOTTIME)
        )
        os.write(self._ledger, json.dumps(asdict(entry)).encode() + b"\n")

    def say(self, text: str) -> None:
        """Write to the run's log first and then to the copy, as much as the log had room for."""
        data = text.encode()
        try:
            taken = os.write(1, data)
        except OSError:  # a full disk: a run must not be lost to a line of its log
            return
        os.write(self._copy, data[:taken])


class Ledger:
    """Reads what the trainers wrote; their folder lies outside the platform's home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._offset = 0
        self.entries: list[Entry] = []
        self._last_steps: dict[str, int] = defaultdict(int)
        self._done: set[str] = set()

    def look(self) -> None:
        """Read what is new."""
        try:
            with (self.folder / "ledger.jsonl").open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for entry in parse_entries(whole):
            self.entries.append(entry)
            self._last_steps[entry.job] = max(self._last_steps[entry.job], entry.step)
            if entry.event == "done":
                self._done.add(entry.job)

    def is_training(self, job: str, step: int) -> bool:
        """Whether the job has made `step` steps and not yet its last."""
        return self._last_steps[job] >= step and job not in self._done

    def read_outputs(self, job: str) -> list[bytes]:
        """Return what the job's runs wrote into their logs, in the order in which they began."""
        runs: dict[tuple[str, int, int], None] = {}
        for entry in self.entries:
            if entry.job == job:
                runs.setdefault(entry.run)
        paths = [self.folder / "output" / f"{name}.{attempt}.{process}" for name, attempt, process in runs]
        return [path.read_bytes() for path in paths if path.exists()]


def parse_entries(data: bytes) -> list[Entry]:
    """Return the entries of whole lines."""
    return [Entry(**json.loads(line)) for line in data.splitlines()]
