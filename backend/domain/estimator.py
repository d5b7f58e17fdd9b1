"""Time, money and memory of a job before it starts: pure, without torch, in a few milliseconds at most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from backend.domain import pricing
from backend.domain.estimate.advice import judge_fit
from backend.domain.estimate.batch import fit_pictures
from backend.domain.estimate.dataset_facts import DatasetFacts, combine_datasets
from backend.domain.estimate.gpu_counts import compare_gpu_counts
from backend.domain.estimate.history import SETUP_PHASES, Correction, split_seconds
from backend.domain.estimate.memory import Memory
from backend.domain.estimate.phases import (
    Steps,
    estimate_generation_bytes,
    estimate_generation_phases,
)
from backend.domain.estimate.recommend import recommend
from backend.domain.estimate.run_settings import RunSettings, parse_run_settings
from backend.domain.estimate.train_run import estimate_train_run
from backend.domain.estimate.warnings import list_memory_warnings, list_unknown
from backend.domain.gpu_kinds import GpuKind, describe_gpu_kind
from backend.domain.model_facts import ModelFacts
from backend.domain.packages import WORKER_PACKAGES
from backend.domain.protocol import Probe

__all__ = ["DatasetFacts", "estimate_job"]

# How far a modelled estimate may be off, as factors of the expected value.
_TIME_SPREAD = (0.80, 1.30)
_MEMORY_SPREAD = (0.95, 1.08)
COMMUNICATION_BYTES = int(2.25 * 2**30)
_UNKNOWN_SPREAD = 1.35
"""Each fact that had to be guessed widens the range by this."""


class _Price(NamedTuple):
    """In which tier and currency seconds are paid for."""

    tier: str
    currency: str

    def spread(self, seconds: dict[str, float], run: RunSettings) -> dict[str, str]:
        """Return what a range of seconds on the run's devices costs."""
        rate = run.gpu.price_per_hour_e4
        costs = {
            name: pricing.format_amount(pricing.price(value, run.gpu_count, rate, self.tier))
            for name, value in seconds.items()
        }
        return {"currency": self.currency, **costs}


@dataclass(frozen=True)
class _EvaluateRun:
    phases: dict[str, float]
    steps: Steps
    memory: Memory


def estimate_job(
    *,
    kind: str,
    stage: str,
    finetuning_type: str,
    args: Mapping[str, Any],
    model: ModelFacts,
    datasets: Sequence[DatasetFacts],
    gpu_kind: str,
    gpu_count: int,
    memory_bytes: int | None = None,
    tier: str = "express",
    queue_seconds: float = 0.0,
    currency: str = "CNY",
    tuned: bool = False,
    correction: Correction | None = None,
    probe: Probe | None = None,
    gpu_counts: Sequence[int] = (),
    packages: frozenset[str] = WORKER_PACKAGES,
    host_bytes: int | None = None,
) -> dict[str, Any]:
    """Return the estimate of a job in the shape of the REST contract.

    `args` are complete with the platform's defaults; `memory_bytes` is what one device of the kind really has.
    `tuned` says that an evaluated model was tuned, so that it knows when to stop. Seconds are of wall time and bytes
    of one device. `duration_seconds` is the sum of `breakdown_seconds` but `queue`, and is paid for;
    `memory_bytes.parts` add up to its `expected`. Nothing unknown is an error: it widens the range and is said in
    `warnings`. `correction` is what finished jobs taught (`estimate.history`), `modelled_seconds` are those without
    it. `probe` is what was measured of the device (`tuneforge calibrate`) instead of its published figures.
    `by_gpu_count` compares `gpu_counts`, other numbers of devices, for the same global batch. `packages` are the
    optional ones that every node of the kind has, `host_bytes` is the main memory of the machines that would train.
    """
    gpu = keep_room_for_communication(describe_gpu_kind(gpu_kind, memory_bytes, probe), gpu_count)
    run = parse_run_settings(
        args, model=model, gpu=gpu, gpu_count=gpu_count, stage=stage, finetuning_type=finetuning_type, packages=packages
    )  # fmt: skip
    data, is_train = fit_pictures(run, combine_datasets(datasets)), kind == "train"
    outcome = estimate_train_run(run, args, data) if is_train else _estimate_evaluate(run, args, data, tuned)
    warnings = list_unknown(run, data)
    widen = _UNKNOWN_SPREAD ** len(warnings)
    modelled = split_seconds(outcome.phases)
    phases = _correct(outcome.phases, correction)
    seconds = _spread_time(sum(phases.values()), correction, widen)
    fits, price = judge_fit(outcome.memory, gpu.memory_bytes), _Price(tier, currency)
    warnings += list_memory_warnings(run, None if is_train else args, data, outcome.memory, host_bytes)
    return {
        "duration_seconds": {name: round(value, 1) for name, value in seconds.items()},
        "breakdown_seconds": {"queue": round(queue_seconds, 1)} | phases,
        "modelled_seconds": {"setup": round(modelled.setup, 2), "work": round(modelled.work, 2)},
        **_show_size(outcome.steps),
        "memory_bytes": _show_memory(outcome.memory, gpu.memory_bytes, widen),
        "fits": fits,
        "cost": price.spread(seconds, run),
        "by_tier": {name: _Price(name, currency).spread(seconds, run) for name in pricing.TIERS},
        "basis": "modelled" if correction is None and probe is None else "calibrated",
        "learnt_from": correction.runs if correction is not None else 0,
        "warnings": warnings,
        "recommended": _recommend(run, args, data, price, correction) if is_train else None,
        "by_gpu_count": _compare_counts(run, args, data, price, correction, gpu_counts) if is_train else [],
    }


def keep_room_for_communication(gpu: GpuKind, gpu_count: int) -> GpuKind:
    """Return the kind without the memory that NCCL keeps of each card where several work together.

    Measured on two H100: 2.2 GiB a card beyond what the run itself holds. It is taken from what the card has, not
    added to what the run needs: that is never more on more cards.
    """
    if gpu_count == 1 or gpu.id == "cpu":
        return gpu
    return replace(gpu, memory_bytes=max(0, gpu.memory_bytes - COMMUNICATION_BYTES))


def _estimate_evaluate(
    run: RunSettings, args: Mapping[str, Any], data: DatasetFacts, tuned: bool
) -> _EvaluateRun:
    phases, steps = estimate_generation_phases(run, args, data, tuned=tuned)
    return _EvaluateRun(phases, steps, Memory(estimate_generation_bytes(run, args, data)))


def _recommend(
    run: RunSettings,
    args: Mapping[str, Any],
    data: DatasetFacts,
    price: _Price,
    correction: Correction | None,
) -> dict[str, Any] | None:
    found = recommend(run, args, data, run.gpu.memory_bytes)
    if found is None:
        return None
    seconds = _spread_time(sum(_correct(found.phases, correction).values()), correction, 1.0)
    return {
        "args": found.args,
        "resources": {"gpu_kind": run.gpu.id, "gpu_count": run.gpu_count},
        "duration_seconds": {name: round(value, 1) for name, value in seconds.items()},
        "cost": price.spread(seconds, found.run),
        "why": list(found.why),
        "why_zh": list(found.why_zh),
    }


def _compare_counts(
    run: RunSettings,
    args: Mapping[str, Any],
    data: DatasetFacts,
    price: _Price,
    correction: Correction | None,
    counts: Sequence[int],
) -> list[dict[str, Any]]:
    shown = []
    for choice in compare_gpu_counts(run, args, data, counts):
        seconds = _spread_time(sum(_correct(choice.phases, correction).values()), correction, 1.0)
        shown.append(
            {
                "args": choice.args,
                "resources": {"gpu_kind": run.gpu.id, "gpu_count": choice.gpu_count},
                "duration_seconds": {name: round(value, 1) for name, value in seconds.items()},
                "cost": price.spread(seconds, replace(run, gpu_count=choice.gpu_count)),
                "fits": choice.fits,
            }
        )
    return shown


def _correct(phases: Mapping[str, float], correction: Correction | None) -> dict[str, float]:
    """Return the phases by what finished jobs taught, in tenths of a second: what is shown adds up."""
    setup, work = (correction.setup, correction.work) if correction else (1.0, 1.0)
    return {
        name: round(value * (setup if name in SETUP_PHASES else work), 1) for name, value in phases.items()
    }


def _spread_time(value: float, correction: Correction | None, widen: float) -> dict[str, float]:
    """Return the range that was really met by jobs here, or the one supposed until there are enough of them."""
    if correction is None or correction.low is None or correction.high is None:
        return _spread(value, _TIME_SPREAD, widen)
    return {"low": value * correction.low, "expected": value, "high": value * correction.high}


def _spread(value: float, factors: tuple[float, float], widen: float) -> dict[str, float]:
    low = value * (1 - (1 - factors[0]) * widen)
    return {"low": max(0.2 * value, low), "expected": value, "high": value * (1 + (factors[1] - 1) * widen)}


def _show_size(steps: Steps) -> dict[str, int]:
    return {"steps": steps.steps, "tokens": steps.tokens, "samples": steps.samples}


def _show_memory(memory: Memory, available: int, widen: float) -> dict[str, Any]:
    spread = {name: int(value) for name, value in _spread(memory.total, _MEMORY_SPREAD, widen).items()}
    return {**spread, "available": available, "parts": memory.parts}
