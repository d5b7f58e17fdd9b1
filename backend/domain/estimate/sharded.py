"""What DeepSpeed and FSDP keep on each device of a model that is split among them, read off their code.

P are the trained numbers, N the devices, 2 the bytes of the forward pass and 4 those of single precision.

| | weights | gradients | optimizer (Adam) | whole for a while |
|---|---|---|---|---|
| ZeRO-2 | 2P, and 4P/N of single precision | 2P/N, and a bucket | 8P/N | |
| ZeRO-3 | 2P/N, and 4P/N | 2P/N, and a bucket | 8P/N | weights that are used again soon |
| FSDP, full shard | 4P/N | 4P/N | 8P/N | what belongs to no layer, and two layers |
| FSDP, shard_grad_op | 4P/N | 4P/N | 8P/N | all weights |

Frozen weights are split with the others; a bucket of DeepSpeed's is as large as `domain.sharding` says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from backend.domain.estimate.parameters import Parameters
from backend.domain.estimate.run_settings import RunSettings
from backend.domain.sharding import DEEPSPEED_FILES

_STAGE_2 = DEEPSPEED_FILES["ds_z2_config.json"]["zero_optimization"]
_STAGE_3 = DEEPSPEED_FILES["ds_z3_config.json"]["zero_optimization"]

_LAYERS_AT_ONCE = 2
"""FSDP computes with one layer while the next comes (`backward_prefetch`)."""

_SINGLE = 4


@dataclass(frozen=True)
class Held:
    """Bytes of one device from step to step (`weights`, `gradients`, `optimizer`), whole weights and buckets beside
    them during a pass (`gathered`), what the optimizer's step makes for a while (`update`), and bytes of the node's
    main memory for all its devices together (`host`)."""

    weights: float
    gradients: float
    optimizer: float
    gathered: float
    update: float
    host: float


def measure_held(run: RunSettings, parameters: Parameters, frozen_bytes: float, state_bytes: float) -> Held:
    """Return what is held of the frozen weights (`frozen_bytes` in all), and of the trained ones with `state_bytes` of
    optimizer state for each."""
    if run.sharder == "fsdp":
        return _measure_fsdp(run, parameters, frozen_bytes, state_bytes)
    return _measure_deepspeed(run, parameters, frozen_bytes, state_bytes)


def _measure_deepspeed(
    run: RunSettings, parameters: Parameters, frozen_bytes: float, state_bytes: float
) -> Held:
    width, trained = run.compute_bytes, float(parameters.optimized)
    share = trained / run.gpu_count
    whole = frozen_bytes + width * trained
    if run.zero_stage == 3:
        weights = whole / run.gpu_count
        live = min(_STAGE_3["stage3_max_live_parameters"] * width, whole)
        bucket = width * float(run.model.text.hidden**2)
    else:
        weights, live = whole, 0.0
        bucket = width * float(_STAGE_2["reduce_bucket_size"])
    gradients, master, state = width * share, _SINGLE * share, state_bytes * share
    if not run.zero_offload:
        # For its step the optimizer has the gradients in single precision, stage 3 a group at a time.
        group = min(share, _STAGE_3["sub_group_size"]) if run.zero_stage == 3 else share
        return Held(weights + master, gradients, state, live + bucket, _SINGLE * group, 0.0)
    host = trained * (2 * _SINGLE + state_bytes)
    if run.zero_stage == 3:
        return Held(0.0, 0.0, 0.0, live + bucket, 0.0, host + whole + width * trained)
    return Held(weights, 0.0, 0.0, bucket, 0.0, host)


def _measure_fsdp(run: RunSettings, parameters: Parameters, frozen_bytes: float, state_bytes: float) -> Held:
    text, width, trained = run.model.text, run.compute_bytes, float(parameters.optimized)
    share = trained / run.gpu_count
    whole = frozen_bytes + width * trained
    outside = float(width * max(0, run.model.parameters - text.layers * text.layer_parameters))
    in_a_layer = math.ceil(max(0.0, whole - outside) / max(1, text.layers))
    # Gradients come whole too, a layer at a time.
    gathered = outside + (_LAYERS_AT_ONCE + 1) * in_a_layer if run.zero_stage == 3 else whole + in_a_layer
    weights, gradients = frozen_bytes / run.gpu_count + _SINGLE * share, _SINGLE * share
    if run.zero_offload:
        host = frozen_bytes + trained * (2 * _SINGLE + state_bytes)
        return Held(0.0, 0.0, 0.0, gathered, 0.0, host)
    return Held(weights, gradients, state_bytes * share, gathered, 0.0, 0.0)
