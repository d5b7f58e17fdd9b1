"""Splitting one model's training over several GPUs: the files that LLaMA-Factory is given for DeepSpeed and FSDP.

The DeepSpeed files are those of LLaMA-Factory's own board and examples (`examples/deepspeed`), whose names they
keep; the FSDP file is its `examples/accelerate/fsdp_config.yaml` in the words of transformers' `fsdp_config`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

FSDP_FILE = "fsdp_config.json"

_COMMON: dict[str, Any] = {
    "train_batch_size": "auto",
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "zero_allow_untested_optimizer": True,
    "fp16": {
        "enabled": "auto",
        "loss_scale": 0,
        "loss_scale_window": 1000,
        "initial_scale_power": 16,
        "hysteresis": 2,
        "min_loss_scale": 1,
    },
    "bf16": {"enabled": "auto"},
}
_STAGE_2: dict[str, Any] = {
    "stage": 2,
    "allgather_partitions": True,
    "allgather_bucket_size": 5e8,
    "overlap_comm": False,
    "reduce_scatter": True,
    "reduce_bucket_size": 5e8,
    "contiguous_gradients": True,
    "round_robin_gradients": True,
}
_STAGE_3: dict[str, Any] = {
    "stage": 3,
    "overlap_comm": False,
    "contiguous_gradients": True,
    "sub_group_size": 1e9,
    "reduce_bucket_size": "auto",
    "stage3_prefetch_bucket_size": "auto",
    "stage3_param_persistence_threshold": "auto",
    "stage3_max_live_parameters": 1e9,
    "stage3_max_reuse_distance": 1e9,
    "stage3_gather_16bit_weights_on_model_save": True,
}
_OFFLOAD = {"device": "cpu", "pin_memory": True}
# DeepSpeed's own Adam on the processor is compiled when a run starts, which needs CUDA's compiler on the node; torch's
# does not.
_ANY_OPTIMIZER = {"zero_force_ds_cpu_optimizer": False}

DEEPSPEED_FILES: dict[str, dict[str, Any]] = {
    "ds_z0_config.json": _COMMON | {"zero_optimization": _STAGE_2 | {"stage": 0}},
    "ds_z2_config.json": _COMMON | {"zero_optimization": _STAGE_2},
    "ds_z2_offload_config.json": _COMMON
    | _ANY_OPTIMIZER
    | {"zero_optimization": _STAGE_2 | {"offload_optimizer": _OFFLOAD}},
    "ds_z3_config.json": _COMMON | {"zero_optimization": _STAGE_3},
    "ds_z3_offload_config.json": _COMMON
    | _ANY_OPTIMIZER
    | {"zero_optimization": _STAGE_3 | {"offload_optimizer": _OFFLOAD, "offload_param": _OFFLOAD}},
}
"""DeepSpeed's configurations by the name that the argument `deepspeed` has, which is their file's."""

_FSDP: dict[str, Any] = {
    "version": 1,
    "backward_prefetch": "BACKWARD_PRE",
    "forward_prefetch": False,
    "cpu_ram_efficient_loading": True,
    "sync_module_states": True,
    "use_orig_params": True,
    "state_dict_type": "FULL_STATE_DICT",
}


def build_sharding_files(args: Mapping[str, Any]) -> dict[str, str]:
    """Return the files, by name, that a run with `args` reads beside its `train.yaml`."""
    files = {}
    if args.get("deepspeed"):
        files[args["deepspeed"]] = DEEPSPEED_FILES[args["deepspeed"]]
    if args.get("fsdp"):
        files[FSDP_FILE] = _FSDP
    return {name: json.dumps(content, indent=2) + "\n" for name, content in files.items()}
