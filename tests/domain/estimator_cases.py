"""Jobs to estimate: models, datasets and arguments as people have them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from backend.domain.estimate.dataset_facts import SHARES
from backend.domain.estimator import DatasetFacts
from backend.domain.gpu_kinds import GIB
from backend.domain.model_facts import ModelFacts, parse_model_facts
from backend.domain.published_models import find_published_config

FSDP_WAYS = ("full_shard auto_wrap", "full_shard auto_wrap offload", "shard_grad_op auto_wrap")
MODELS = ["qwen2.5-0.5b", "qwen2.5-1.5b", "qwen2.5-3b", "qwen2.5-7b", "qwen2.5-14b", "llama3-8b", "qwen3-8b"]
MODELS += ["qwen2.5-vl-3b", "qwen2.5-vl-7b", "qwen2-vl-7b"]


def build_model(name: str) -> ModelFacts:
    """Return a published model."""
    return parse_model_facts(find_published_config(name) or {})


def build_data(
    examples: int, tokens: float, *, spread: float = 0.0, pictures: float = 0.0, counted: bool = False
) -> DatasetFacts:
    """Return a dataset of `tokens` on average; `spread` is how much longer the longest are, as a share.

    If `counted`, its quantiles are known: they rise evenly to the longest.
    """
    stats: dict[str, Any] = {
        "mean": tokens, "p50": tokens, "p95": tokens * (1 + spread), "max": tokens * (1 + 2 * spread)
    }  # fmt: skip
    if counted:
        lowest = tokens * (1 - min(0.9, 2 * spread))
        stats["quantiles"] = [[share, lowest + (stats["max"] - lowest) * share] for share in SHARES]
    facts: dict[str, Any] = {"token_stats": stats | {"label_mean": tokens / 5}}
    if pictures:
        stats["image_tokens_mean"] = min(tokens, 770 * pictures)
        facts["token_stats"] |= stats
        facts["picture_stats"] = {"per_example": pictures, "width_mean": 1928, "height_mean": 1208}
    return DatasetFacts.parse(examples, facts)


def build_args() -> dict[str, Any]:
    """Return the defaults of the platform's form."""
    return {
        "cutoff_len": 2048,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 8,
        "num_train_epochs": 3,
        "lora_rank": 8,
        "bf16": True,
    }


@st.composite
def jobs(draw: st.DrawFn, kinds: tuple[str, ...] = ("train", "evaluate")) -> dict[str, Any]:
    """Return the keyword arguments of `estimate_job`."""
    pictures = draw(st.sampled_from([0.0, 0.0, 1.0, 2.0]))
    args = build_args() | {
        "cutoff_len": draw(st.sampled_from([256, 1024, 2048, 8192])),
        "per_device_train_batch_size": draw(st.sampled_from([1, 2, 3, 8, 16])),
        "per_device_eval_batch_size": draw(st.sampled_from([1, 4, 32])),
        "gradient_accumulation_steps": draw(st.sampled_from([1, 2, 8])),
        "disable_gradient_checkpointing": draw(st.booleans()),
        "enable_liger_kernel": draw(st.booleans()),
        "dataloader_num_workers": draw(st.sampled_from([0, 4])),
        "lora_rank": draw(st.sampled_from([4, 64])),
        "freeze_trainable_layers": draw(st.sampled_from([2, 8, -2])),
        "freeze_vision_tower": draw(st.booleans()),
        "pure_bf16": draw(st.booleans()),
        "flash_attn": draw(st.sampled_from(["auto", "sdpa", "fa2", "disabled"])),
        "quantization_bit": draw(st.sampled_from([None, None, 4, 8])),
        "deepspeed": draw(st.sampled_from([None, "ds_z2", "ds_z2_offload", "ds_z3", "ds_z3_offload"])),
        "fsdp": draw(st.sampled_from([None, None, *FSDP_WAYS])),
        "optim": draw(st.sampled_from(["adamw_torch", "adamw_torch", "paged_adamw_8bit", "adafactor"])),
    }
    return {
        "kind": draw(st.sampled_from(kinds)),
        "stage": draw(st.sampled_from(["sft", "sft", "dpo", "kto", "rm", "pt"])),
        "finetuning_type": draw(st.sampled_from(["lora", "full", "freeze"])),
        "args": args,
        "model": build_model(draw(st.sampled_from(MODELS))),
        "datasets": [
            build_data(
                draw(st.integers(1, 20_000)),
                draw(st.floats(20, 6000)),
                spread=draw(st.sampled_from([0.0, 0.3, 2.0])),
                pictures=pictures,
                counted=draw(st.booleans()),
            )
        ],
        "gpu_kind": draw(st.sampled_from(["h200", "h800-80g", "rtx4090", "v100", "cpu", "unheard-of"])),
        "gpu_count": draw(st.sampled_from([1, 2, 8])),
        "memory_bytes": draw(st.sampled_from([None, 24 * GIB, 140 * GIB])),
        "tier": draw(st.sampled_from(["express", "flex", "spot"])),
        "packages": frozenset(draw(st.sets(st.sampled_from(["liger-kernel", "flash-attn", "bitsandbytes"])))),
    }
