"""The same job on fewer or more devices: the same global batch, so the same result; which time, which price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from backend.domain.estimate.advice import judge_fit
from backend.domain.estimate.dataset_facts import DatasetFacts
from backend.domain.estimate.run_settings import RunSettings
from backend.domain.estimate.train_run import estimate_train_run


@dataclass(frozen=True)
class CountChoice:
    """A number of devices, the arguments that keep the global batch, the seconds by phase, and whether it fits."""

    gpu_count: int
    args: dict[str, Any]
    phases: dict[str, float]
    fits: str


def compare_gpu_counts(
    run: RunSettings, args: Mapping[str, Any], data: DatasetFacts, counts: Sequence[int]
) -> list[CountChoice]:
    """Return the choices among `counts` with which batch and accumulation can give the same global batch."""
    together = run.batch * run.accumulation * run.gpu_count
    choices = []
    for count in sorted(set(counts)):
        changed = _spread(run, count, together)
        if changed is not None:
            choices.append(_estimate(run, changed, args, data))
    return choices


def _spread(run: RunSettings, count: int, together: int) -> RunSettings | None:
    """Return the run on `count` devices: accumulation takes up the change, and the batch where it must shrink."""
    if together % count:
        return None
    each = together // count
    batch = next(size for size in range(min(run.batch, each), 0, -1) if each % size == 0)
    return replace(run, gpu_count=count, batch=batch, accumulation=each // batch)


def _estimate(
    run: RunSettings, changed: RunSettings, args: Mapping[str, Any], data: DatasetFacts
) -> CountChoice:
    names = {"batch": "per_device_train_batch_size", "accumulation": "gradient_accumulation_steps"}
    changes = {
        name: getattr(changed, field)
        for field, name in names.items()
        if getattr(changed, field) != getattr(run, field)
    }
    found = estimate_train_run(changed, args, data)
    return CountChoice(
        changed.gpu_count, changes, found.phases, judge_fit(found.memory, run.gpu.memory_bytes)
    )
