"""The exact YAML a LLaMA-Factory run gets; paths are relative to the attempt's folder, its working directory.

The worker lays that folder out so: `model` and `adapter` (links), `data` (the datasets with a
`dataset_info.json` for this job only), `output` (fresh), `swanlog`. So one YAML serves every attempt, and
running it again in a folder whose `output` holds checkpoints goes on from the last of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from backend.domain.arguments import list_arguments
from backend.domain.sharding import FSDP_FILE

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
    trust_remote_code: bool = False,
) -> Config:
    """Return the configuration of a training run.

    `args` are complete and checked (defaults and wishes, see `backend.domain.arguments`), `tracking_mode` is
    `cloud`, `local`, `offline` or `off`, `device` `cpu` or `cuda`. The SwanLab key is never in it: the
    run reads it from its environment.
    """
    platform: Config = _build_common(template, device, media_dir, trust_remote_code) | {
        "stage": stage,
        "do_train": True,
        "finetuning_type": finetuning_type,
        "dataset": ",".join(datasets),
        "overwrite_output_dir": False,
    }
    if args.get("fsdp"):
        platform["fsdp_config"] = FSDP_FILE
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
    trust_remote_code: bool = False,
) -> Config:
    """Return the configuration of a prediction run, whose metrics are BLEU-4 and ROUGE."""
    platform: Config = _build_common(template, device, media_dir, trust_remote_code) | {
        "stage": "sft",
        "do_predict": True,
        "predict_with_generate": True,
        "finetuning_type": finetuning_type,
        "eval_dataset": ",".join(datasets),
    }
    if has_adapter:
        platform["adapter_name_or_path"] = "adapter"
    return dict(args) | platform


def _build_common(template: str, device: str, media_dir: str | None, trust_remote_code: bool) -> Config:
    config: Config = {
        "model_name_or_path": "model",
        "trust_remote_code": trust_remote_code,
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
        # A job's name is free text, and `${` would be a reference to LLaMA-Factory's reader.
        "swanlab_run_name": run_name.replace("${", "$ {"),
        "swanlab_logdir": "swanlog",
    }


_SECTIONS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("model", ("model_name_or_path", "adapter_name_or_path", "trust_remote_code"), ("model", "vision")),
    (
        "method",
        ("stage", "do_train", "do_predict", "predict_with_generate", "finetuning_type"),
        ("lora", "freeze"),
    ),
    ("dataset", ("dataset", "eval_dataset", "dataset_dir", "media_dir", "template"), ("basic",)),
    ("output", ("output_dir", "overwrite_output_dir"), ("saving",)),
    ("train", ("use_cpu", "ddp_timeout"), ("training", "optimizer", "advanced")),
    ("distributed", ("deepspeed", "fsdp", "fsdp_config"), ()),
    ("generate", (), ("generation",)),
    (
        "tracking",
        ("report_to", "use_swanlab", "swanlab_mode", "swanlab_project", "swanlab_run_name", "swanlab_logdir"),
        (),
    ),
)
"""Sections as LLaMA-Factory's own examples have them: what the platform sets, then the arguments' groups."""


def dump_yaml(config: Mapping[str, Any]) -> str:
    """Return `config` as YAML text, always in the same order, in sections that people read."""
    placed = {name for _, platform, _ in _SECTIONS for name in platform}
    members: dict[str, list[str]] = {}
    for described in list_arguments():
        if described["name"] in config and described["name"] not in placed:
            members.setdefault(described["group"], []).append(described["name"])
    sections = []
    for title, platform, groups in _SECTIONS:
        names = [name for name in platform if name in config]
        names += [name for group in groups for name in members.get(group, [])]
        if names:
            sections.append(f"### {title}\n{_dump({name: config[name] for name in names})}")
    return "\n".join(sections)


class _Dumper(yaml.SafeDumper):
    """Quotes every text but plain words: LLaMA-Factory's reader takes more for numbers than PyYAML does.

    To it an unquoted `1e5` is a number, and a job may be called that.
    """


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = text[:1].isalpha() and text.isprintable()
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _represent_text)


def _dump(values: Mapping[str, Any]) -> str:
    # PyYAML folds lines at `width`; a line break within a value is right, but hard to read.
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100_000)
