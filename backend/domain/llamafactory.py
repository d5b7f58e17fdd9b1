"""The exact YAML a LLaMA-Factory run gets; paths are relative to the attempt's folder, its working directory.

The worker lays that folder out so: `model` and `adapter` (links), `data` (the datasets with a
`dataset_info.json` for this job only), `output` (fresh), `swanlog`. So one YAML serves every attempt, and
running it again in a folder whose `output` holds checkpoints goes on from the last of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

SWANLAB_PROJECT = "tuneforge"
DDP_TIMEOUT_SECONDS = 180_000_000
"""LLaMA Board's: one rank may tokenize for hours while the others wait."""

Config = dict[str, Any]


def build_train_config(
    *,
    args: Mapping[str, Any],
    template: str,
    datasets: list[str],
    stage: str,
    finetuning_type: str,
    tracking_mode: str,
    run_name: str,
    device: str,
    media_dir: str | None = None,
) -> Config:
    """Return the configuration of a training run.

    `args` are complete and checked (defaults and wishes, see `backend.domain.arguments`), `tracking_mode` is
    `cloud`, `local`, `offline` or `off`, `device` `cpu` or `cuda`. The SwanLab key is never in it: the
    run reads it from its environment.
    """
    platform: Config = _build_common(template, device, media_dir) | {
        "stage": stage,
        "do_train": True,
        "finetuning_type": finetuning_type,
        "dataset": ",".join(datasets),
        "overwrite_output_dir": False,
    }
    return dict(args) | platform | _build_tracking(tracking_mode, run_name)


def build_evaluate_config(
    *,
    args: Mapping[str, Any],
    template: str,
    datasets: list[str],
    finetuning_type: str,
    has_adapter: bool,
    device: str,
    media_dir: str | None = None,
) -> Config:
    """Return the configuration of a prediction run, whose metrics are BLEU-4 and ROUGE."""
    platform: Config = _build_common(template, device, media_dir) | {
        "stage": "sft",
        "do_predict": True,
        "predict_with_generate": True,
        "finetuning_type": finetuning_type,
        "eval_dataset": ",".join(datasets),
    }
    if has_adapter:
        platform["adapter_name_or_path"] = "adapter"
    return dict(args) | platform


def _build_common(template: str, device: str, media_dir: str | None) -> Config:
    config: Config = {
        "model_name_or_path": "model",
        "trust_remote_code": False,
        "template": template,
        "dataset_dir": "data",
        "output_dir": "output",
        "report_to": "none",
        "ddp_timeout": DDP_TIMEOUT_SECONDS,
    }
    if media_dir is not None:
        config["media_dir"] = media_dir
    if device == "cpu":
        # No `ddp_backend`: several processes on CPUs take gloo by themselves, and one alone fails when it is named.
        config["use_cpu"] = True
    return config


def _build_tracking(mode: str, run_name: str) -> Config:
    if mode == "off":
        return {"use_swanlab": False}
    return {
        "use_swanlab": True,
        "swanlab_mode": mode,
        "swanlab_project": SWANLAB_PROJECT,
        "swanlab_run_name": run_name,
        "swanlab_logdir": "swanlog",
    }


_ORDER = (
    ("model_name_or_path", "adapter_name_or_path", "trust_remote_code"),
    ("stage", "do_train", "do_predict", "predict_with_generate", "finetuning_type"),
    (
        "dataset",
        "eval_dataset",
        "dataset_dir",
        "media_dir",
        "template",
        "cutoff_len",
        "max_samples",
        "val_size",
    ),
    ("output_dir", "overwrite_output_dir", "logging_steps", "save_steps", "save_total_limit", "plot_loss"),
    ("report_to", "use_swanlab", "swanlab_mode", "swanlab_project", "swanlab_run_name", "swanlab_logdir"),
)
"""What people look for first, as LLaMA-Factory's own examples group it; the rest follows by name."""


def dump_yaml(config: Mapping[str, Any]) -> str:
    """Return `config` as YAML text, UTF-8, in a stable order."""
    first = [name for group in _ORDER for name in group if name in config]
    groups = [[name for name in group if name in config] for group in _ORDER]
    groups.append(sorted(name for name in config if name not in first))
    return "\n".join(_dump_group(config, names) for names in groups if names)


def _dump_group(config: Mapping[str, Any], names: Iterable[str]) -> str:
    return yaml.safe_dump(
        {name: config[name] for name in names}, sort_keys=False, allow_unicode=True, width=1000
    )
