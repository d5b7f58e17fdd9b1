"""The fastest settings that learn the same: same data, epochs, method and global batch, and that fit with a margin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from backend.domain.estimate.advice import judge_fit
from backend.domain.estimate.batch import Batch, build_batches
from backend.domain.estimate.dataset_facts import DatasetFacts
from backend.domain.estimate.memory import estimate_memory
from backend.domain.estimate.reasons import list_reasons
from backend.domain.estimate.run_settings import RunSettings
from backend.domain.estimate.speed import estimate_step
from backend.domain.estimate.train_run import estimate_train_run

_WORTH_IT = 0.95
"""Nothing is recommended that takes more than this share of the time."""

_WORTH_A_CHANGE = 0.98
"""One more changed setting must bring the time below this share of what it is without."""

_LARGEST_BATCH = 64
_WORKERS = (4, 8, 14)
_SAFE_SHARE = 0.90


@dataclass(frozen=True)
class Recommendation:
    """Arguments to change, the run with them, its phases, and why, in English and Chinese."""

    args: dict[str, Any]
    run: RunSettings
    phases: dict[str, float]
    why: tuple[str, ...]
    why_zh: tuple[str, ...]


@dataclass(frozen=True)
class _Candidate:
    run: RunSettings
    changes: int
    seconds: float


def recommend(
    run: RunSettings, args: Mapping[str, Any], data: DatasetFacts, available: float
) -> Recommendation | None:
    """Return faster settings for the same result, or None where there are none worth the change."""
    tried = _try(run, run, build_batches(run, data), available)
    base = tried.seconds if tried else float("inf")
    best = _find_best(run, data, available)
    if best is None or best.seconds > _WORTH_IT * base:
        return None
    changed_args = _list_changes(run, best.run)
    phases = estimate_train_run(best.run, dict(args) | changed_args, data).phases
    # With few examples a larger batch is not full: then nothing is gained.
    if tried and sum(phases.values()) > _WORTH_IT * sum(estimate_train_run(run, args, data).phases.values()):
        return None
    why = list(list_reasons(run, best.run))
    english, chinese = (tuple(sentences) for sentences in zip(*why, strict=True))
    return Recommendation(changed_args, best.run, phases, english, chinese)


def _find_best(run: RunSettings, data: DatasetFacts, available: float) -> _Candidate | None:
    best: _Candidate | None = None
    for batch in _list_batches(run):
        same_result = replace(run, batch=batch, accumulation=run.batch * run.accumulation // batch)
        fitting = _try_all(same_result, run, data, available)
        if not fitting:
            break  # a larger batch takes more memory still
        best = _pick(best, fitting)
    if best is not None and _may_flash(run):
        # Not with every batch: it changes little in which of them is best, and the form waits.
        best = _pick(best, _try_all(replace(best.run, attention="fa2"), run, data, available))
    return best


def _try_all(
    same_result: RunSettings, run: RunSettings, data: DatasetFacts, available: float
) -> list[_Candidate]:
    """Return those ways of computing the batches of `same_result` that fit."""
    batches = build_batches(same_result, data)
    ways = _list_ways(same_result, run)
    tried = [_try(changed, run, batches, available, may_add_workers=True) for changed in ways]
    return [candidate for candidate in tried if candidate is not None]


def _pick(best: _Candidate | None, others: Iterable[_Candidate]) -> _Candidate | None:
    for candidate in others:
        if best is None or _is_better(candidate, best):
            best = candidate
    return best


def _try(
    changed: RunSettings,
    run: RunSettings,
    batches: tuple[Batch, Batch],
    available: float,
    *,
    may_add_workers: bool = False,
) -> _Candidate | None:
    """Return what a step takes, which stands for the same examples in every candidate; None if it does not fit."""
    usual, largest = batches
    memory = estimate_memory(changed, largest)
    if judge_fit(memory, available) != "yes" or (may_add_workers and memory.total > _SAFE_SHARE * available):
        return None
    step = estimate_step(changed, usual)
    seconds = step.total
    if may_add_workers and step.loading and changed.workers < 2 and not run.on_cpu and usual.pictures:
        # Twice as many as the mean needs, as loading comes in bursts.
        needed = 2 * step.loading / step.compute
        enough = next((count for count in _WORKERS if count >= needed), _WORKERS[-1])
        changed = replace(changed, workers=enough)
        seconds -= step.loading
    return _Candidate(changed, len(_list_changes(run, changed)), seconds)


def _is_better(one: _Candidate, other: _Candidate) -> bool:
    return one.seconds < other.seconds * _WORTH_A_CHANGE ** (one.changes - other.changes)


def _list_ways(same_result: RunSettings, run: RunSettings) -> Iterator[RunSettings]:
    checkpointing = (False, True) if run.gradient_checkpointing else (False,)
    fixed = run.on_cpu or run.liger or "liger-kernel" not in run.packages
    liger = (run.liger,) if fixed else (False, True)
    for checkpoint, fused in product(checkpointing, liger):
        yield replace(same_result, gradient_checkpointing=checkpoint, liger=fused, workers=run.workers)


def _may_flash(run: RunSettings) -> bool:
    """Whether FlashAttention 2 can take sdpa's place: it needs its package, a card from Ampere on (which are those
    with bfloat16), half precision and heads of at most 256 numbers."""
    return (
        run.attention in ("auto", "sdpa")
        and "flash-attn" in run.packages
        and run.gpu.has_bfloat16
        and run.compute_bytes == 2
        and not run.neat_packing  # it would need batches of one pack
        and run.model.text.head_dim <= 256
        and not run.on_cpu
    )


def _list_batches(run: RunSettings) -> list[int]:
    """Return the batches that divide the examples of a step, so that the global batch stays the same; in order."""
    if run.packing or run.on_cpu:
        return [run.batch]
    together = run.batch * run.accumulation
    halves = [
        run.batch >> times for times in range(1, run.batch.bit_length()) if run.batch % (1 << times) == 0
    ]
    doubles = [run.batch << times for times in range(8)]
    sizes = [size for size in halves + doubles if size <= _LARGEST_BATCH and together % size == 0]
    return sorted(sizes) or [run.batch]


def _list_changes(run: RunSettings, changed: RunSettings) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if changed.batch != run.batch:
        changes["per_device_train_batch_size"] = changed.batch
        changes["gradient_accumulation_steps"] = changed.accumulation
    if changed.gradient_checkpointing != run.gradient_checkpointing:
        changes["disable_gradient_checkpointing"] = not changed.gradient_checkpointing
    if changed.liger != run.liger:
        changes["enable_liger_kernel"] = changed.liger
    if changed.attention != run.attention:
        changes["flash_attn"] = changed.attention
    if changed.workers != run.workers:
        changes["dataloader_num_workers"] = changed.workers
    return changes
