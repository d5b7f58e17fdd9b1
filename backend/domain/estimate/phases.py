"""A whole run: its steps by LLaMA-Factory's own rules, and the seconds of each phase."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backend.domain.estimate.batch import Batch, measure_picture
from backend.domain.estimate.dataset_facts import DatasetFacts
from backend.domain.estimate.parameters import count_parameters
from backend.domain.estimate.run_settings import RunSettings, read_count, read_number
from backend.domain.estimate.speed import StepTime, bind, choose_ceilings, estimate_forward, estimate_loading
from backend.domain.estimate.work import count_prefill
from backend.domain.gpu_kinds import GIB

_START_SECONDS = 6.0
_START_GPU_SECONDS = 3.0
_GATHER_SECONDS = 4.0
"""Importing torch, transformers and LLaMA-Factory and agreeing with the platform; waking a GPU; several processes
finding one another. Measured on machines that have run a job before: the first on a fresh one takes 10 s longer."""

_READ_BYTES_PER_SECOND = 1.1 * GIB
"""Weights come from a shared mount over 10 Gbit/s Ethernet, or a disk as fast. Weights that the machine has read
before and still holds in memory take a third of it: the estimate does not know."""

_WRITE_BYTES_PER_SECOND = 0.8 * GIB
_TOKENS_PER_SECOND = 60_000.0
_PREPARING_PROCESS_SECONDS = 0.25
"""Starting one more process that prepares examples, and handing it the model's processor: measured."""

_LAUNCHES_A_DECODED_LAYER = 56
_LAUNCHES_A_TOKEN = 100
"""A layer's forward pass with adding to its cache; choosing the token and everything around it."""

_FIRST_STEPS_SECONDS = 1.5
_FIRST_CUDNN_STEPS_SECONDS = 2.5
_FIRST_CUDNN_PICTURES_SECONDS = 5.5
"""What the first steps take longer on a GPU: kernels are loaded, memory is taken. Where cuDNN attends, as it does in
LLaMA-Factory outside the platform, it builds its kernels first, and those for windows of pictures too."""


@dataclass(frozen=True)
class Steps:
    """How much a run goes through: `steps` of the optimizer, `examples` to train on, `held_out` to evaluate on."""

    steps: int
    examples: int
    held_out: int
    epochs: float
    samples: int
    tokens: int


def count_steps(run: RunSettings, args: Mapping[str, Any], data: DatasetFacts) -> Steps:
    """Count as LLaMA-Factory and transformers do.

    `max_samples` cuts each dataset first, `val_size` then takes its part, packing joins what is left. The
    last, smaller batch of an epoch counts, and so does the last, smaller accumulation.
    """
    examples = min(data.examples, read_count(args, "max_samples", 100_000_000))
    val_size = read_number(args, "val_size", 0.0)
    held_out = math.ceil(examples * val_size) if 0 < val_size < 1 else int(max(0.0, val_size))
    held_out = min(held_out, max(0, examples - 1))
    examples = max(1, examples - held_out)
    mean = data.find_mean(run.cutoff_len)
    rows = max(1, math.ceil(examples * mean / (0.95 * run.cutoff_len))) if run.packing else examples
    batches = math.ceil(rows / (run.batch * run.gpu_count))
    per_epoch = max(1, math.ceil(batches / run.accumulation))
    epochs = max(0.0, read_number(args, "num_train_epochs", 3.0))
    limit = int(read_number(args, "max_steps", -1))
    steps = limit if limit > 0 else max(1, math.ceil(epochs * per_epoch))
    passes = steps / per_epoch
    samples = round(passes * examples)
    return Steps(steps, examples, held_out, passes, samples, round(samples * mean))


def estimate_train_phases(
    run: RunSettings, args: Mapping[str, Any], data: DatasetFacts, batch: Batch, steps: Steps, step: StepTime
) -> dict[str, float]:
    """Return the seconds of a train job by phase."""
    # The last step of an epoch may hold fewer batches than the others.
    batches = math.ceil(steps.examples / (run.batch * run.gpu_count))
    whole = (
        batches / run.accumulation / max(1, math.ceil(batches / run.accumulation)) if not run.packing else 1.0
    )
    in_passes = (step.compute + step.loading) * whole
    train = steps.steps * (in_passes + step.update + step.communication)
    return {
        "start": _estimate_start(run),
        "load": _estimate_load(run),
        "tokenize": _estimate_tokenizing(run, data, steps.examples + steps.held_out),
        "train": train + _estimate_first_steps(run, batch),
        "evaluate": _estimate_evaluation(run, args, step, steps),
        "save": _estimate_saves(run, args, steps),
    }


def _estimate_start(run: RunSettings) -> float:
    gpu = 0.0 if run.on_cpu else _START_GPU_SECONDS
    return _START_SECONDS + gpu + (_GATHER_SECONDS if run.gpu_count > 1 else 0.0)


def _estimate_first_steps(run: RunSettings, batch: Batch) -> float:
    if run.on_cpu:
        return 0.0
    if run.on_platform:
        return _FIRST_STEPS_SECONDS
    return _FIRST_CUDNN_STEPS_SECONDS + (_FIRST_CUDNN_PICTURES_SECONDS if batch.pictures else 0.0)


def _estimate_load(run: RunSettings) -> float:
    size = run.model.parameters * 2
    return (0.4 if run.on_cpu else 1.0) + size / _READ_BYTES_PER_SECOND


def _estimate_tokenizing(run: RunSettings, data: DatasetFacts, examples: int) -> float:
    text_tokens = max(1.0, data.mean_tokens - data.picture_tokens)
    seconds = examples * text_tokens / _TOKENS_PER_SECOND
    if data.pictures and run.model.vision is not None:
        # LLaMA-Factory opens and processes every picture to know how many tokens it becomes.
        seconds += examples * estimate_loading(run, _build_batch(run, data, 1, 0.0), choose_ceilings(run))
    return 0.5 + _PREPARING_PROCESS_SECONDS * run.preprocessing_workers + seconds / run.preprocessing_workers


def _build_batch(run: RunSettings, data: DatasetFacts, size: int, length: float) -> Batch:
    """Return a batch of `size` whole examples."""
    pixels = float(data.picture_width * data.picture_height)
    vision = run.model.vision
    if vision is None or not data.pictures:
        return Batch(size, length, size * length, 0.0, 0.0, 0, padded=True)
    patches, windows = measure_picture(run, data, vision)
    return Batch(size, length, size * length, size * data.pictures, patches, windows, True, pixels)


def _estimate_evaluation(run: RunSettings, args: Mapping[str, Any], step: StepTime, steps: Steps) -> float:
    strategy = str(args.get("eval_strategy", "no"))
    if not steps.held_out or (strategy == "no" and args.get("do_eval") is not True):
        return 0.0
    per_pass = (step.compute + step.loading) / run.accumulation
    share = 0.4 * read_count(args, "per_device_eval_batch_size", run.batch) / run.batch
    batches = steps.held_out / (read_count(args, "per_device_eval_batch_size", run.batch) * run.gpu_count)
    every = read_number(args, "eval_steps", steps.steps)
    if strategy == "epoch":
        times = math.ceil(steps.epochs)
    elif strategy == "steps":
        times = int(steps.steps / every) if every >= 1 else int(1 / every) if every > 0 else 1
    else:
        times = 0
    return (times + 1) * batches * per_pass * share


def _estimate_saves(run: RunSettings, args: Mapping[str, Any], steps: Steps) -> float:
    parameters = count_parameters(run)
    trained = parameters.optimized if run.finetuning_type == "lora" else run.model.parameters
    weights = trained * (run.trained_bytes if run.finetuning_type == "lora" else run.compute_bytes)
    optimizer = 0.0 if args.get("save_only_model") is True else parameters.optimized * 8.0
    strategy = str(args.get("save_strategy", "steps"))
    every = read_number(args, "save_steps", 500.0)
    if strategy == "no":
        times = 0
    elif strategy == "epoch":
        times = math.ceil(steps.epochs)
    else:
        # A last checkpoint is written at the end as well.
        times = math.ceil(steps.steps / every) if every >= 1 else math.ceil(1 / every) if every > 0 else 1
    each = 0.3 + (weights + optimizer) / _WRITE_BYTES_PER_SECOND
    return times * each + 0.5 + weights / _WRITE_BYTES_PER_SECOND


# -- generation ------------------------------------------------------------------------------------------------


def estimate_generation_phases(
    run: RunSettings, args: Mapping[str, Any], data: DatasetFacts, *, tuned: bool
) -> tuple[dict[str, float], Steps]:
    """Return the seconds of an evaluate job by phase, and what it goes through."""
    seconds, steps = estimate_generation(run, args, data, tuned=tuned)
    phases = {
        "start": _estimate_start(run),
        "load": _estimate_load(run),
        "tokenize": _estimate_tokenizing(run, data, steps.examples),
        "train": 0.0,
        "evaluate": seconds,
        "save": 0.5,
    }
    return phases, steps


def estimate_generation(
    run: RunSettings, args: Mapping[str, Any], data: DatasetFacts, *, tuned: bool, stops: bool = True
) -> tuple[float, Steps]:
    """Return the seconds of generating all answers, and what that goes through.

    Each batch is read once (prefill) and then answered token by token until its longest answer ends: a token reads
    all weights and the cache once, or takes as long as launching the layers does. An untuned model does not know
    when to stop and is taken to write half of what it may; with `stops` false every answer runs to the limit.
    """
    examples = max(1, min(data.examples, read_count(args, "max_samples", 100_000_000)))
    size = read_count(args, "per_device_eval_batch_size", 2)
    batches = math.ceil(examples / (size * run.gpu_count))
    limit = read_count(args, "max_new_tokens", 512)
    longest = data.label_tokens * (1.0 + 0.35 * math.log2(1 + size) / 2)
    answer = min(limit, longest if tuned else max(longest, limit / 2)) if stops else float(limit)
    prompt = max(1.0, min(data.mean_tokens - data.label_tokens, run.cutoff_len))
    ceilings = choose_ceilings(run)
    text = run.model.text
    prefill_batch = _build_batch(run, data, size, prompt)
    prefill = sum(estimate_forward(run, work, ceilings) for work in count_prefill(run, prefill_batch))
    cache = size * 2 * text.layers * text.key_value_width * run.compute_bytes * (prompt + answer / 2)
    read = run.model.parameters * run.compute_bytes + cache
    flops = 2 * size * run.model.parameters / (run.gpu.flops_per_second * ceilings.matrix_share)
    device = read / (run.gpu.bytes_per_second * ceilings.bandwidth_share) + flops
    host = (_LAUNCHES_A_DECODED_LAYER * text.layers + _LAUNCHES_A_TOKEN) * ceilings.forward_seconds
    token = bind(device, host, ceilings)
    seconds = batches * (prefill + answer * token + estimate_loading(run, prefill_batch, ceilings))
    return seconds, Steps(batches, examples, 0, 1.0, examples, round(examples * (prompt + answer)))


def estimate_generation_bytes(
    run: RunSettings, args: Mapping[str, Any], data: DatasetFacts
) -> dict[str, int]:
    """Return the memory of an evaluate job by part."""
    size = read_count(args, "per_device_eval_batch_size", 2)
    length = min(data.max_tokens, run.cutoff_len) + read_count(args, "max_new_tokens", 512)
    text = run.model.text
    cache = size * length * 2 * text.layers * text.key_value_width * run.compute_bytes
    vision = 0.0
    if run.model.vision is not None and data.pictures:
        vision = _build_batch(run, data, size, 0.0).all_patches * run.model.vision.hidden * 16.0
    return {
        "weights": run.model.parameters * run.compute_bytes,
        "gradients": 0,
        "optimizer": 0,
        "activations": int(cache + size * length * text.hidden * 12),
        # Only the last position's logits are made, in float32 for sampling.
        "logits": size * text.vocabulary * 4 * 3,
        "vision": int(vision),
        "overhead": int((0.9 if run.on_cpu else 0.5) * GIB),
    }
