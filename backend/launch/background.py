"""Starting the platform detached from this terminal, and stopping it from another."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from backend.launch import children, state
from backend.launch.leftovers import stop_leftovers
from backend.launch.places import LaunchError
from backend.launch.up import NODE_PATIENCE_SECONDS
from backend.settings import Settings

Say = Callable[[str], None]


def ensure_running(settings: Settings, say: Say) -> str:
    """Return the address of the home's platform once it is ready, starting it detached if it does not run."""
    log = settings.log_dir / "up.log"
    launcher: subprocess.Popen[bytes] | None = None
    offset = 0
    if not state.is_locked(settings.home):
        launcher, offset = _start_detached(log)
    while True:
        offset = _echo(log, offset, say) if launcher is not None else offset
        current = state.find_state(settings.home)
        if current is not None and current.phase == "ready" and state.is_locked(settings.home):
            _echo(log, offset, say if launcher is not None else lambda _line: None)
            return current.address
        if launcher is not None and launcher.poll() is not None:
            _echo(log, offset, say)
            raise LaunchError(f"The platform did not start; see {log}")
        if launcher is None and not state.is_locked(settings.home):
            raise LaunchError("The platform that was running has stopped; try again.")
        time.sleep(0.1)


def stop_running(settings: Settings, say: Say) -> bool:
    """Stop the home's platform and wait until nothing of it is left; tell whether there was anything."""
    home = settings.home
    if not state.is_locked(home):
        return stop_leftovers(home, NODE_PATIENCE_SECONDS)
    current = state.find_state(home)
    if current is None or (launcher := current.launcher.find()) is None:
        raise LaunchError(f"A launcher on another machine, or one just starting, holds {home}.")
    say("Stopping: running jobs save a checkpoint first")
    launcher.send_signal(signal.SIGTERM)
    end = time.monotonic() + NODE_PATIENCE_SECONDS + 120
    while state.is_locked(home):
        if time.monotonic() > end:
            raise LaunchError(f"The launcher (pid {launcher.pid}) does not end; see {settings.log_dir}")
        time.sleep(0.1)
    return True


def _start_detached(log: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start the launcher in a session of its own, writing to a log instead of this terminal."""
    log.parent.mkdir(parents=True, exist_ok=True)
    children.turn_log(log)
    offset = log.stat().st_size if log.exists() else 0
    with log.open("ab") as file:
        launcher = subprocess.Popen(
            [sys.executable, "-P", "-m", "backend.cli", "up", "--detached"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    return launcher, offset


def _echo(log: Path, offset: int, say: Say) -> int:
    """Say the whole lines that were added to the log since `offset`; return the new one."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(offset)
        added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        for line in whole.decode(errors="replace").splitlines():
            say(line)
        return offset + len(whole)
    return offset
