"""Argument sets of which LLaMA-Factory's own verdict is known: sound ones, and unsound ones with who says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backend.domain.packages import OPTIONAL_PACKAGES, WORKER_PACKAGES

LACKING = dict.fromkeys(set(OPTIONAL_PACKAGES) - WORKER_PACKAGES - {"deepspeed"}, "gpu-2")
"""What the machine of the tests lacks, which is what the lock file has no extra for but bitsandbytes."""

_VALIDATED: dict[str, Any] = {"val_size": 4, "eval_strategy": "steps", "eval_steps": 5, "save_steps": 5}


@dataclass(frozen=True)
class Case:
    """What is asked for on a CPU; `blames` is an argument that a problem must name (None: there is none).

    `by` says who else refuses it: `arguments` (LLaMA-Factory when it reads them), `run` (only a run shows it),
    or, where LLaMA-Factory would take it, the reason why we do not.
    """

    args: dict[str, Any]
    blames: str | None = None
    by: str = ""
    kind: str = "train"
    finetuning_type: str = "lora"
    datasets: tuple[str, ...] = ("tiny",)


SOUND = [
    Case({}),
    Case({}, finetuning_type="full"),
    Case({"freeze_trainable_layers": 1}, finetuning_type="freeze"),
    Case({"freeze_trainable_layers": -1, "freeze_extra_modules": "embed_tokens"}, finetuning_type="freeze"),
    Case({"learning_rate": 1e-3, "num_train_epochs": 2, "max_steps": -1}),
    Case({"max_steps": 3, "warmup_steps": 2}),
    Case({"warmup_ratio": 0.2}),
    Case({"warmup_steps": 0}),
    Case({"val_size": 0.2}),
    Case({"val_size": 4.0}),
    Case({"val_size": 1}),
    Case(
        {"val_size": 0.2, "eval_strategy": "epoch", "save_strategy": "epoch", "load_best_model_at_end": True}
    ),
    Case(_VALIDATED | {"load_best_model_at_end": True, "early_stopping_steps": 2}),
    Case({"val_size": 4, "save_steps": 10, "eval_steps": 5, "load_best_model_at_end": True}),
    Case({"val_size": 4, "save_steps": 0.5, "eval_steps": 0.25, "load_best_model_at_end": True}),
    Case(_VALIDATED | {"save_strategy": "best", "metric_for_best_model": "eval_loss"}),
    Case(
        _VALIDATED
        | {"compute_accuracy": True, "load_best_model_at_end": True, "metric_for_best_model": "accuracy"}
    ),
    Case(
        _VALIDATED | {"predict_with_generate": True, "max_new_tokens": 4, "metric_for_best_model": "bleu-4"}
    ),
    Case({"val_size": 4, "eval_strategy": "no"}),
    Case({"val_size": 4, "eval_strategy": "no", "do_eval": True}),
    Case({"val_size": 4, "eval_on_start": True}),
    Case({"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": 0.1}}),
    Case({"lr_scheduler_type": "warmup_stable_decay", "lr_scheduler_kwargs": {"decay_type": "1-sqrt"}}),
    Case({"lr_scheduler_type": "cosine_with_restarts", "lr_scheduler_kwargs": {"num_cycles": 2}}),
    Case({"lr_scheduler_type": "inverse_sqrt", "lr_scheduler_kwargs": {"timescale": 10}}),
    Case({"lr_scheduler_type": "polynomial", "lr_scheduler_kwargs": {"power": 2}}),
    Case(_VALIDATED | {"lr_scheduler_type": "reduce_lr_on_plateau", "lr_scheduler_kwargs": {"factor": 0.5}}),
    Case(_VALIDATED | {"lr_scheduler_type": "greedy"}),
    Case({"optim": "sgd", "optim_args": "momentum=0.9"}),
    Case({"optim": "adafactor", "weight_decay": 0.01}),
    Case({"optim": "adamw_torch", "adam_beta1": 0.8, "adam_epsilon": 1e-7}),
    Case({"use_muon": True}, finetuning_type="full"),
    Case({"lora_rank": 4, "lora_alpha": None, "lora_dropout": 0.1, "lora_target": "q_proj, v_proj"}),
    Case({"use_dora": True, "use_rslora": True}),
    Case({"loraplus_lr_ratio": 16.0, "additional_target": "embed_tokens,lm_head"}),
    Case({"pissa_init": True, "pissa_iter": -1}),
    Case({"use_llama_pro": True, "freeze_trainable_layers": 1}),
    Case({"packing": True}),
    Case({"neat_packing": True, "flash_attn": "disabled"}),
    Case({"train_on_prompt": True, "default_system": "1e5"}),
    Case({"mask_history": True, "default_system": 'Zeile 1\nno: "ja" # kein Kommentar, 你好'}),
    Case({"streaming": True, "max_steps": 3}),
    Case({"streaming": True, "max_steps": 3, "val_size": 4}),
    Case({"mix_strategy": "interleave_under", "interleave_probs": "0.5,0.5"}, datasets=("tiny", "other")),
    Case({"mix_strategy": "interleave_over"}, datasets=("tiny", "other")),
    Case({"use_dft_loss": True}),
    Case({"use_asft_loss": True}, finetuning_type="full"),
    Case({"neftune_noise_alpha": 5, "label_smoothing_factor": 0.1}),
    Case(
        {"dataloader_num_workers": 1, "dataloader_prefetch_factor": 2, "dataloader_persistent_workers": True}
    ),
    Case({"torch_compile": True, "torch_compile_backend": "eager"}),
    Case({"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False}}),
    Case({"train_sampling_strategy": "group_by_length", "include_num_input_tokens_seen": "non_padding"}),
    Case({"add_tokens": "<a>,<b>", "rope_scaling": "linear", "disable_gradient_checkpointing": True}),
    Case({"save_strategy": "no", "logging_strategy": "epoch", "debug": "underflow_overflow"}),
    Case({"seed": 4294967295, "data_seed": 0, "full_determinism": True, "save_total_limit": None}),
    Case({}, kind="evaluate"),
    Case({"do_sample": False}, kind="evaluate", finetuning_type="full"),
    Case({"num_beams": 2, "top_k": 0, "repetition_penalty": 1.1, "infer_dtype": "bfloat16"}, kind="evaluate"),
    Case({"max_samples": None, "eval_accumulation_steps": 1}, kind="evaluate", datasets=("tiny", "other")),
]


_NO_EFFECT = "LLaMA-Factory ignores it, and a person would wait for an effect"
_NO_TYPES = "LLaMA-Factory checks no types in a file: it goes wrong later, or silently"
_NO_RANGE = "LLaMA-Factory checks no ranges: it trains nothing or nonsense"
_SLOW = "a CPU computes in half precision many times slower"
_OWNER = "the platform sets it"

UNSOUND = [
    # Names.
    Case({"learning_rat": 1e-4}, "learning_rat", "arguments"),
    Case({"warmup_step": 3}, "warmup_step", "arguments"),
    Case({"evaluation_strategy": "steps"}, "evaluation_strategy", "arguments"),
    Case({"compute_dtype": "float32"}, "compute_dtype", "arguments"),
    # Types.
    Case({"learning_rate": "5e-5"}, "learning_rate", "run"),
    Case({"learning_rate": "fast"}, "learning_rate", "run"),
    Case({"num_train_epochs": "3"}, "num_train_epochs", "run"),
    Case({"max_steps": "10"}, "max_steps", "run"),
    Case({"cutoff_len": "64"}, "cutoff_len", "run"),
    Case({"per_device_train_batch_size": 1.5}, "per_device_train_batch_size", "run"),
    Case({"lora_rank": 2.5}, "lora_rank", "run"),
    Case({"seed": "one"}, "seed", "arguments"),
    Case({"warmup_steps": None}, "warmup_steps", "arguments"),
    Case({"gradient_accumulation_steps": True}, "gradient_accumulation_steps", _NO_TYPES),
    Case({"use_rslora": "false"}, "use_rslora", _NO_TYPES),
    Case({"lora_target": ["q_proj"]}, "lora_target", _NO_TYPES),
    Case({"lr_scheduler_kwargs": "fast"}, "lr_scheduler_kwargs", "run"),
    # Ranges and choices.
    Case({"learning_rate": -1.0}, "learning_rate", "run"),
    Case({"learning_rate": 0}, "learning_rate", _NO_RANGE),
    Case({"learning_rate": float("nan")}, "learning_rate", _NO_RANGE),
    Case({"num_train_epochs": 0}, "num_train_epochs", _NO_RANGE),
    Case({"num_train_epochs": float("inf")}, "num_train_epochs", "run"),
    Case({"per_device_train_batch_size": 0}, "per_device_train_batch_size", "run"),
    Case({"lora_rank": 0}, "lora_rank", "run"),
    Case({"lora_dropout": 1.5}, "lora_dropout", "run"),
    Case({"max_steps": 0}, "max_steps", _NO_RANGE),
    Case({"logging_steps": 0}, "logging_steps", "arguments"),
    Case({"logging_steps": 1.5}, "logging_steps", "arguments"),
    Case({"save_steps": 2.5}, "save_steps", "arguments"),
    Case({"warmup_steps": -1}, "warmup_steps", "arguments"),
    Case({"warmup_steps": 10.5}, "warmup_steps", "LLaMA-Factory rounds it without a word"),
    Case({"torch_empty_cache_steps": 0}, "torch_empty_cache_steps", "arguments"),
    Case({"val_size": 1.5}, "val_size", "LLaMA-Factory rounds it without a word"),
    Case({"adam_beta1": 1.0}, "adam_beta1", "run"),
    Case({"seed": -1}, "seed", "arguments"),
    Case({"freeze_trainable_layers": 0}, "freeze_trainable_layers", "run", finetuning_type="freeze"),
    Case({"lr_scheduler_type": "cosin"}, "lr_scheduler_type", "arguments"),
    Case({"optim": "adam"}, "optim", "arguments"),
    Case({"save_strategy": "sometimes"}, "save_strategy", "arguments"),
    Case({"mix_strategy": "shake"}, "mix_strategy", _NO_TYPES),
    Case({"mix_strategy": "interleave_once"}, "mix_strategy", "run", datasets=("tiny", "other")),
    Case({"flash_attn": "fa3"}, "flash_attn", "run"),
    Case({"tool_format": "hammer"}, "tool_format", "run"),
    # What the device or this installation cannot do.
    Case({"bf16": True}, "bf16", _SLOW),
    Case({"fp16": True}, "fp16", _SLOW),
    Case({"pure_bf16": True}, "pure_bf16", "arguments"),
    Case({"tf32": True}, "tf32", "arguments"),
    Case({"quantization_bit": 4}, "quantization_bit", "run"),
    Case({"enable_liger_kernel": True}, "enable_liger_kernel", "run"),
    Case({"use_unsloth": True}, "use_unsloth", "arguments"),
    Case({"optim": "paged_adamw_8bit"}, "optim", "run"),
    Case({"use_adam_mini": True}, "use_adam_mini", "arguments"),
    Case({"mixture_of_depths": "convert"}, "mixture_of_depths", "arguments"),
    # What does not go together.
    Case({"train_on_prompt": True, "mask_history": True}, "mask_history", "arguments"),
    Case({"streaming": True}, "streaming", "arguments"),
    Case({"streaming": True, "max_steps": 3, "val_size": 0.2}, "val_size", "arguments"),
    Case({"streaming": True, "max_steps": 3, "max_samples": 8}, "max_samples", "arguments"),
    Case({"streaming": True, "max_steps": 3, "dataloader_num_workers": 0}, "dataloader_num_workers", "run"),
    Case({"interleave_probs": "0.5,0.5"}, "interleave_probs", "arguments", datasets=("tiny", "other")),
    Case(
        {"mix_strategy": "interleave_under", "interleave_probs": "1"},
        "interleave_probs",
        "arguments",
        datasets=("tiny", "other"),
    ),
    Case({"mix_strategy": "interleave_under", "interleave_probs": "half"}, "interleave_probs", "arguments"),
    Case(
        {"mix_strategy": "interleave_under", "interleave_probs": "0.5,0.9"},
        "interleave_probs",
        "run",
        datasets=("tiny", "other"),
    ),
    Case({"packing": True, "cutoff_len": 63}, "cutoff_len", "run"),
    Case({"image_max_pixels": 100}, "image_max_pixels", "arguments"),
    Case({"video_min_pixels": 10**8}, "video_min_pixels", "arguments"),
    Case({"dataloader_prefetch_factor": 2}, "dataloader_prefetch_factor", "arguments"),
    Case({"dataloader_persistent_workers": True}, "dataloader_persistent_workers", "run"),
    Case({"use_dora": True}, "use_dora", "arguments", finetuning_type="full"),
    Case({"pissa_init": True}, "pissa_init", "arguments", finetuning_type="freeze"),
    Case({"loraplus_lr_ratio": 4}, "loraplus_lr_ratio", "arguments", finetuning_type="full"),
    Case({"use_llama_pro": True}, "use_llama_pro", "arguments", finetuning_type="full"),
    Case({"use_galore": True}, "use_galore", "arguments"),
    Case({"use_asft_loss": True}, "use_asft_loss", "run"),
    Case({"use_dft_loss": True, "use_eaft_loss": True}, "use_dft_loss", "LLaMA-Factory takes the first only"),
    Case(
        {"freeze_language_model": True}, "freeze_language_model", "of a model that sees, nothing would train"
    ),
    Case({"shift_attn": True}, "shift_attn", "it fails on every model on which it acts"),
    Case({"eval_strategy": "steps"}, "eval_strategy", "arguments"),
    Case({"eval_on_start": True}, "eval_on_start", "run"),
    Case({"do_eval": True}, "do_eval", "arguments"),
    Case({"load_best_model_at_end": True}, "load_best_model_at_end", "arguments"),
    Case(
        {"val_size": 4, "eval_strategy": "epoch", "load_best_model_at_end": True},
        "eval_strategy",
        "arguments",
    ),
    Case(
        _VALIDATED | {"eval_steps": 30, "save_steps": 100, "load_best_model_at_end": True},
        "save_steps",
        "arguments",
    ),
    Case(
        _VALIDATED | {"save_steps": 0.5, "load_best_model_at_end": True},
        "save_steps",
        "arguments",
    ),
    Case(_VALIDATED | {"early_stopping_steps": 2}, "early_stopping_steps", "run"),
    Case(_VALIDATED | {"save_strategy": "best"}, "save_strategy", "run"),
    Case(
        _VALIDATED | {"metric_for_best_model": "rouge-1", "load_best_model_at_end": True},
        "metric_for_best_model",
        "run",
    ),
    Case({"lr_scheduler_type": "reduce_lr_on_plateau"}, "lr_scheduler_type", "arguments"),
    Case({"lr_scheduler_type": "greedy"}, "lr_scheduler_type", "arguments"),
    Case({"lr_scheduler_type": "cosine_with_min_lr"}, "lr_scheduler_type", "run"),
    Case({"lr_scheduler_kwargs": {"nope": 1}}, "lr_scheduler_kwargs", "run"),
    Case({"lr_scheduler_type": "polynomial", "learning_rate": 1e-8}, "learning_rate", "run"),
    Case({"optim": "sgd", "optim_args": "momentum"}, "optim_args", "run"),
    Case({"warmup_ratio": 0.1, "warmup_steps": 5}, "warmup_ratio", "LLaMA-Factory drops one of them"),
    Case(
        _VALIDATED | {"predict_with_generate": True, "compute_accuracy": True},
        "compute_accuracy",
        "arguments",
    ),
    # What is the platform's, and what does nothing here.
    Case({"output_dir": "/etc"}, "output_dir", _OWNER),
    Case({"report_to": "wandb"}, "report_to", _OWNER),
    Case({"deepspeed": "ds.json"}, "deepspeed", "arguments"),
    Case({"pref_beta": 0.2}, "pref_beta", _NO_EFFECT),
    Case({"learning_rate": 1e-4}, "learning_rate", _NO_EFFECT, kind="evaluate"),
    Case({"temperature": 0.0}, "temperature", "run", kind="evaluate"),
    Case({"top_p": 1.5}, "top_p", _NO_RANGE, kind="evaluate"),
    Case({"max_new_tokens": 0}, "max_new_tokens", _NO_RANGE, kind="evaluate"),
]
