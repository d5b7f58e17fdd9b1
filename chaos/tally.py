"""Counting what was lost: from what trainers wrote down and what their logs hold, never from the platform's tables.

The words, exactly:

- *lost*: a job of which the trainers made not every step from 1 to its last, or which the platform does not show
  as succeeded, shows more than once or not at all, or of which it told another reason than the true one.
- *twice*: a job of which two runs trained at overlapping times (a run lasts from its first entry to its last; an
  overlap shorter than one step is not seen), or whose last step was made by more than one run, or that one
  submission made two of. A run is one process of one attempt, so that an attempt started twice is found too.
- *steps repeated*: how many more times than once steps were made. After kill -9 of a run that is the way from its
  last checkpoint and no fault; after a graceful stop (by its owner, by preemption, by its node) none may be.
- *log bytes missing*: of the lines that trainers wrote into their logs, the bytes of those which the log's file
  or the log as the API gives it lacks, or has in another order; the larger of the two.
- *metric points missing*: steps of which the job's curve, as the API gives it, has no point.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields

from chaos.ledger import Entry

Run = tuple[str, int, int]


@dataclass
class Tally:
    """What was counted; `problems` says of each thing that must not be what and where."""

    jobs: int = 0
    finished: int = 0
    lost: int = 0
    twice: int = 0
    steps_repeated: int = 0
    steps_repeated_after_graceful_stop: int = 0
    log_bytes_missing: int = 0
    points_missing: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add another's counts."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    @property
    def is_clean(self) -> bool:
        """Whether all is 0 that has to be."""
        return not (
            self.lost
            or self.twice
            or self.steps_repeated_after_graceful_stop
            or self.log_bytes_missing
            or self.points_missing
        )


def group_by_job(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Return each job's entries, in their order."""
    grouped: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        grouped[entry.job].append(entry)
    return grouped


def list_missing_steps(entries: Sequence[Entry], steps: int) -> list[int]:
    """Return which of the steps 1 to `steps` nobody made."""
    made = {entry.step for entry in entries if entry.event == "step"}
    return [step for step in range(1, steps + 1) if step not in made]


def find_overlap(entries: Sequence[Entry]) -> tuple[Run, Run] | None:
    """Return two runs of one job that trained at the same time, or None."""
    times: dict[Run, list[float]] = defaultdict(list)
    for entry in entries:
        times[entry.run].append(entry.at)
    spans = sorted((min(at), max(at), run) for run, at in times.items())
    latest = spans[0] if spans else None
    for span in spans[1:]:
        assert latest is not None
        if span[0] < latest[1]:
            return latest[2], span[2]
        latest = max(latest, span, key=lambda each: each[1])
    return None


def count_last_steps(entries: Sequence[Entry], steps: int) -> int:
    """Return how many runs made the job's last step."""
    return len({entry.run for entry in entries if entry.event == "step" and entry.step == steps})


def count_repeated_steps(entries: Sequence[Entry]) -> int:
    """Return how many more times than once the steps of one job were made."""
    made = Counter(entry.step for entry in entries if entry.event == "step")
    return sum(times - 1 for times in made.values())


def count_missing_bytes(written: Iterable[bytes], found: bytes) -> int:
    """Return the bytes of the written lines that `found` lacks, looking for them in the order of their writing."""
    missing, position = 0, 0
    for line in b"".join(written).splitlines(keepends=True):
        at = found.find(line, position)
        if at < 0:
            missing += len(line)
        else:
            position = at + len(line)
    return missing
