"""LLaMA-Factory's arguments: which there are, what the platform's form starts from, and what may be asked for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from backend.domain.argument_description import ARGUMENTS, DESCRIPTION
from backend.domain.argument_rules import Job, find_conflicts
from backend.domain.argument_values import check_value, explain_unknown_name, make_printable
from backend.domain.errors import Problem

_REFUSED: dict[str, dict[str, str]] = DESCRIPTION["refused"]
_NOTHING: Mapping[str, str] = MappingProxyType({})


def build_defaults(*, kind: str, stage: str, finetuning_type: str, device: str) -> dict[str, Any]:
    """Return what `args` leaves out takes: the values of the hosted product's form.

    `device` is `cpu` or `cuda`. `warmup_steps` below 1 is a share of all steps: transformers 5 warns of
    `warmup_ratio`, its older name. The worker processes for data are LLaMA-Factory's own examples'.
    """
    if kind == "evaluate":
        return {
            "cutoff_len": 1024,
            "max_samples": 100_000,
            "per_device_eval_batch_size": 2,
            "seed": 42,
            "max_new_tokens": 512,
            "do_sample": True,
            "top_p": 0.7,
            "temperature": 0.95,
        }
    defaults: dict[str, Any] = {
        "cutoff_len": 2048,
        "val_size": 0.0,
        "learning_rate": 5e-5,
        "num_train_epochs": 3.0,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 8,
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.1,
        "max_grad_norm": 1.0,
        "bf16": device != "cpu",
        "seed": 42,
        "logging_steps": 5,
        "save_steps": 100,
        "save_total_limit": 3,
        "plot_loss": True,
        "include_num_input_tokens_seen": True,
    }
    if finetuning_type == "lora":
        defaults |= {"lora_rank": 8, "lora_alpha": 16, "lora_dropout": 0.0, "lora_target": "all"}
    if finetuning_type == "freeze":
        defaults |= {"freeze_trainable_layers": 2, "freeze_trainable_modules": "all"}
    if device != "cpu":
        defaults |= {"preprocessing_num_workers": 4, "dataloader_num_workers": 4}
    return defaults


def list_arguments() -> list[dict[str, Any]]:
    """Return every argument that may be set, in the form's order.

    Each has `name`, `type` (`bool`, `int`, `float`, `str`, `list`, `dict`), `nullable`, `default` (what leaving
    it out means to a LoRA job on a GPU), `group` and `group_label`, `kinds` of job, `label` and `help`
    (`{"en", "zh"}`), and where they apply `choices`, `minimum`, `maximum`, `exclusive_minimum`,
    `exclusive_maximum`, `methods` (the fine-tuning methods on which it acts), `form` (`quick` or `expert`),
    `gpu` (a CPU cannot), `package` (which it needs), `choice_packages` (which a choice needs).
    """
    defaults = build_defaults(kind="train", stage="sft", finetuning_type="lora", device="cuda")
    defaults |= build_defaults(kind="train", stage="sft", finetuning_type="freeze", device="cuda")
    labels = {group["id"]: group["label"] for group in DESCRIPTION["groups"]}
    listed = []
    for one in ARGUMENTS.values():
        extra = {"default": defaults.get(one["name"], one["default"]), "group_label": labels[one["group"]]}
        listed.append(one | extra)
    return listed


def list_templates() -> list[str]:
    """Return the names of LLaMA-Factory's chat templates."""
    return list(DESCRIPTION["templates"])


def check_arguments(
    args: Mapping[str, Any],
    *,
    kind: str,
    stage: str,
    finetuning_type: str,
    gpu_count: int,
    device: str,
    template: str | None,
    dataset_count: int | None = None,
    lacking: Mapping[str, str] = _NOTHING,
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the arguments as the run gets them, without the defaults, and every problem with `args` at once.

    `lacking` are the optional packages that a node of the GPU kind lacks, each with that node's name. What is
    returned adds to `args` only what follows from it: see `_settle`. LLaMA-Factory itself checks no types in a YAML
    file and stops at the first of its rules, after a slow start on a GPU.
    """
    sound: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in args.items():
        problem = _check_argument(name, value, kind, device)
        if problem is None:
            sound[name] = value
        else:
            problems.append(problem)
    defaults = build_defaults(kind=kind, stage=stage, finetuning_type=finetuning_type, device=device)
    settled = _settle(sound, defaults) if kind == "train" else sound
    complete = {one["name"]: one["default"] for one in ARGUMENTS.values()} | defaults | settled
    job = Job(
        args=complete,
        given=frozenset(sound),
        kind=kind,
        finetuning_type=finetuning_type,
        gpu_count=gpu_count,
        template=template,
        dataset_count=dataset_count,
        device=device,
        lacking=lacking,
        description=DESCRIPTION,
    )
    if template is not None and template not in DESCRIPTION["templates"]:
        problems.append(
            Problem(
                ("model",),
                f"its template {template!r} is unknown to LLaMA-Factory; an administrator can change it",
                f"其对话模板 {template!r} 不是 LLaMA-Factory 的模板；请管理员在模型条目中修改",
            )
        )
    faulty = set(args) - set(sound)
    for conflict in find_conflicts(job):
        if not faulty.intersection(conflict.names):
            asked = [name for name in conflict.names if name in args] or list(conflict.names)
            problems.append(Problem(("args", asked[0]), conflict.msg, conflict.msg_zh))
            faulty.add(asked[0])
    return settled, problems


def _check_argument(name: str, value: Any, kind: str, device: str) -> Problem | None:
    """Return what is wrong with one argument by itself."""
    loc = ("args", make_printable(name))
    if name in _REFUSED:
        return Problem(loc, _REFUSED[name]["en"], _REFUSED[name]["zh"])
    described = ARGUMENTS.get(name)
    if described is None:
        return Problem(loc, *explain_unknown_name(name, ARGUMENTS))
    if kind not in described["kinds"]:
        return Problem(
            loc,
            f"it has no effect on a job of kind {kind}; leave it out",
            f"对{'训练' if kind == 'train' else '评估'}任务不起作用，请删除此项",
        )
    fault = check_value(described, value)
    if (
        fault is None
        and value is not None
        and value is not False
        and described.get("gpu")
        and device == "cpu"
    ):
        fault = (
            "it needs a GPU, and this job runs on the CPU; leave it out or choose a GPU in resources",
            "此项需要 GPU，而该任务在 CPU 上运行；请删除此项，或在资源配置中选择 GPU",
        )
    return Problem(loc, *fault) if fault else None


def _settle(args: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Return `args` with what follows from it, mostly as LLaMA Board does: what a person means but need not say.

    A validation split is measured whenever checkpoints are saved, with the training batch; FP16 and pure
    BF16 switch the default BF16 off; `warmup_ratio` becomes `warmup_steps`; `val_size` 20.0 is 20 rows;
    streaming reads with at least one process of its own, without which LLaMA-Factory finds no row.
    """
    settled = dict(args)
    if settled.get("warmup_ratio") is not None and "warmup_steps" not in settled:
        settled["warmup_steps"] = settled.pop("warmup_ratio")
    if settled.get("fp16") or settled.get("pure_bf16"):
        settled.setdefault("bf16", False)
    if settled.get("streaming"):
        settled.setdefault("dataloader_num_workers", 1)
    val_size = settled.get("val_size", 0)
    if val_size >= 1 and val_size == int(val_size):
        settled["val_size"] = int(val_size)
    if val_size > 0:
        settled.setdefault("eval_strategy", "steps")
        if settled["eval_strategy"] == "steps":
            settled.setdefault("eval_steps", (defaults | settled)["save_steps"])
        settled.setdefault("per_device_eval_batch_size", (defaults | settled)["per_device_train_batch_size"])
    return settled
