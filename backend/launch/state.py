"""What the running launcher tells others under the home: one lock, one small file, one address."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from backend.launch.children import ProcessMark


@dataclass
class State:
    """The launcher as others see it; `phase` is starting, ready or stopping."""

    launcher: ProcessMark
    address: str
    phase: str = "starting"
    children: dict[str, ProcessMark] = field(default_factory=dict)


class AlreadyRunning(Exception):
    """Another launcher holds this home."""


def take_lock(home: Path) -> int:
    """Take the home for this process until it ends; return the descriptor, or raise AlreadyRunning."""
    path = home / "run" / "launcher.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AlreadyRunning(str(home)) from None
    return descriptor


def is_locked(home: Path) -> bool:
    """Tell whether a launcher holds this home now."""
    if not (home / "run" / "launcher.lock").exists():
        return False
    try:
        os.close(take_lock(home))
    except AlreadyRunning:
        return True
    return False


def write_state(home: Path, state: State) -> None:
    """Write the file, whole or not at all."""
    path = home / "run" / "platform.json"
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(state), indent=1) + "\n")
    draft.replace(path)


def find_state(home: Path) -> State | None:
    """Return what the last launcher wrote, whether or not it still runs."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        value = json.loads((home / "run" / "platform.json").read_text())
        return State(
            launcher=_build_mark(value["launcher"]),
            address=str(value["address"]),
            phase=str(value["phase"]),
            children={str(name): _build_mark(mark) for name, mark in value["children"].items()},
        )
    return None


def remove_state(home: Path) -> None:
    """Forget the last launcher."""
    (home / "run" / "platform.json").unlink(missing_ok=True)


def _build_mark(value: Mapping[str, float]) -> ProcessMark:
    return ProcessMark(int(value["pid"]), float(value["started"]))
