"""Rules of the optimiser and of the learning rate's schedule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from backend.domain.argument_rules.conflict import Conflict, Job

_OPTIMIZER_SWITCHES = ("use_galore", "use_apollo", "use_badam")


def check_optimizer(job: Job) -> Iterator[Conflict]:
    """One optimiser at a time, of those that nodes can run."""
    args = job.args
    chosen = [name for name in _OPTIMIZER_SWITCHES if args[name]]
    if chosen and job.finetuning_type == "lora":
        yield Conflict(
            tuple(chosen),
            "it cannot be together with LoRA; choose the method full or freeze, or leave it out",
            "不能与 LoRA 同时使用；请选择 full 或 freeze，或删除此项",
        )
    if len(chosen) > 1:
        yield Conflict(
            tuple(chosen),
            "GaLore, APOLLO and BAdam exclude one another; choose one",
            "GaLore、APOLLO 与 BAdam 只能选择其一",
        )
    for name in ("galore_layerwise", "apollo_layerwise"):
        if args[name] and args[f"use_{name.removesuffix('_layerwise')}"]:
            yield from _check_layerwise(job, name)
    if args["optim_args"] and not all(part.count("=") == 1 for part in args["optim_args"].split(",")):
        yield Conflict(
            ("optim_args",),
            "must be name=value joined by commas, such as momentum=0.9,nesterov=true",
            "格式应为以英文逗号分隔的 名称=值，例如 momentum=0.9,nesterov=true",
        )


def _check_layerwise(job: Job, name: str) -> Iterator[Conflict]:
    if job.gpu_count > 1:
        yield Conflict((name,), "layer by layer works on one GPU only", "逐层更新仅支持单卡")
    if job.args["gradient_accumulation_steps"] != 1:
        yield Conflict(
            ("gradient_accumulation_steps", name),
            f"must be 1 together with {name}",
            f"与 {name} 同时使用时应为 1",
        )


def check_schedule(job: Job) -> Iterator[Conflict]:
    """Length, warm-up and shape of the run."""
    args = job.args
    if args["max_steps"] == 0:
        yield Conflict(
            ("max_steps",),
            "must be at least 1, or -1 to train for num_train_epochs",
            "应至少为 1；-1 表示按训练轮数",
        )
    if args["warmup_ratio"] is not None and "warmup_steps" in job.given:
        yield Conflict(
            ("warmup_ratio", "warmup_steps"),
            "it and warmup_steps say the same; leave one of them out",
            "与 warmup_steps 含义相同；请删除其中之一",
        )
    if args["warmup_steps"] > 1 and args["warmup_steps"] != int(args["warmup_steps"]):
        yield Conflict(
            ("warmup_steps",),
            "must be a share of all steps below 1 or a whole number of steps",
            "应为小于 1 的比例，或整数步数",
        )
    yield from _check_schedule_settings(job)


def _check_schedule_settings(job: Job) -> Iterator[Conflict]:
    args = job.args
    schedule = args["lr_scheduler_type"]
    settings = args["lr_scheduler_kwargs"] or {}
    known = job.description["schedule_settings"][schedule]
    for name in settings:
        if name not in known:
            shown = ", ".join(known) or "none"
            yield Conflict(
                ("lr_scheduler_kwargs", "lr_scheduler_type"),
                f"the schedule {schedule} has no setting {name[:60]!r}; it has {shown}",
                f"策略 {schedule} 没有参数 {name[:60]!r}；可用参数：{shown}",
            )
        elif not _is_schedule_setting(name, settings[name]):
            yield Conflict(
                ("lr_scheduler_kwargs", "lr_scheduler_type"),
                f"the value of {name} must be {_show_setting(name)}",
                f"{name} 的值应为 {_show_setting(name)}",
            )
    if "with_min_lr" in schedule and ("min_lr" in settings) == ("min_lr_rate" in settings):
        yield Conflict(
            ("lr_scheduler_kwargs", "lr_scheduler_type"),
            f'{schedule} needs its lowest rate, such as {{"min_lr_rate": 0.1}}: min_lr or min_lr_rate, not both',
            f'{schedule} 需要最低学习率，例如 {{"min_lr_rate": 0.1}}；min_lr 与 min_lr_rate 只能选其一',
        )
    lowest = settings.get("lr_end", 1e-7)
    if schedule == "polynomial" and _is_number(lowest) and args["learning_rate"] <= lowest:
        yield Conflict(
            ("learning_rate", "lr_scheduler_type"),
            "with the polynomial schedule it must be above lr_end, which is 1e-7 unless set",
            "使用 polynomial 策略时应大于 lr_end（默认 1e-7）",
        )


_SHAPES = ("linear", "cosine", "1-sqrt")
_SETTING_CHOICES: dict[str, tuple[Any, ...]] = {
    "warmup_type": _SHAPES,
    "decay_type": _SHAPES,
    "mode": ("min", "max"),
    "threshold_mode": ("rel", "abs"),
    "verbose": (True, False),
    "smooth": (True, False),
}


def _is_schedule_setting(name: str, value: Any) -> bool:
    return value in _SETTING_CHOICES[name] if name in _SETTING_CHOICES else _is_number(value)


def _show_setting(name: str) -> str:
    return (
        ", ".join(str(choice) for choice in _SETTING_CHOICES[name])
        if name in _SETTING_CHOICES
        else "1, 0.5 …"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
