"""Child processes of the launcher: each in a session of its own, logged, started again, and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

MARK = "TUNEFORGE_LAUNCHED_HOME"
"""Set in the environment of everything the launcher starts, so that whatever is left can be found by it."""

_LOG_LIMIT_BYTES = 16 * 1024 * 1024
_STEADY_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 30.0


@dataclass(frozen=True)
class ProcessMark:
    """A process, told apart from a later one that was given the same pid."""

    pid: int
    started: float

    def find(self) -> psutil.Process | None:
        """Return the process if it still runs; a zombie counts as dead."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            is_same = abs(process.create_time() - self.started) < 1
            if is_same and process.status() != psutil.STATUS_ZOMBIE:
                return process
        return None


def read_mark(pid: int) -> ProcessMark:
    """Return the mark of a running process."""
    return ProcessMark(pid, psutil.Process(pid).create_time())


@dataclass
class Child:
    """One program that is kept running; `pause_seconds` grows while it dies soon after its start."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(repr=False)
    log: Path
    folder: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    started_at: float = field(default=0.0, init=False)
    pause_seconds: float = field(default=1.0, init=False)
    deaths: int = field(default=0, init=False)

    def start(self) -> None:
        """Start the program in a session of its own, so that a Ctrl-C in the terminal does not reach it."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        turn_log(self.log)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                list(self.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.folder,
                env=dict(self.environment),
            )
        self.started_at = time.monotonic()

    def poll(self) -> int | None:
        """Return the exit code once the program has ended."""
        return None if self.process is None else self.process.poll()

    def plan_restart(self) -> float:
        """Return how long to wait before a new start: doubled each time, forgotten after a steady while."""
        if time.monotonic() - self.started_at > _STEADY_SECONDS:
            self.pause_seconds, self.deaths = 1.0, 0
        self.deaths += 1
        pause = self.pause_seconds
        self.pause_seconds = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        return pause

    def end_group(self) -> None:
        """Kill what is left of the program's own process group, such as the pool of a dead Celery worker."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def stop(self, patience_seconds: float, is_hurried: Callable[[], bool]) -> bool:
        """Ask the program to end, wait, and kill its group; tell whether it ended by itself."""
        if self.process is None:
            return True
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + patience_seconds
        while self.process.poll() is None and time.monotonic() < end and not is_hurried():
            time.sleep(0.05)
        ended_itself = self.process.poll() is not None
        self.end_group()
        self.process.wait(10)
        return ended_itself


def turn_log(log: Path) -> None:
    """Put a log that has grown long aside, keeping one older."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_LIMIT_BYTES:
            log.replace(log.with_name(log.name + ".1"))


def read_end(path: Path, size: int = 2000) -> str:
    """Return the last lines of a log, whole ones only."""
    try:
        content = path.read_bytes()[-size:].decode(errors="replace")
    except OSError:
        return ""
    return content.split("\n", 1)[-1].strip() if len(content) >= size else content.strip()


def list_marked(home: Path, spared: Iterable[int] = ()) -> list[psutil.Process]:
    """Return the running processes started for `home`: by our mark, or as a job working inside it."""
    jobs = f"{home}/jobs/"
    left_alone = {os.getpid(), *spared}
    found = []
    for process in psutil.process_iter():
        if process.pid in left_alone:
            continue
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            is_job = "TUNEFORGE_ATTEMPT" in environment and f"{process.cwd()}/".startswith(jobs)
            is_ours = environment.get(MARK) == str(home) or is_job
            if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def kill_processes(processes: Iterable[psutil.Process]) -> None:
    """Kill these processes, the oldest first: a supervisor must not see, and report, its job's end."""
    doomed = sorted(processes, key=_read_start)
    for process in doomed:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(doomed, timeout=5)


def end_process(mark: ProcessMark, number: signal.Signals, patience_seconds: float) -> None:
    """Send a signal to a process that may not be our child, wait, and kill its whole group."""
    process = mark.find()
    if process is None:
        return
    with contextlib.suppress(psutil.Error):
        process.send_signal(number)
    end = time.monotonic() + patience_seconds
    while mark.find() is not None and time.monotonic() < end:
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(mark.pid, signal.SIGKILL)


def _read_start(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.Error):
        return process.create_time()
    return 0.0


def list_family(pid: int) -> list[int]:
    """Return the pids of a process and of all that descend from it."""
    with contextlib.suppress(psutil.Error):
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    return [pid]
