"""Rules of the model and of what is trained in it, by which method and towards which loss."""

from __future__ import annotations

from collections.abc import Iterator

from backend.domain.argument_rules.conflict import Conflict, Job

_QUANTIZED_BITS = {"bnb": (8, 4), "hqq": (8, 6, 5, 4, 3, 2, 1), "eetq": (8,)}


def check_quantization(job: Job) -> Iterator[Conflict]:
    """Which quantised models there are, and what cannot be done to them."""
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


def check_precision(job: Job) -> Iterator[Conflict]:
    """One precision at a time."""
    for one, other in (("fp16", "bf16"), ("fp16_full_eval", "bf16_full_eval")):
        if job.args[one] and job.args[other]:
            yield Conflict(
                (one, other),
                f"it cannot be together with {other}; switch one of them off",
                f"不能与 {other} 同时开启；请关闭其中之一",
            )


_LORA_ONLY = ("loraplus_lr_ratio", "use_rslora", "use_dora", "pissa_init")


def check_method(job: Job) -> Iterator[Conflict]:
    """What belongs to one method, and that something is left to train."""
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
    yield from _check_trained_parts(job)
    if args["shift_attn"]:
        yield Conflict(
            ("shift_attn",),
            f"it needs transformers below 4.48, and nodes have {job.description['transformers']}; leave it out",
            f"需要 4.48 以下的 transformers，而节点为 {job.description['transformers']}；请删除此项",
        )


def _check_trained_parts(job: Job) -> Iterator[Conflict]:
    parts = ("freeze_language_model", "freeze_multi_modal_projector", "freeze_vision_tower")
    if all(job.args[name] for name in parts):
        # A text model ignores it; of one that sees pictures nothing is left.
        yield Conflict(
            parts,
            "nothing is left to train; set freeze_vision_tower or freeze_multi_modal_projector to false",
            "没有可训练的部分；请把 freeze_vision_tower 或 freeze_multi_modal_projector 设为 false",
        )


_CHECKPOINTING_SETTINGS = ("use_reentrant", "preserve_rng_state", "determinism_check", "debug", "early_stop")


def check_checkpointing(job: Job) -> Iterator[Conflict]:
    """Settings that torch would refuse at the first step."""
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


def check_loss(job: Job) -> Iterator[Conflict]:
    """One loss at a time."""
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
