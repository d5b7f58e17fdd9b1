"""What a killed launcher left running: cleared before a start, and stopped in order by `tuneforge down`."""

from __future__ import annotations

import signal
from pathlib import Path

from backend.launch import children, state

_ORDER = ("node", "librarian", "housekeeper", "web", "redis", "postgres")


def clear_leftovers(home: Path) -> None:
    """End the last launcher's processes, but no job: the node started next adopts those that still run."""
    last = state.find_state(home)
    if last is None:
        return
    for name in _ORDER:
        mark = last.children.get(name)
        if mark is not None and name not in ("redis", "postgres"):
            children.end_process(mark, signal.SIGKILL, 5)
        elif mark is not None:
            _end_service(name, mark)
    state.remove_state(home)


def stop_leftovers(home: Path, node_patience_seconds: float) -> bool:
    """Stop all that a dead launcher left, jobs with a checkpoint; tell whether there was anything."""
    last = state.find_state(home)
    found = bool(children.list_marked(home))
    for name in _ORDER:
        mark = None if last is None else last.children.get(name)
        if mark is None:
            continue
        found = found or mark.find() is not None
        if name in ("redis", "postgres"):
            _end_service(name, mark)
        else:
            children.end_process(mark, signal.SIGTERM, node_patience_seconds if name == "node" else 15)
    children.kill_processes(children.list_marked(home))
    state.remove_state(home)
    return found


def _end_service(name: str, mark: children.ProcessMark) -> None:
    """Stop a database as it wishes to be stopped: PostgreSQL's fast shutdown is SIGINT."""
    children.end_process(mark, signal.SIGINT if name == "postgres" else signal.SIGTERM, 30)
