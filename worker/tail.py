"""Follows what a run writes while it runs: metric points, its own pace, its phase and its log."""

from __future__ import annotations

import json
import re
import statistics
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backend.domain.protocol import MetricPoint, Phase
from worker.notes import NOTES_FILE

_MAX_READ_BYTES = 1 << 20
_PACE_STEPS = 50
_VALUES = {
    "loss": "loss",
    "eval_loss": "eval_loss",
    "lr": "learning_rate",
    "grad_norm": "grad_norm",
    "tokens_per_second": "tokens_per_second",
}


class LineTail:
    """Yields the complete lines that a growing file has gained; begins again when it was cut short."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def read(self) -> Iterator[bytes]:
        """Yield new lines, without their ends; a line still being written waits for the next call."""
        try:
            with self._path.open("rb") as file:
                if file.seek(0, 2) < self._offset:
                    self._offset = 0
                file.seek(self._offset)
                while chunk := file.read(_MAX_READ_BYTES):
                    whole = chunk[: chunk.rfind(b"\n") + 1]
                    if not whole:
                        if len(chunk) < _MAX_READ_BYTES:
                            return
                        whole = chunk  # a line of a mebibyte is none of ours: passed over
                    self._offset += len(whole)
                    file.seek(self._offset)
                    yield from whole.splitlines()
        except OSError:
            return

    def read_objects(self) -> Iterator[dict[str, Any]]:
        """Yield the new lines that are JSON objects."""
        for line in self.read():
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict):
                yield found


class MetricsTail:
    """Follows `trainer_log.jsonl` and the run's notes.

    LLaMA-Factory's file has no time, no gradient norm and, after a resume, wrong rates: times and rates are
    taken from our notes. It may repeat steps; the backend keeps the last.
    """

    def __init__(self, folder: Path) -> None:
        self._log = LineTail(folder / "output" / "trainer_log.jsonl")
        self._notes = LineTail(folder / NOTES_FILE)
        self._times: dict[int, float] = {}
        self._seconds: list[float] = []
        self._pace: deque[tuple[int, float]] = deque(maxlen=_PACE_STEPS)
        self.step = 0
        self.first_step: int | None = None
        self.train_began_at: float | None = None
        self.total_steps: int | None = None
        self.peak_memory_bytes: int | None = None
        self.events: list[str] = []

    def poll(self, now: datetime) -> list[MetricPoint]:
        """Return the points that are new; `events` holds the kinds of the notes that came with them."""
        self.events = []
        points = [point for note in self._notes.read_objects() if (point := self._take_note(note))]
        for line in self._log.read_objects():
            point = self._take_line(line, now)
            if point is not None:
                points.append(point)
        return points

    @property
    def steps_made(self) -> int:
        """How many steps this attempt has made."""
        return max(0, self.step - (self.first_step or 0))

    @property
    def step_seconds_median(self) -> float | None:
        """The median time of a step; the first is left out, as it warms caches up."""
        measured = self._seconds[1:] or self._seconds
        return statistics.median(measured) if measured else None

    def estimate_eta(self) -> float | None:
        """Return the seconds until the last step at the pace of the last steps, pauses between them included."""
        if self.total_steps is None or len(self._pace) < 2:
            return None
        (first, began), (last, ended) = self._pace[0], self._pace[-1]
        if last <= first or ended <= began:
            return None
        return max(0.0, (self.total_steps - last) * (ended - began) / (last - first))

    def _take_note(self, note: dict[str, Any]) -> MetricPoint | None:
        step, at = _read_count(note.get("step")), _read_number(note.get("at"))
        if step is None or at is None:
            return None
        memory = _read_count(note.get("memory"))
        if memory is not None:
            self.peak_memory_bytes = max(memory, self.peak_memory_bytes or 0)
        event = str(note.get("event", "step"))
        self.events.append(event)
        if event == "train_begin":
            self.first_step, self.total_steps = step, _read_count(note.get("total"))
            self.train_began_at = at
            self._pace.clear()
        elif event == "step":
            self._seconds.append(_read_number(note.get("seconds")) or 0.0)
            self._pace.append((step, at))
        elif event == "log":
            self._times[step] = at
            return _build_point(note, step, datetime.fromtimestamp(at, UTC))
        self.step = max(self.step, step)
        return None

    def _take_line(self, line: dict[str, Any], now: datetime) -> MetricPoint | None:
        step = _read_count(line.get("current_steps"))
        if step is None:
            return None
        self.step = max(self.step, step) if self.first_step is not None else step
        self.total_steps = _read_count(line.get("total_steps")) or self.total_steps
        if self.first_step is None:
            self._pace.append((step, now.timestamp()))
        at = self._times.get(step)
        return _build_point(line, step, now if at is None else datetime.fromtimestamp(at, UTC))


def _build_point(values: dict[str, Any], step: int, at: datetime) -> MetricPoint | None:
    """Return the point of a line, or None when it holds no value; what is not finite is left out."""
    found = {ours: _read_number(values.get(theirs)) for theirs, ours in _VALUES.items()}
    if all(value is None for value in found.values()):
        return None
    return MetricPoint(step=step, epoch=_read_number(values.get("epoch")), at=at, **found)


def _read_number(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) < 1e300 else None


def _read_count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


# -- the log -----------------------------------------------------------------------------------------------

_PHASES = (
    (Phase.TOKENIZING, re.compile(rb"Loading dataset |Converting format of dataset|Running tokenizer on")),
    (Phase.LOADING, re.compile(rb"loading weights file|Loading weights|Loading checkpoint shards")),
    (Phase.TRAINING, re.compile(rb"\*{5} Running training")),
    (Phase.EVALUATING, re.compile(rb"\*{5} Running (?:Evaluation|Prediction)")),
    (Phase.SAVING, re.compile(rb"Saving model checkpoint to")),
)
_PREDICTION = re.compile(rb"\*{5} Running Prediction")
_PROGRESS = re.compile(rb"\|\s*(\d+)/(\d+) \[")


class LogTail:
    """Follows `job.log`: how large it is, which phases it tells of, and how far a prediction has come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._predicting = False
        self.size = 0
        self.phases: list[Phase] = []
        self.progress: tuple[int, int] | None = None

    def poll(self) -> None:
        """Read what is new; of a flood only its end. `phases` holds those it tells of, in order."""
        self.phases = []
        try:
            with self._path.open("rb") as file:
                self.size = file.seek(0, 2)
                if self.size < self._offset:
                    self._offset = 0
                file.seek(max(self._offset, self.size - _MAX_READ_BYTES))
                chunk = file.read(_MAX_READ_BYTES)
        except OSError:
            return
        # The last piece may be half a line: it is read again, unless it alone is very long.
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r")) + 1
        self._offset = self.size - (len(chunk) - end if len(chunk) - end < 4096 else 0)
        for line in re.split(rb"[\r\n]", chunk):
            self._take(line)

    def _take(self, line: bytes) -> None:
        for phase, pattern in _PHASES:
            if pattern.search(line):
                self.phases.append(phase)
        if _PREDICTION.search(line):
            self._predicting = True
        found = _PROGRESS.search(line) if self._predicting else None
        if found and int(found.group(2)) < 2**31:
            self.progress = (int(found.group(1)), int(found.group(2)))


_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def read_log_end(path: Path, lines: int = 40, size: int = 64 << 10) -> list[str]:
    """Return the last lines of a log as a person reads them: bars that were drawn over shown once, no codes."""
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, 2) - size)
            file.seek(start)
            text = file.read(size).decode("utf-8", "replace")
    except OSError:
        return []
    collapsed = [collapse_line(line) for line in text.split("\n")[1 if start else 0 :]]
    return [line for line in collapsed if line.strip()][-lines:]


def collapse_line(line: str) -> str:
    """Return what of a line stays visible after its carriage returns, at most 500 characters of it."""
    pieces = [piece for piece in _TERMINAL_CODES.sub("", line).split("\r") if piece.strip()]
    visible = pieces[-1].rstrip() if pieces else ""
    return "".join(character for character in visible if character.isprintable() or character == "\t")[:500]
