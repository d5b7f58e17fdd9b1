"""LLaMA-Factory's arguments: what there is, what the platform's defaults are, what may be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backend.domain.errors import Problem


def build_defaults(*, kind: str, stage: str, finetuning_type: str, device: str) -> dict[str, Any]:
    """Return what `args` leaves out takes: the values of the hosted product's form."""
    if kind == "evaluate":
        return {
            "cutoff_len": 1024, "max_samples": 100_000, "per_device_eval_batch_size": 2, "seed": 42,
            "max_new_tokens": 512, "do_sample": True, "top_p": 0.7, "temperature": 0.95,
        }  # fmt: skip
    defaults: dict[str, Any] = {
        "cutoff_len": 2048, "learning_rate": 5e-5, "num_train_epochs": 3.0,
        "per_device_train_batch_size": 2, "gradient_accumulation_steps": 8, "lr_scheduler_type": "cosine",
        "warmup_steps": 0.1, "max_grad_norm": 1.0, "val_size": 0.0, "bf16": device != "cpu", "seed": 42,
        "logging_steps": 5, "save_steps": 100, "save_total_limit": 3, "plot_loss": True,
        "include_num_input_tokens_seen": True,
    }  # fmt: skip
    if finetuning_type == "lora":
        defaults |= {"lora_rank": 8, "lora_alpha": 16, "lora_dropout": 0.0, "lora_target": "all"}
    if finetuning_type == "freeze":
        defaults |= {"freeze_trainable_layers": 2, "freeze_trainable_modules": "all"}
    return defaults


def check_arguments(
    args: Mapping[str, Any],
    *,
    kind: str,
    stage: str,
    finetuning_type: str,
    gpu_count: int,
    device: str,
    template: str | None,
) -> tuple[dict[str, Any], list[Problem]]:
    """Return `args` and every problem with them."""
    return dict(args), []


def list_arguments() -> list[dict[str, Any]]:
    """Return every argument that may be set."""
    defaults = build_defaults(kind="train", stage="sft", finetuning_type="lora", device="cuda")
    return [{"name": name, "default": value} for name, value in defaults.items()]
