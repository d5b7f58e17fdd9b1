"""The runs that `measure_llamafactory.py` measures, in the order of what the estimator learns from each.

Ids are hashed to hold out a third (`is_held_out`): this rule was fixed before anything was measured or fitted.
"""

from __future__ import annotations

import hashlib
from typing import Any


def is_held_out(case_id: str) -> bool:
    """Tell whether a case is kept to check the estimator against, and never fitted to."""
    return hashlib.sha256(case_id.encode()).digest()[0] % 3 == 0


def _build(case_id: str, model: str, method: str, shape: str, **rest: Any) -> dict[str, Any]:
    """Build a case; `shape` is cutoff x batch x accumulation, `method` such as `lora8`, `full`, `freeze2`, `dpo8`."""
    cutoff, batch, accumulation = (int(part) for part in shape.split("x"))
    kind = method.rstrip("0123456789")
    number = int(method[len(kind) :] or 0)
    case: dict[str, Any] = {
        "id": case_id,
        "model": model,
        "stage": "dpo" if kind == "dpo" else "sft",
        "finetuning_type": "lora" if kind in ("lora", "dpo") else kind,
        "lora_rank": number if kind in ("lora", "dpo") else None,
        "data": "pref" if kind == "dpo" else "image" if "-vl-" in model else "text",
        "cutoff_len": cutoff,
        "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": accumulation,
        "dataloader_num_workers": rest.pop("workers", 0),
        "gradient_checkpointing": rest.pop("checkpointing", True),
        "steps": rest.pop("steps", 10),
        "expected_s": rest.pop("expected_s", 18),
    }
    if kind == "freeze":
        case["freeze_trainable_layers"] = number
    if rest.pop("liger", False):
        case["enable_liger_kernel"] = True
    return case | rest


CASES: list[dict[str, Any]] = [
    # LLaMA-Factory's defaults on pictures, then what the estimator recommends for the same global batch.
    _build("m01-vl7-defaults", "qwen2.5-vl-7b", "lora8", "2048x2x8", steps=6, expected_s=60),
    _build(
        "m02-vl7-recommended",
        "qwen2.5-vl-7b",
        "lora8",
        "2048x8x2",
        workers=14,
        checkpointing=False,
        liger=True,
        steps=8,
        expected_s=40,
    ),
    _build("m03-7b-b4", "qwen2.5-7b", "lora8", "1024x4x2"),
    _build("m04-7b-plain", "qwen2.5-7b", "lora8", "2048x4x1", checkpointing=False),
    _build("m05-05b-b8", "qwen2.5-0.5b", "lora8", "512x8x1"),
    _build("m06-7b-full", "qwen2.5-7b", "full", "1024x1x2", steps=8, expected_s=25),
    _build("m07-7b-freeze", "qwen2.5-7b", "freeze2", "2048x2x2"),
    _build("m08-7b-dpo", "qwen2.5-7b", "dpo8", "1024x1x2"),
    _build(
        "m09-vl7-plain",
        "qwen2.5-vl-7b",
        "lora8",
        "2048x4x1",
        workers=8,
        checkpointing=False,
        expected_s=30,
    ),
    _build("m10-vl3-b4", "qwen2.5-vl-3b", "lora8", "2048x4x1", workers=4, expected_s=30),
    _build("m11-14b", "qwen2.5-14b", "lora8", "2048x1x2"),
    _build("m12-15b-full-plain", "qwen2.5-1.5b", "full", "2048x2x2", checkpointing=False),
    _build("m13-7b-liger-plain", "qwen2.5-7b", "lora8", "2048x4x1", checkpointing=False, liger=True),
    _build("m14-3b-plain", "qwen2.5-3b", "lora8", "4096x1x2", checkpointing=False),
    _build("m15-7b-freeze-plain", "qwen2.5-7b", "freeze2", "2048x4x1", checkpointing=False),
    _build("m16-3b-dpo-plain", "qwen2.5-3b", "dpo8", "1024x2x1", checkpointing=False),
    _build("m17-05b-plain", "qwen2.5-0.5b", "lora8", "2048x8x2", checkpointing=False),
    _build("m18-llama8-b2", "llama3-8b", "lora8", "2048x2x2"),
    _build("m19-vl3-slow-data", "qwen2.5-vl-3b", "lora8", "2048x2x2", checkpointing=False, expected_s=30),
    _build("m20-vl7-b1", "qwen2.5-vl-7b", "lora8", "2048x1x4", workers=4, steps=8, expected_s=30),
    _build("m21-7b-liger", "qwen2.5-7b", "lora8", "2048x4x1", liger=True),
    _build("m22-14b-plain", "qwen2.5-14b", "lora8", "1024x4x1", checkpointing=False, expected_s=25),
    _build("m23-05b-full", "qwen2.5-0.5b", "full", "2048x4x2"),
    _build("m24-7b-rank32", "qwen2.5-7b", "lora32", "4096x2x1"),
    _build("m25-vl3-full", "qwen2.5-vl-3b", "full", "2048x2x2", workers=8, expected_s=35),
    _build("m26-05b-dpo", "qwen2.5-0.5b", "dpo8", "1024x4x1"),
    _build("m27-3b-freeze8-plain", "qwen2.5-3b", "freeze8", "2048x2x1", checkpointing=False),
    _build("m28-3b-long-steps", "qwen2.5-3b", "lora8", "2048x2x4"),
    _build("m29-llama8-long", "llama3-8b", "lora8", "8192x1x1"),
    _build("m30-vl7-freeze", "qwen2.5-vl-7b", "freeze2", "2048x2x2", workers=8, expected_s=35),
    _build("m31-15b-plain", "qwen2.5-1.5b", "lora8", "2048x4x2", checkpointing=False),
    _build("m32-3b-full-single", "qwen2.5-3b", "full", "2048x1x1"),
    _build("m33-7b-full-bf16", "qwen2.5-7b", "full", "2048x2x1", pure_bf16=True),
    _build("m34-15b-freeze4", "qwen2.5-1.5b", "freeze4", "1024x8x1"),
    _build("m35-7b-full-too-large", "qwen2.5-7b", "full", "2048x8x1", checkpointing=False, steps=5),
    _build("m36-vl7-too-large", "qwen2.5-vl-7b", "lora8", "2048x32x1", workers=14, steps=4, expected_s=40),
    _build("m37-15b-dpo-plain", "qwen2.5-1.5b", "dpo8", "2048x1x2", checkpointing=False),
    _build("m39-14b-freeze", "qwen2.5-14b", "freeze2", "1024x2x1"),
    _build("m40-15b-liger", "qwen2.5-1.5b", "lora8", "2048x4x1", liger=True),
    _build("m41-3b-liger-plain", "qwen2.5-3b", "lora8", "2048x4x1", checkpointing=False, liger=True),
    _build("m42-vl3-freeze", "qwen2.5-vl-3b", "freeze2", "2048x4x1", workers=8, expected_s=30),
    _build("m43-7b-qlora4", "qwen2.5-7b", "lora8", "2048x2x2", quantization_bit=4, steps=8, expected_s=40),
    _build(
        "m44-15b-qlora4-plain", "qwen2.5-1.5b", "lora8", "2048x2x2", checkpointing=False, quantization_bit=4
    ),
    _build("m45-15b-qlora8", "qwen2.5-1.5b", "lora8", "2048x2x2", quantization_bit=8),
    _build(
        "m46-15b-qlora4-b8", "qwen2.5-1.5b", "lora8", "1024x8x1", quantization_bit=4, optim="paged_adamw_8bit"
    ),
    _build("m47-3b-full-adam8", "qwen2.5-3b", "full", "2048x2x2", optim="adamw_8bit"),
    _build("m48-vl7-loaders", "qwen2.5-vl-7b", "lora8", "2048x2x8", workers=4, steps=6, expected_s=70),
    _build(
        "m49-vl7-fast",
        "qwen2.5-vl-7b",
        "lora8",
        "2048x8x2",
        workers=8,
        checkpointing=False,
        liger=True,
        steps=7,
        expected_s=48,
    ),
    _build("m38-3b-plain-b8", "qwen2.5-3b", "lora16", "512x16x1", checkpointing=False),
]


# -- on the CPU --------------------------------------------------------------------------------------------

_DEMONSTRATION_VISION = {
    "depth": 3,
    "hidden_size": 96,
    "intermediate_size": 192,
    "num_heads": 4,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "spatial_merge_size": 2,
    "window_size": 112,
    "fullatt_block_indexes": [0, 1, 2],
}


def _build_on_cpu(case_id: str, shape: str, method: str, batch: str, **rest: Any) -> dict[str, Any]:
    """Build a case of a small model: `shape` is hidden x layers, of text or, with `v` before it, with pictures."""
    hidden, layers = (int(part) for part in shape.removeprefix("v").split("x"))
    has_pictures = shape.startswith("v")
    case = _build(case_id, "small-vl-" if has_pictures else "small", method, batch, **rest)
    config: dict[str, Any] = {
        "model_type": "qwen2_5_vl" if has_pictures else "qwen2",
        "hidden_size": hidden,
        "intermediate_size": 3 * hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": max(2, hidden // 32),
        "num_key_value_heads": max(1, hidden // 64),
        "head_dim": 32,
        "vocab_size": 1024,
        "tie_word_embeddings": True,
    }
    if has_pictures:
        config["vision_config"] = _DEMONSTRATION_VISION | {"out_hidden_size": hidden}
    return case | {"model": f"small {shape}", "config": config, "image_max_pixels": 112 * 84}


CPU_CASES: list[dict[str, Any]] = [
    _build_on_cpu("c01-demo", "v128x4", "lora16", "512x16x1", steps=14),
    _build_on_cpu("c02-demo-plain", "v128x4", "lora16", "512x16x1", checkpointing=False, steps=14),
    _build_on_cpu("c03-demo-b4", "v128x4", "lora8", "512x4x4", steps=10),
    _build_on_cpu("c04-demo-full", "v128x4", "full", "512x16x1", steps=14),
    _build_on_cpu("c05-demo-b32", "v128x4", "lora8", "512x32x1", checkpointing=False),
    _build_on_cpu("c06-demo-freeze", "v128x4", "freeze2", "512x16x1"),
    _build_on_cpu("c07-v256", "v256x6", "lora8", "512x8x2"),
    _build_on_cpu("c08-v256-full", "v256x6", "full", "512x8x1", checkpointing=False),
    _build_on_cpu("c09-text", "128x4", "lora8", "128x16x1"),
    _build_on_cpu("c10-text-plain", "128x4", "lora8", "128x16x1", checkpointing=False),
    _build_on_cpu("c11-text-full", "128x4", "full", "256x8x2"),
    _build_on_cpu("c12-text-long", "128x4", "lora8", "512x4x1"),
    _build_on_cpu("c13-wide", "256x6", "lora8", "256x4x2"),
    _build_on_cpu("c14-wide-full", "256x6", "full", "256x4x1"),
    _build_on_cpu("c15-wide-plain", "256x6", "full", "128x8x1", checkpointing=False),
    _build_on_cpu("c16-deep", "128x12", "lora8", "128x4x2"),
    _build_on_cpu("c17-deep-full", "128x12", "full", "128x8x1", checkpointing=False),
    _build_on_cpu("c18-large", "512x8", "lora8", "128x4x1"),
    _build_on_cpu("c19-large-full", "512x8", "full", "128x4x1", checkpointing=False),
    _build_on_cpu("c20-large-freeze", "512x8", "freeze2", "256x2x2"),
    _build_on_cpu("c21-dpo", "128x4", "dpo8", "128x4x1"),
    _build_on_cpu("c22-dpo-wide", "256x6", "dpo8", "128x4x1", checkpointing=False),
    _build_on_cpu("c23-small-batch", "128x4", "lora8", "64x1x8", steps=8),
    _build_on_cpu("c24-v128-one", "v128x4", "lora8", "512x1x8", steps=8),
    _build_on_cpu("c25-large-long", "512x8", "lora8", "512x2x1", checkpointing=False),
    _build_on_cpu("c26-v256-plain", "v256x6", "lora32", "512x16x1", checkpointing=False),
]
"""Run with one thread each and timed by the CPU seconds of the process, so that a busy machine does not count."""
