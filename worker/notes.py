"""The files by which a run and its supervisor speak: a wish to stop, and the run's notes about its steps."""

from __future__ import annotations

from pathlib import Path

STOP_FILE = "stop"
"""Appears in the attempt's folder when the run shall stop; it holds the reason."""
STOPPED_FILE = "stopped"
"""Written by the run once it stopped on request; it holds the step of its last checkpoint."""
NOTES_FILE = "notes.jsonl"
"""One JSON object a line: `{"step", "seconds", "memory", "at"}` for each step, and events."""
RUN_FILES = (STOP_FILE, STOPPED_FILE, NOTES_FILE)


def read_stopped_step(folder: Path) -> int | None:
    """Return the step at which the run stopped on request, or None when it did not."""
    try:
        return int((folder / STOPPED_FILE).read_text())
    except (OSError, ValueError):
        return None
