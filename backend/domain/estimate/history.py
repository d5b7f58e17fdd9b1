"""What finished jobs teach: how far the model of a run is off here, and how sure an estimate may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, floor, log
from statistics import fmean, median
from typing import NamedTuple

SETUP_PHASES = ("start", "load", "tokenize")
"""The phases before the first step. They and the rest are corrected apart, as a slow disk says nothing of a GPU."""

_SHRINKAGE = 3.0
"""A group of n jobs moves its correction by n / (n + this) of its median error; the rest stays with the wider group."""

MAX_RUNS = 60
"""The newest jobs of a GPU kind that are learnt from: machines, drivers and libraries change."""

_MIN_FOR_RANGE = 9
"""From so many errors on an 80 % range of a new one can be read: the tenth part of 9 + 1 lies beyond the outermost."""

_COVERAGE = 0.80
_MAX_FACTOR = 20.0
"""A job that is off by more says nothing of the next: it hung, or what it did was not counted."""


class Cell(NamedTuple):
    """What jobs have in common, the widest group first."""

    gpu_kind: str
    stage: str
    family: str
    finetuning_type: str


class Seconds(NamedTuple):
    """The seconds of a run until its first step, and from there on."""

    setup: float
    work: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.setup + self.work


@dataclass(frozen=True)
class PastRun:
    """A job that succeeded: what the model of a run said, uncorrected, and what it took."""

    cell: Cell
    modelled: Seconds
    actual: Seconds


class Correction(NamedTuple):
    """Factors on the modelled seconds, and the range of what a job then really takes, as factors of the estimate.

    `low` and `high` are None where the history is too short to tell them. `runs` is how many jobs were learnt from.
    """

    setup: float
    work: float
    low: float | None
    high: float | None
    runs: int


def split_seconds(phases: Mapping[str, float]) -> Seconds:
    """Return the seconds of an estimate's phases, the queue left out."""
    setup = sum(phases.get(name, 0.0) for name in SETUP_PHASES)
    return Seconds(setup, sum(phases.values()) - phases.get("queue", 0.0) - setup)


def fit_correction(history: Sequence[PastRun], cell: Cell) -> Correction | None:
    """Learn the correction for `cell` from jobs of its GPU kind, oldest first; None where there is none to learn from.

    Each group, from the widest to the narrowest, adds the median of what the wider ones leave of the logarithm of
    actual over modelled, shrunk by its size. Every job is also predicted from those before it alone: where that was
    no better than the uncorrected model, the factors stay 1. The range comes from the errors of these predictions.
    """
    known = [run for run in history if run.cell.gpu_kind == cell.gpu_kind and _is_believable(run)][-MAX_RUNS:]
    if not known:
        return None
    learnt = [_predict(run, *_fit(known[:place], run.cell)) for place, run in enumerate(known)]
    plain = [_predict(run, 1.0, 1.0) for run in known]
    # The first job is predicted from nothing: it speaks neither for nor against.
    helps = len(known) > 1 and _measure_error(known[1:], learnt[1:]) < _measure_error(known[1:], plain[1:])
    setup, work = _fit(known, cell) if helps else (1.0, 1.0)
    errors = [
        log(run.actual.total / said) for run, said in zip(known, learnt if helps else plain, strict=True)
    ]
    alike = [error for run, error in zip(known, errors, strict=True) if run.cell.stage == cell.stage]
    low, high = _find_range(alike) or _find_range(errors) or (None, None)
    return Correction(setup, work, low, high, len(known))


def _is_believable(run: PastRun) -> bool:
    return all(
        modelled > 0 and actual > 0 and 1 / _MAX_FACTOR < actual / modelled < _MAX_FACTOR
        for modelled, actual in zip(run.modelled, run.actual, strict=True)
    )


def _fit(runs: Sequence[PastRun], cell: Cell) -> tuple[float, float]:
    """Return the factors on setup and on work for `cell`."""
    setup, work = (
        exp(_fit_logarithm([(run.cell, log(run.actual[part] / run.modelled[part])) for run in runs], cell))
        for part in (0, 1)
    )
    return setup, work


def _fit_logarithm(ratios: Sequence[tuple[Cell, float]], cell: Cell) -> float:
    fitted, group = 0.0, list(ratios)
    for depth in range(1, len(cell) + 1):
        group = [(other, ratio) for other, ratio in group if other[:depth] == cell[:depth]]
        if not group:
            break
        left = median(ratio for _, ratio in group) - fitted
        fitted += left * len(group) / (len(group) + _SHRINKAGE)
    return fitted


def _predict(run: PastRun, setup: float, work: float) -> float:
    return run.modelled.setup * setup + run.modelled.work * work


def _measure_error(runs: Sequence[PastRun], said: Sequence[float]) -> float:
    return fmean(abs(log(run.actual.total / seconds)) for run, seconds in zip(runs, said, strict=True))


def _find_range(errors: Sequence[float]) -> tuple[float, float] | None:
    """Return factors between which a new job lies with the chance `_COVERAGE`, whatever the errors' distribution.

    Split conformal prediction (Vovk et al. 2005): of n + 1 exchangeable errors the new one has every rank alike, so
    the k-th smallest and k-th largest of n, k = floor(tail (n + 1)), leave out at most that part on either side.
    """
    count = len(errors)
    if count < _MIN_FOR_RANGE:
        return None
    tail = (1 - _COVERAGE) / 2
    # Rounded first, as 0.1 × 10 is a little less than 1 in floating point.
    rank = floor(round(tail * (count + 1), 9))
    ordered = sorted(errors)
    low, high = ordered[rank - 1], ordered[count - rank]
    return exp(min(low, 0.0)), exp(max(high, 0.0))
