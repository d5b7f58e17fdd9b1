"""Processes told apart from later ones of the same pid, and all processes of one attempt, wherever they went."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Container, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

ATTEMPT_MARK = "TUNEFORGE_ATTEMPT"
"""Set in the environment of all that a run starts: ranks of torchrun have sessions of their own."""

_PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessMark:
    """A process by its pid, its start (clock ticks since boot) and the machine's boot."""

    pid: int
    start_ticks: int
    boot_id: str

    @property
    def is_alive(self) -> bool:
        """Whether this very process still runs; a zombie is dead."""
        if self.boot_id != read_boot_id():
            return False
        stat = _read_stat(self.pid)
        return stat is not None and stat == (self.start_ticks, True)

    def to_json(self) -> dict[str, Any]:
        """Return its fields as JSON values."""
        return asdict(self)


def parse_mark(value: Any) -> ProcessMark | None:
    """Return the mark that `to_json` wrote, or None for anything else."""
    try:
        return ProcessMark(int(value["pid"]), int(value["start_ticks"]), str(value["boot_id"]))
    except (KeyError, TypeError, ValueError):
        return None


def read_mark(pid: int) -> ProcessMark | None:
    """Return the mark of a running process, or None when there is none."""
    stat = _read_stat(pid)
    return ProcessMark(pid, stat[0], read_boot_id()) if stat is not None else None


def read_own_mark() -> ProcessMark:
    """Return the mark of this process."""
    mark = read_mark(os.getpid())
    assert mark is not None
    return mark


@lru_cache(maxsize=1)
def read_boot_id() -> str:
    """Return the kernel's identifier of this boot."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def _read_stat(pid: int) -> tuple[int, bool] | None:
    """Return (start in ticks, whether it runs) of a process."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return int(fields[19]), fields[0] not in "ZX"


def build_attempt_mark(job_id: str, attempt: int, node_rank: int = 0) -> str:
    """Return the value of `TUNEFORGE_ATTEMPT` for an attempt, or for its part on a further node."""
    return f"{job_id}.{attempt}.{node_rank}" if node_rank else f"{job_id}.{attempt}"


def list_attempt_processes(mark: str) -> list[int]:
    """Return the pids of all living processes that carry the attempt's mark."""
    return [pid for pid, found in list_marked_processes() if found == mark]


def list_marked_processes() -> Iterator[tuple[int, str]]:
    """Yield (pid, mark) of every living process of any attempt."""
    beginning = f"{ATTEMPT_MARK}=".encode()
    for entry in os.scandir(_PROC):
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            environment = (_PROC / entry.name / "environ").read_bytes()
            for variable in environment.split(b"\0"):
                stat = _read_stat(int(entry.name)) if variable.startswith(beginning) else None
                if stat is not None and stat[1]:
                    yield int(entry.name), variable.removeprefix(beginning).decode(errors="replace")


def end_orphans(jobs_folder: Path, known: Container[str]) -> set[str]:
    """Kill what works inside `jobs_folder` for attempts that are not `known`; return their marks.

    Only what works there: another platform on this machine has attempts of its own.
    """
    orphans = set()
    for pid, mark in list_marked_processes():
        with contextlib.suppress(OSError):
            is_here = Path(os.readlink(_PROC / str(pid) / "cwd")).is_relative_to(jobs_folder.resolve())
            if is_here and mark not in known:
                orphans.add(mark)
    for mark in orphans:
        kill_attempt(mark)
    return orphans


def kill_attempt(mark: str, patience_seconds: float = 15.0) -> list[int]:
    """Kill every process of the attempt; return the pids that are still there after the patience.

    Looked for again and again, as a process may fork while it is being killed.
    """
    end = time.monotonic() + patience_seconds
    while True:
        pids = list_attempt_processes(mark)
        if not pids or time.monotonic() > end:
            return pids
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
