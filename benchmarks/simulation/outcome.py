"""What came of a simulated run, job by job, and its figures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.simulation.trace import TraceJob


@dataclass
class Outcome:
    """How long each job of the trace waited in all and when it ended; what was done and lost on the way."""

    name: str
    waited: list[float]
    ended: list[float]
    work: list[tuple[float, int]] = field(default_factory=list)
    """Changes of how many GPUs are at work: (moment, more or fewer)."""
    lost_gpu_seconds: float = 0.0
    preemptions: int = 0
    decisions: int = 0
    decision_seconds: float = 0.0
    worst_decision_seconds: float = 0.0
    foreseen: list[tuple[float, float]] = field(default_factory=list)
    """Of a sample of waiting jobs: in how many seconds it was to start, and in how many it did."""

    def note_work(self, gpus: int, began: float, ended: float) -> None:
        """Note that `gpus` GPUs worked for a job from `began` to `ended`."""
        self.work.append((began, gpus))
        self.work.append((ended, -gpus))

    def note_decision(self, seconds: float) -> None:
        """Note a decision and the processor time it took."""
        self.decisions += 1
        self.decision_seconds += seconds
        self.worst_decision_seconds = max(self.worst_decision_seconds, seconds)

    def list_busy(self, step: float) -> list[float]:
        """Return how many GPUs were at work on average in each step of `step` seconds."""
        busy: list[float] = []
        level, since, done = 0, 0.0, 0.0
        for moment, change in [*sorted(self.work), (float("inf"), 0)]:
            while moment >= (len(busy) + 1) * step and (level or moment < float("inf")):
                until = (len(busy) + 1) * step
                busy.append((done + level * (until - since)) / step)
                since, done = until, 0.0
            if moment == float("inf"):
                break
            done += level * (moment - since)
            level, since = level + change, moment
        return busy


def start_outcome(name: str, trace: Sequence[TraceJob]) -> Outcome:
    """Return an outcome to be filled."""
    return Outcome(name, [0.0] * len(trace), [0.0] * len(trace))


def find_percentile(values: Sequence[float], part: float) -> float:
    """Return the smallest value that at least `part` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-part * len(ordered) // 1) - 1))] if ordered else 0.0


def measure_jain(trace: Sequence[TraceJob], outcome: Outcome) -> float:
    """Return Jain's index over users of the part of its jobs' time in which a user's jobs ran.

    (sum x)^2 / (n sum x^2) with x = running / (waiting + running): 1 when all users wait alike for their work.
    """
    ran: dict[int, float] = defaultdict(float)
    waited: dict[int, float] = defaultdict(float)
    for job in trace:
        ran[job.user] += job.seconds
        waited[job.user] += outcome.waited[job.number]
    parts = [ran[user] / (ran[user] + waited[user]) for user in ran]
    return sum(parts) ** 2 / (len(parts) * sum(part * part for part in parts))
