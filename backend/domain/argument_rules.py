"""Which arguments cannot stand together: LLaMA-Factory's rules, transformers', and what only crashes later.

The first two are those of LLaMA-Factory 0.9.5's `hparams` and transformers 5.5.4's `TrainingArguments`. The
third were found by running it; each says so. `tests/domain/test_arguments.py` asks LLaMA-Factory itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Job:
    """What a job's arguments are judged by.

    `args` are complete: LLaMA-Factory's defaults, ours over them, and over those what was asked for, of which
    `given` holds the names. `description` is `arguments.json`.
    """

    args: Mapping[str, Any]
    given: frozenset[str]
    kind: str
    finetuning_type: str
    gpu_count: int
    template: str | None
    dataset_count: int | None
    description: Mapping[str, Any]


@dataclass(frozen=True)
class Conflict:
    """Arguments that cannot stand together, the one to change first, and what to do in two languages."""

    names: tuple[str, ...]
    msg: str
    msg_zh: str


def find_conflicts(job: Job) -> Iterator[Conflict]:
    """Yield everything that does not go together; every rule is asked, never only the first."""
    yield from _check_data(job)
    yield from _check_media(job)
    yield from _check_loading(job)
    yield from _check_quantization(job)
    if job.kind == "train":
        yield from _check_precision(job)
        yield from _check_method(job)
        yield from _check_optimizer(job)
        yield from _check_schedule(job)
        yield from _check_checkpointing(job)
        yield from _check_loss(job)
        yield from _check_validation(job)
        yield from _check_best_model(job)


# -- data --------------------------------------------------------------------------------------------------


def _check_data(job: Job) -> Iterator[Conflict]:
    args = job.args
    if args["train_on_prompt"] and args["mask_history"]:
        yield Conflict(
            ("mask_history", "train_on_prompt"),
            "it cannot be together with train_on_prompt; switch one of them off",
            "不能与 train_on_prompt 同时开启；请关闭其中之一",
        )
    if (args["packing"] or args["neat_packing"]) and args["cutoff_len"] % 8:
        # Found by running it: batches are padded to a multiple of 8, packed labels are not.
        yield Conflict(
            ("cutoff_len", "packing", "neat_packing"),
            f"must be a multiple of 8 with packing, such as {max(8, args['cutoff_len'] // 8 * 8)}",
            f"使用序列打包时应为 8 的倍数，例如 {max(8, args['cutoff_len'] // 8 * 8)}",
        )
    if args["streaming"]:
        yield from _check_streaming(job)
    if job.kind == "train" and 1 < args["val_size"] != int(args["val_size"]):
        yield Conflict(
            ("val_size",),
            "must be a share below 1 or a whole number of rows",
            "应为小于 1 的比例，或整数条数",
        )
    if args["interleave_probs"] is not None:
        yield from _check_interleaving(job)


def _check_streaming(job: Job) -> Iterator[Conflict]:
    args = job.args
    if args["max_steps"] < 1:
        yield Conflict(
            ("max_steps", "streaming"),
            "streaming needs max_steps, as the number of rows is not known; set it to at least 1",
            "流式读取时无法得知数据条数，请设置 max_steps（至少为 1）",
        )
    if 0 < args["val_size"] < 1:
        yield Conflict(
            ("val_size", "streaming"),
            "with streaming it must be a whole number of rows, not a share",
            "流式读取时 val_size 应为整数条数，而不是比例",
        )
    if args["max_samples"] is not None:
        yield Conflict(
            ("max_samples", "streaming"),
            "it cannot be together with streaming; leave it out and set max_steps",
            "不能与流式读取同时使用；请删除此项并设置 max_steps",
        )
    if args["dataloader_num_workers"] < 1:
        # Found by running it: the data set gets no shard, and training ends at once in StopIteration.
        yield Conflict(
            ("dataloader_num_workers", "streaming"),
            "streaming needs at least 1 data loading worker",
            "流式读取至少需要 1 个数据加载进程",
        )


def _check_interleaving(job: Job) -> Iterator[Conflict]:
    if job.args["mix_strategy"] == "concat":
        yield Conflict(
            ("interleave_probs", "mix_strategy"),
            "it is for interleaved mixing; set mix_strategy to one of the interleave strategies or leave it out",
            "仅用于交错混合；请把 mix_strategy 设为 interleave 类策略，或删除此项",
        )
    try:
        shares = [float(part) for part in job.args["interleave_probs"].split(",")]
    except ValueError:
        shares = []
    # LLaMA-Factory checks the number alone; the data set library then wants them to add up.
    if (
        not shares
        or not all(0 <= share <= 1 for share in shares)
        or not math.isclose(sum(shares), 1, abs_tol=1e-6)
    ):
        yield Conflict(
            ("interleave_probs",),
            "must be numbers joined by commas that add up to 1, such as 0.7,0.3",
            "应为以英文逗号分隔、总和为 1 的数字，例如 0.7,0.3",
        )
    elif job.dataset_count not in (None, len(shares)):
        yield Conflict(
            ("interleave_probs",),
            f"it names {len(shares)} shares for {job.dataset_count} datasets; give one for each",
            f"写了 {len(shares)} 个概率，但选择了 {job.dataset_count} 个数据集；请一一对应",
        )


def _check_media(job: Job) -> Iterator[Conflict]:
    for medium, name_zh in (("image", "图像"), ("video", "视频")):
        most, least = f"{medium}_max_pixels", f"{medium}_min_pixels"
        if job.args[most] < job.args[least]:
            yield Conflict(
                (most, least),
                f"must not be below {least}, which is {job.args[least]}",
                f"{name_zh}最大像素不能小于 {least}（当前为 {job.args[least]}）",
            )


def _check_loading(job: Job) -> Iterator[Conflict]:
    if job.args["dataloader_num_workers"] > 0:
        return
    for name in ("dataloader_prefetch_factor", "dataloader_persistent_workers"):
        if job.args[name]:
            yield Conflict(
                (name, "dataloader_num_workers"),
                "it needs data loading workers; set dataloader_num_workers to at least 1 or leave it out",
                "需要数据加载进程；请把 dataloader_num_workers 设为至少 1，或删除此项",
            )


# -- model and method --------------------------------------------------------------------------------------

_QUANTIZED_BITS = {"bnb": (8, 4), "hqq": (8, 6, 5, 4, 3, 2, 1), "eetq": (8,)}


def _check_quantization(job: Job) -> Iterator[Conflict]:
    args = job.args
    if args["quantization_bit"] is None:
        return
    method = args["quantization_method"]
    if job.finetuning_type != "lora":
        yield Conflict(
            ("quantization_bit",),
            f"a quantised model can only be tuned by LoRA, and this job is {job.finetuning_type}; leave it out",
            f"量化模型只能使用 LoRA，而该任务为 {job.finetuning_type}；请删除此项",
        )
    if args["quantization_bit"] not in _QUANTIZED_BITS[method]:
        bits = ", ".join(str(bit) for bit in _QUANTIZED_BITS[method])
        yield Conflict(
            ("quantization_bit", "quantization_method"),
            f"the method {method} can do {bits} bits only",
            f"量化方法 {method} 仅支持 {bits} 位",
        )
    if method in job.description["missing_packages"]:
        yield Conflict(
            ("quantization_method", "quantization_bit"),
            f"it needs the package {method}, which this platform's nodes do not have; use bnb",
            f"此项需要软件包 {method}，平台节点未安装；请使用 bnb",
        )
    for name in ("pissa_init", "resize_vocab", "add_tokens", "add_special_tokens", "fp8"):
        if job.kind == "train" and args[name]:
            yield Conflict(
                (name, "quantization_bit"),
                "it cannot be together with quantization_bit; leave one of them out",
                "不能与 quantization_bit 同时使用；请删除其中之一",
            )
    if args["quantization_device_map"] and job.kind == "evaluate" and args["quantization_bit"] != 4:
        yield Conflict(
            ("quantization_device_map", "quantization_bit"),
            "it is for 4-bit models only",
            "仅支持 4 位量化",
        )


def _check_precision(job: Job) -> Iterator[Conflict]:
    for one, other in (("fp16", "bf16"), ("fp16_full_eval", "bf16_full_eval")):
        if job.args[one] and job.args[other]:
            yield Conflict(
                (one, other),
                f"it cannot be together with {other}; switch one of them off",
                f"不能与 {other} 同时开启；请关闭其中之一",
            )


_LORA_ONLY = ("loraplus_lr_ratio", "use_rslora", "use_dora", "pissa_init")


def _check_method(job: Job) -> Iterator[Conflict]:
    args = job.args
    for name in _LORA_ONLY:
        if job.finetuning_type != "lora" and args[name]:
            yield Conflict(
                (name,),
                f"it is of LoRA only, and this job is {job.finetuning_type}; leave it out",
                f"仅用于 LoRA，而该任务为 {job.finetuning_type}；请删除此项",
            )
    if args["use_llama_pro"] and job.finetuning_type == "full":
        yield Conflict(
            ("use_llama_pro",),
            "it is of the methods freeze and lora, and this job is full; leave it out",
            "仅用于 freeze 与 lora，而该任务为 full；请删除此项",
        )
    if args["freeze_trainable_layers"] == 0 and (job.finetuning_type == "freeze" or args["use_llama_pro"]):
        # Found by running it: nothing is left to train, and the first backward pass fails.
        yield Conflict(
            ("freeze_trainable_layers",),
            "must not be 0, or nothing is trained: 2 trains the last two layers, -2 the first two",
            "不能为 0，否则没有可训练的参数：2 表示最后两层，-2 表示最前两层",
        )
    parts = ("freeze_language_model", "freeze_multi_modal_projector", "freeze_vision_tower")
    if all(args[name] for name in parts):
        # A text model ignores it; of one that sees pictures nothing is left.
        yield Conflict(
            parts,
            "nothing is left to train; set freeze_vision_tower or freeze_multi_modal_projector to false",
            "没有可训练的部分；请把 freeze_vision_tower 或 freeze_multi_modal_projector 设为 false",
        )
    if args["shift_attn"]:
        yield Conflict(
            ("shift_attn",),
            f"it needs transformers below 4.48, and nodes have {job.description['transformers']}; leave it out",
            f"需要 4.48 以下的 transformers，而节点为 {job.description['transformers']}；请删除此项",
        )
    if args["max_steps"] == 0:
        yield Conflict(
            ("max_steps",),
            "must be at least 1, or -1 to train for num_train_epochs",
            "应至少为 1；-1 表示按训练轮数",
        )


# -- optimiser, schedule, loss -----------------------------------------------------------------------------

_OPTIMIZER_SWITCHES = ("use_galore", "use_apollo", "use_badam")


def _check_optimizer(job: Job) -> Iterator[Conflict]:
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
    package = job.description["optimizer_packages"].get(args["optim"])
    if package in job.description["missing_packages"]:
        yield Conflict(
            ("optim",),
            f"{args['optim']} needs the package {package}, which this platform's nodes do not have; use adamw_torch",
            f"{args['optim']} 需要软件包 {package}，平台节点未安装；请使用 adamw_torch",
        )
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


def _check_schedule(job: Job) -> Iterator[Conflict]:
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


_CHECKPOINTING_SETTINGS = ("use_reentrant", "preserve_rng_state", "determinism_check", "debug", "early_stop")


def _check_checkpointing(job: Job) -> Iterator[Conflict]:
    unknown = [
        name
        for name in job.args["gradient_checkpointing_kwargs"] or {}
        if name not in _CHECKPOINTING_SETTINGS
    ]
    if unknown:
        shown = ", ".join(_CHECKPOINTING_SETTINGS)
        yield Conflict(
            ("gradient_checkpointing_kwargs",),
            f"gradient checkpointing has no setting {unknown[0][:60]!r}; it has {shown}",
            f"梯度检查点没有参数 {unknown[0][:60]!r}；可用参数：{shown}",
        )


def _check_loss(job: Job) -> Iterator[Conflict]:
    losses = tuple(name for name in ("use_dft_loss", "use_asft_loss", "use_eaft_loss") if job.args[name])
    if len(losses) > 1:
        # LLaMA-Factory takes the first and says nothing.
        yield Conflict(
            losses, "only one loss can be used; leave the others out", "只能使用一种损失函数；请删除其余"
        )
    if job.args["use_asft_loss"] and job.finetuning_type == "lora":
        # Found by running it: with LoRA there is no reference model, and the first step fails.
        yield Conflict(
            ("use_asft_loss",),
            "it does not work with LoRA; choose the method full or freeze, or leave it out",
            "不支持 LoRA；请选择 full 或 freeze，或删除此项",
        )


# -- validation --------------------------------------------------------------------------------------------


def _check_validation(job: Job) -> Iterator[Conflict]:
    args = job.args
    validates = args["eval_strategy"] != "no"
    if args["val_size"] == 0:
        wants = {
            "eval_strategy": validates,
            **{name: args[name] for name in ("do_eval", "predict_with_generate")},
        }
        wants |= {"eval_on_start": args["eval_on_start"]}
        for name in (name for name, wanted in wants.items() if wanted):
            yield Conflict(
                (name, "val_size"),
                "there is nothing to validate on; set val_size, such as 0.1, or leave it out",
                "没有验证数据；请设置 val_size（例如 0.1），或删除此项",
            )
    if args["predict_with_generate"] and args["compute_accuracy"]:
        yield Conflict(
            ("compute_accuracy", "predict_with_generate"),
            "it cannot be together with predict_with_generate; switch one of them off",
            "不能与 predict_with_generate 同时开启；请关闭其中之一",
        )
    for schedule in ("reduce_lr_on_plateau", "greedy"):
        if args["lr_scheduler_type"] == schedule and not validates:
            yield Conflict(
                ("lr_scheduler_type", "eval_strategy", "val_size"),
                f"{schedule} follows the validation loss; set val_size, such as 0.1, or choose another schedule",
                f"{schedule} 依据验证损失调整；请设置 val_size（例如 0.1），或选择其他策略",
            )
    if args["early_stopping_steps"] is not None and not args["load_best_model_at_end"]:
        yield Conflict(
            ("early_stopping_steps", "load_best_model_at_end"),
            "it needs load_best_model_at_end: true, and val_size to validate on",
            "需要设置 load_best_model_at_end: true，并用 val_size 划出验证集",
        )


def _check_best_model(job: Job) -> Iterator[Conflict]:
    args = job.args
    keeps_best = args["load_best_model_at_end"] or args["save_strategy"] == "best"
    if keeps_best and args["eval_strategy"] == "no":
        names = ("load_best_model_at_end",) if args["load_best_model_at_end"] else ("save_strategy",)
        yield Conflict(
            (*names, "eval_strategy", "val_size"),
            "which is best is known by validating only; set val_size, such as 0.1",
            "需要验证才能判断最佳模型；请设置 val_size（例如 0.1）",
        )
    elif args["load_best_model_at_end"] and args["save_strategy"] != "best":
        yield from _check_best_checkpoints(job)
    if (
        args["save_strategy"] == "best"
        and not args["load_best_model_at_end"]
        and not args["metric_for_best_model"]
    ):
        yield Conflict(
            ("save_strategy", "metric_for_best_model"),
            "to save the best, say by what: set metric_for_best_model, such as loss",
            "保存最佳模型时请设置 metric_for_best_model，例如 loss",
        )
    metric = args["metric_for_best_model"]
    measured = ["loss"] + ["accuracy"] * args["compute_accuracy"]
    measured += ["rouge-1", "rouge-2", "rouge-l", "bleu-4"] * args["predict_with_generate"]
    if metric is not None and metric.removeprefix("eval_") not in measured:
        # transformers finds out at the first validation, when hours may have passed.
        yield Conflict(
            ("metric_for_best_model",),
            f"this job measures {', '.join(measured)}; choose one, or switch on compute_accuracy for accuracy",
            f"该任务的验证指标有 {'、'.join(measured)}；请选择其一，或开启 compute_accuracy 以使用 accuracy",
        )


def _check_best_checkpoints(job: Job) -> Iterator[Conflict]:
    """Yield how checkpoints and validations fail to fall on the same steps, as keeping the best one needs."""
    save, validate = job.args["save_strategy"], job.args["eval_strategy"]
    if save != validate:
        yield Conflict(
            ("save_strategy", "eval_strategy", "load_best_model_at_end"),
            f"to keep the best, save and validate alike: save_strategy is {save}, eval_strategy {validate}",
            f"要保留最佳模型，save_strategy（{save}）与 eval_strategy（{validate}）应一致",
        )
        return
    if save != "steps":
        return
    save_steps = job.args["save_steps"]
    eval_steps = job.args["eval_steps"] or job.args["logging_steps"]
    if (save_steps < 1) != (eval_steps < 1) or round(save_steps * 1_000_000) % round(eval_steps * 1_000_000):
        yield Conflict(
            ("save_steps", "eval_steps", "load_best_model_at_end"),
            f"to keep the best, save_steps ({save_steps}) must be a multiple of eval_steps ({eval_steps})",
            f"要保留最佳模型，save_steps（{save_steps}）应为 eval_steps（{eval_steps}）的整数倍",
        )
