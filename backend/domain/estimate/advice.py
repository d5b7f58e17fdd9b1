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


def _list_changes(run: RunSettings) -> Iterator[tuple[dict[str, Any], RunSettings]]:
    """Yield changes, those that keep what is learnt first: batch against accumulation, checkpointing, the fused
    loss; then a shorter cutoff, then weights of fewer bits."""
    smaller: tuple[dict[str, Any], RunSettings] = ({}, run)
    batch = run.batch
    while batch > 1:
        batch = batch // 2
        accumulation = run.accumulation * run.batch // batch
        fix = {"per_device_train_batch_size": batch, "gradient_accumulation_steps": accumulation}
        smaller = (fix, replace(run, batch=batch, accumulation=accumulation))
        yield smaller
    for name, value, field in (
        ("disable_gradient_checkpointing", False, {"gradient_checkpointing": True}),
        ("enable_liger_kernel", True, {"liger": True}),
    ):
        if all(getattr(smaller[1], key) == wanted for key, wanted in field.items()) or run.on_cpu:
            continue
        if name == "enable_liger_kernel" and "liger-kernel" not in run.packages:
            continue
        smaller = (smaller[0] | {name: value}, replace(smaller[1], **field))  # type: ignore[arg-type]
        yield smaller
    cutoff = run.cutoff_len
    while cutoff > 512:
        cutoff //= 2
        yield smaller[0] | {"cutoff_len": cutoff}, replace(smaller[1], cutoff_len=cutoff)
    if run.on_cpu:
        return
    if run.finetuning_type != "lora" and run.trained_bytes > run.compute_bytes:
        yield smaller[0] | {"pure_bf16": True}, replace(smaller[1], trained_bytes=run.compute_bytes)
    if run.finetuning_type == "lora" and not run.quantization_bit and "bitsandbytes" in run.packages:
        for bits in (8, 4):
            yield smaller[0] | {"quantization_bit": bits}, replace(smaller[1], quantization_bit=bits)
