"""The fastest settings that learn the same: same data, epochs, method and global batch, and that fit with a margin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from backend.domain.arguments import is_installed
from backend.domain.estimate.advice import judge_fit
from backend.domain.estimate.batch import build_batches
from backend.domain.estimate.dataset_facts import DatasetFacts
from backend.domain.estimate.memory import estimate_memory
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
    tried = _try(run, run, data, available)
    base = tried.seconds if tried else float("inf")
    best: _Candidate | None = None
    for changed in _list_candidates(run):
        candidate = _try(changed, run, data, available, may_add_workers=True)
        if candidate is not None and (best is None or _is_better(candidate, best)):
            best = candidate
    if best is None or best.seconds > _WORTH_IT * base:
        return None
    changed_args = _list_changes(run, best.run)
    phases = estimate_train_run(best.run, dict(args) | changed_args, data).phases
    # With few examples a larger batch is not full: then nothing is gained.
    if tried and sum(phases.values()) > _WORTH_IT * sum(estimate_train_run(run, args, data).phases.values()):
        return None
    why, why_zh = _explain(run, best.run)
    return Recommendation(changed_args, best.run, phases, why, why_zh)


def _try(
    changed: RunSettings,
    run: RunSettings,
    data: DatasetFacts,
    available: float,
    *,
    may_add_workers: bool = False,
) -> _Candidate | None:
    """Return what a step takes, which stands for the same examples in every candidate; None if it does not fit."""
    usual, largest = build_batches(changed, data)
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


def _list_candidates(run: RunSettings) -> Iterator[RunSettings]:
    checkpointing = (False, True) if run.gradient_checkpointing else (False,)
    fixed = run.on_cpu or run.liger or not is_installed("liger-kernel")
    liger = (run.liger,) if fixed else (False, True)
    for batch in _list_batches(run):
        accumulation = run.batch * run.accumulation // batch
        for checkpoint in checkpointing:
            for fused in liger:
                yield replace(
                    run,
                    batch=batch,
                    accumulation=accumulation,
                    gradient_checkpointing=checkpoint,
                    liger=fused,
                )


def _list_batches(run: RunSettings) -> list[int]:
    """Return the batches that divide the examples of a step, so that the global batch stays the same."""
    if run.packing or run.on_cpu:
        return [run.batch]
    together = run.batch * run.accumulation
    halves = [
        run.batch >> times for times in range(1, run.batch.bit_length()) if run.batch % (1 << times) == 0
    ]
    doubles = [run.batch << times for times in range(8)]
    return [size for size in halves + doubles if size <= _LARGEST_BATCH and together % size == 0] or [
        run.batch
    ]


def _list_changes(run: RunSettings, changed: RunSettings) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if changed.batch != run.batch:
        changes["per_device_train_batch_size"] = changed.batch
        changes["gradient_accumulation_steps"] = changed.accumulation
    if changed.gradient_checkpointing != run.gradient_checkpointing:
        changes["disable_gradient_checkpointing"] = not changed.gradient_checkpointing
    if changed.liger != run.liger:
        changes["enable_liger_kernel"] = changed.liger
    if changed.workers != run.workers:
        changes["dataloader_num_workers"] = changed.workers
    return changes


def _explain(run: RunSettings, changed: RunSettings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return a sentence for every change."""
    said: list[tuple[str, str]] = []
    together = changed.batch * changed.accumulation
    if changed.batch > run.batch:
        said.append(
            (
                f"Batch {changed.batch} × {changed.accumulation} instead of {run.batch} × {run.accumulation}: the "
                f"same {together} examples a step, in fewer passes, each of which keeps the GPU busier.",
                f"批大小 {changed.batch} × {changed.accumulation}，原为 {run.batch} × {run.accumulation}：每步同样"
                f" {together} 条样本，但前向次数更少，GPU 更满。",
            )
        )
    elif changed.batch < run.batch:
        said.append(
            (
                f"Batch {changed.batch} × {changed.accumulation}: the same {together} examples a step, in less "
                "memory.",
                f"批大小 {changed.batch} × {changed.accumulation}：每步同样 {together} 条样本，显存更省。",
            )
        )
    if run.gradient_checkpointing and not changed.gradient_checkpointing:
        said.append(
            (
                "No gradient checkpointing: there is memory for the activations, so nothing is computed twice.",
                "关闭梯度检查点：显存放得下激活，无需重复计算。",
            )
        )
        if run.keeps_vision_activations and run.model.vision is not None:
            said.append(
                (
                    "It also spares the frozen vision tower a backward pass that nobody needs.",
                    "同时冻结的视觉塔不再做无用的反向计算。",
                )
            )
    if changed.liger and not run.liger:
        said.append(
            (
                "Liger kernels: norms, gates and the loss are fused, so logits are never held whole.",
                "启用 Liger 算子：归一化、门控与损失融合，无需保存完整 logits。",
            )
        )
    if changed.workers != run.workers:
        said.append(
            (
                f"{changed.workers} loader workers: pictures are decoded while the GPU computes.",
                f"{changed.workers} 个数据加载进程：解码图片与 GPU 计算同时进行。",
            )
        )
    return tuple(english for english, _ in said), tuple(chinese for _, chinese in said)
