"""The demonstration's names, descriptions in two languages, and the bodies of its two kinds of job."""

from __future__ import annotations

from typing import Any

DEMONSTRATION_VERSION = 3
"""Raised whenever the made model or data change, so that a home made by an older release is made anew."""

MODEL_NAME = "tiny-qwen2.5-vl"
TRAIN_DATASET_NAME = "driving-qa-demo"
HELDOUT_DATASET_NAME = "driving-qa-demo-heldout"
GPU_KIND = "cpu"
TEMPLATE = "qwen2_vl"

DESCRIPTIONS: dict[str, dict[str, str]] = {
    MODEL_NAME: {
        "zh": "约 140 万参数的 Qwen2.5-VL，在本机制作：预训练时只学过用英文回答图片问题，并读过一份中英对照词句表"
        "（不带图片），尚不会用中文看图回答；供演示使用。",
        "en": "A Qwen2.5-VL of 1.4 million parameters, made on this machine. Its pre-training were English "
        "questions about pictures, and a glossary of English and Chinese without any; it does not answer about "
        "pictures in Chinese yet. For demonstration.",
    },
    TRAIN_DATASET_NAME: {
        "zh": "绘制的道路场景与中文驾驶问答（训练集），ShareGPT 格式，带图片。",
        "en": "Drawn road scenes with questions and answers about driving in Chinese (training split), "
        "in ShareGPT form, with pictures.",
    },
    HELDOUT_DATASET_NAME: {
        "zh": "与 driving-qa-demo 同类的问答，图片均未在训练集中出现，用于评估。",
        "en": "The same kind of questions as driving-qa-demo on pictures that are not in it, for evaluation.",
    },
}

TRAIN_ARGS: dict[str, Any] = {
    "cutoff_len": 512,
    "num_train_epochs": 4,
    "learning_rate": 4e-3,
    "per_device_train_batch_size": 16,
    "gradient_accumulation_steps": 1,
    "disable_gradient_checkpointing": True,
    "lora_rank": 16,
    "lora_alpha": 32,
    "logging_steps": 5,
    "seed": 42,
}
"""The learning rate is higher than on large models: a small rank on a narrow model has few steps to learn in. Memory is
no question of so small a model, so nothing is computed twice to save it."""

EVALUATE_ARGS: dict[str, Any] = {
    "cutoff_len": 512,
    "per_device_eval_batch_size": 32,
    "max_new_tokens": 64,
    "do_sample": False,
}
"""Greedy decoding, so that two evaluations of one model give the same answers."""


def build_train_job() -> dict[str, Any]:
    """Return the body of `POST /api/v1/jobs` that fine-tunes the demonstration model by LoRA."""
    return {
        "kind": "train",
        "name": "driving-qa-demo-lora",
        "model": MODEL_NAME,
        "datasets": [TRAIN_DATASET_NAME],
        "stage": "sft",
        "finetuning_type": "lora",
        "args": dict(TRAIN_ARGS),
        "resources": {"gpu_kind": GPU_KIND, "gpu_count": 1},
        "tier": "express",
    }


def build_evaluate_job(adapter: str | None) -> dict[str, Any]:
    """Return the body of `POST /api/v1/jobs` that evaluates on the held-out pictures.

    `adapter` is a train job's id, `"<id>:checkpoint-<step>"`, or None for the untouched model.
    """
    return {
        "kind": "evaluate",
        "name": "driving-qa-demo-untouched" if adapter is None else "driving-qa-demo-tuned",
        "model": MODEL_NAME,
        "adapter": adapter,
        "datasets": [HELDOUT_DATASET_NAME],
        "args": dict(EVALUATE_ARGS),
        "resources": {"gpu_kind": GPU_KIND, "gpu_count": 1},
        "tier": "express",
    }


TRAIN_JOB: dict[str, Any] = build_train_job()
EVALUATE_JOB: dict[str, Any] = build_evaluate_job(None)
