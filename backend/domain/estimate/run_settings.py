"""The training arguments that memory and time depend on, read with LLaMA-Factory's own defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backend.domain.gpu_kinds import GpuKind
from backend.domain.model_facts import ModelFacts
from backend.domain.packages import WORKER_PACKAGES

PAIRED_STAGES = frozenset({"dpo", "rm"})
"""Stages that run the chosen and the rejected answer of every example."""


@dataclass(frozen=True)
class RunSettings:
    """One run on one kind of device.

    `compute_bytes` is the width of a number in the forward pass, `trained_bytes` of a trained weight and its
    gradient. `frozen_vision` says that the vision tower is not trained. `sharder` is who splits the model among
    devices: `deepspeed`, `fsdp` or nobody (empty); `zero_stage` is DeepSpeed's, or that to which FSDP's way of
    splitting corresponds, 0 without.
    `counts_tokens` is `include_num_input_tokens_seen`. `packages` are the optional ones that every node of the kind
    has, which may therefore be recommended.
    """

    model: ModelFacts
    gpu: GpuKind
    gpu_count: int
    stage: str
    finetuning_type: str
    batch: int
    accumulation: int
    cutoff_len: int
    compute_bytes: int
    trained_bytes: int
    gradient_checkpointing: bool
    lora_rank: int
    lora_targets: tuple[str, ...]
    trained_layers: int
    frozen_vision: bool
    frozen_projector: bool
    liger: bool
    attention: str
    quantization_bit: int
    double_quantization: bool
    optimizer: str
    sharder: str
    zero_stage: int
    zero_offload: bool
    workers: int
    preprocessing_workers: int
    packing: bool
    neat_packing: bool
    image_max_pixels: int
    image_min_pixels: int
    has_reference_model: bool
    counts_tokens: bool
    on_platform: bool
    packages: frozenset[str]

    @property
    def on_cpu(self) -> bool:
        return self.gpu.id.startswith("cpu")

    @property
    def has_flash_attention(self) -> bool:
        return self.attention in ("fa2", "fa3")

    @property
    def joins_windows(self) -> bool:
        """Whether a vision tower attends to all windows of its pictures in one call."""
        kernel = not self.on_cpu and self.gpu.has_bfloat16 and self.compute_bytes == 2
        return kernel and ((self.on_platform and self.attention != "disabled") or self.has_flash_attention)

    @property
    def sequences(self) -> int:
        """How many sequences one forward pass holds."""
        return self.batch * (2 if self.stage in PAIRED_STAGES or self.stage == "kto" else 1)

    @property
    def keeps_vision_activations(self) -> bool:
        """Whether a frozen vision tower's activations are kept for a backward pass that nobody needs.

        With LoRA and gradient checkpointing they are: PEFT then makes the outputs of every embedding require
        gradients, the tower's patches too, and LLaMA-Factory checkpoints only layers that are trained.
        """
        return self.frozen_vision and self.gradient_checkpointing and self.finetuning_type == "lora"

    @property
    def trains_vision(self) -> bool:
        return not self.frozen_vision and self.finetuning_type in ("lora", "full")


def parse_run_settings(
    args: Mapping[str, Any],
    *,
    model: ModelFacts,
    gpu: GpuKind,
    gpu_count: int,
    stage: str,
    finetuning_type: str,
    packages: frozenset[str] = WORKER_PACKAGES,
    on_platform: bool = True,
) -> RunSettings:
    """Read `args`; what is missing, or is no number, takes LLaMA-Factory's default."""
    on_cpu = gpu.id.startswith("cpu")
    half = not on_cpu or args.get("bf16") is True
    half = half and (
        args.get("bf16") is not False or args.get("fp16") is True or args.get("pure_bf16") is True
    )
    sharder, stage_of_zero, offload = _read_sharding(args)
    loss = str(args.get("pref_loss", "sigmoid"))
    bits = _read_signed(args, "quantization_bit", 0)
    return RunSettings(
        model=model,
        gpu=gpu,
        gpu_count=max(1, gpu_count),
        stage=stage,
        finetuning_type=finetuning_type,
        batch=read_count(args, "per_device_train_batch_size", 2),
        accumulation=read_count(args, "gradient_accumulation_steps", 8),
        cutoff_len=read_count(args, "cutoff_len", 2048),
        compute_bytes=2 if half else 4,
        trained_bytes=2 if args.get("pure_bf16") is True else 4,
        gradient_checkpointing=args.get("disable_gradient_checkpointing") is not True,
        lora_rank=read_count(args, "lora_rank", 8),
        lora_targets=_read_names(args.get("lora_target", "all")),
        trained_layers=_read_signed(args, "freeze_trainable_layers", 2),
        frozen_vision=args.get("freeze_vision_tower") is not False,
        frozen_projector=args.get("freeze_multi_modal_projector") is not False,
        liger=args.get("enable_liger_kernel") is True and not on_cpu,
        attention=str(args.get("flash_attn", "auto")),
        quantization_bit=bits if 2 <= bits <= 8 else 0,
        double_quantization=args.get("double_quantization") is not False,
        optimizer=str(args.get("optim", "adamw_torch")),
        sharder=sharder,
        zero_stage=stage_of_zero,
        zero_offload=offload,
        workers=read_count(args, "dataloader_num_workers", 0, least=0),
        preprocessing_workers=read_count(args, "preprocessing_num_workers", 1),
        packing=args.get("packing") is True or args.get("neat_packing") is True,
        neat_packing=args.get("neat_packing") is True,
        image_max_pixels=read_count(args, "image_max_pixels", 768 * 768),
        image_min_pixels=read_count(args, "image_min_pixels", 32 * 32),
        has_reference_model=stage == "ppo" or (stage in ("dpo", "kto") and loss not in ("orpo", "simpo")),
        counts_tokens=args.get("include_num_input_tokens_seen", "no") not in ("no", False, None),
        packages=packages,
        on_platform=on_platform,
    )


def read_number(args: Mapping[str, Any], name: str, default: float) -> float:
    """Return a finite number of `args`, or the default."""
    value = args.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15:
        return float(value)
    return default


def read_count(args: Mapping[str, Any], name: str, default: int, *, least: int = 1) -> int:
    """Return a whole number of `args` of at least `least`, or the default."""
    return max(least, int(read_number(args, name, default)))


def _read_signed(args: Mapping[str, Any], name: str, default: int) -> int:
    return int(read_number(args, name, default))


def _read_names(value: Any) -> tuple[str, ...]:
    names = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else ["all"]
    return tuple(str(name).strip() for name in names) or ("all",)


def _read_sharding(args: Mapping[str, Any]) -> tuple[str, int, bool]:
    """Return who splits the model, ZeRO's stage or FSDP's counterpart of it, and whether state is offloaded to main
    memory."""
    fsdp = str(args.get("fsdp") or "").split()
    if "full_shard" in fsdp or "shard_grad_op" in fsdp:
        return "fsdp", 3 if "full_shard" in fsdp else 2, "offload" in fsdp
    stage, offload = _read_deepspeed(args.get("deepspeed"))
    return "deepspeed" if stage else "", stage, offload


def _read_deepspeed(value: Any) -> tuple[int, bool]:
    """Read ZeRO's stage and offload from a DeepSpeed config, or from its file's name (`ds_z3_offload`)."""
    if isinstance(value, dict):
        zero = value.get("zero_optimization")
        zero = zero if isinstance(zero, dict) else {}
        stage = zero.get("stage")
        offload = bool(zero.get("offload_optimizer") or zero.get("offload_param"))
        return (stage if stage in (1, 2, 3) else 0), offload
    name = str(value or "")
    for stage in (3, 2):
        if f"z{stage}" in name:
            return stage, "offload" in name
    return 0, False
