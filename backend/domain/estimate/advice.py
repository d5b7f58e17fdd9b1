"""Warnings about a run that will not fit or is not well known, each with the smallest change that helps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from backend.domain.estimate.batch import build_batches
from backend.domain.estimate.dataset_facts import DatasetFacts
from backend.domain.estimate.memory import Memory, estimate_memory
from backend.domain.estimate.run_settings import RunSettings

_TIGHT_SHARE = 0.95
"""Above this share of a card a run may still fail on a longer batch than any seen, or on fragmentation."""


def judge_fit(memory: Memory, available: float) -> str:
    """Return `yes`, `tight` or `no`."""
    if memory.required > available:
        return "no"
    return "tight" if memory.total > _TIGHT_SHARE * available else "yes"


def find_smallest_change(run: RunSettings, data: DatasetFacts, available: float) -> dict[str, Any] | None:
    """Return the arguments that make the run fit, in the order people prefer, or None where nothing does."""
    for fix, changed in _list_changes(run):
        largest = build_batches(changed, data)[1]
        if judge_fit(estimate_memory(changed, largest), available) == "yes":
            return fix
    return None


_Change = tuple[dict[str, Any], RunSettings]


def _list_changes(run: RunSettings) -> Iterator[_Change]:
    """Yield changes in the order people prefer: what leaves the result as it is, then what only takes longer, then
    weights of fewer bits, and last what cuts the data."""
    kept: _Change = ({}, run)
    for kept in _list_same_results(run):
        yield kept
    if not run.on_cpu:
        yield from _list_splits(*kept)
        yield from _list_fewer_bits(*kept)
    fix, smaller = kept
    cutoff = run.cutoff_len
    while cutoff > 512:
        cutoff //= 2
        yield fix | {"cutoff_len": cutoff}, replace(smaller, cutoff_len=cutoff)


def _list_same_results(run: RunSettings) -> Iterator[_Change]:
    """Yield batch against accumulation, then checkpointing, then the fused loss, each with those before it."""
    fix: dict[str, Any] = {}
    smaller, batch = run, run.batch
    while batch > 1:
        batch = batch // 2
        accumulation = run.accumulation * run.batch // batch
        fix = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
        smaller = replace(run, batch=batch, accumulation=accumulation)
        yield fix, smaller
    if run.on_cpu:
        return
    if not run.gradient_checkpointing:
        fix, smaller = (
            fix | {"disable_gradient_checkpointing": False},
            replace(smaller, gradient_checkpointing=True),
        )
        yield fix, smaller
    if not run.liger and "liger-kernel" in run.packages:
        yield fix | {"enable_liger_kernel": True}, replace(smaller, liger=True)


def _list_splits(fix: dict[str, Any], run: RunSettings) -> Iterator[_Change]:
    """Yield sharing the model out over the devices there are, at first as it is, then with its state in main memory."""
    is_pure = run.trained_bytes == run.compute_bytes and run.finetuning_type != "lora"
    if run.gpu_count == 1 or run.sharder or run.quantization_bit or is_pure:
        return
    for offload in (False, True):
        if "deepspeed" in run.packages:
            change = {"deepspeed": "ds_z3_offload_config.json" if offload else "ds_z3_config.json"}
        else:
            change = {"fsdp": "full_shard auto_wrap offload" if offload else "full_shard auto_wrap"}
        sharder = next(iter(change))
        yield fix | change, replace(run, sharder=sharder, zero_stage=3, zero_offload=offload)


def _list_fewer_bits(fix: dict[str, Any], run: RunSettings) -> Iterator[_Change]:
    """Yield a quantised base for LoRA, where the nodes can, and training in half precision for the others."""
    if run.finetuning_type != "lora":
        if run.trained_bytes > run.compute_bytes and not run.sharder:
            yield fix | {"pure_bf16": True}, replace(run, trained_bytes=run.compute_bytes)
        return
    if run.quantization_bit or "bitsandbytes" not in run.packages:
        return
    # DeepSpeed's third stage and FSDP take 4 bits only.
    for bits in (8, 4) if run.zero_stage < 3 and run.sharder != "fsdp" else (4,):
        yield fix | {"quantization_bit": bits}, replace(run, quantization_bit=bits)
