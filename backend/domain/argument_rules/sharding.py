"""Rules of DeepSpeed and FSDP, which split one model over several GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from backend.domain.argument_rules.conflict import Conflict, Job


def check_sharding(job: Job) -> Iterator[Conflict]:
    """What DeepSpeed and FSDP cannot be together with, as LLaMA-Factory and transformers refuse it."""
    args = job.args
    if args["deepspeed"] and args["fsdp"]:
        yield Conflict(
            ("fsdp", "deepspeed"),
            "DeepSpeed and FSDP do the same in two ways; choose one",
            "DeepSpeed 与 FSDP 作用相同，只能选择其一",
        )
    for name in ("deepspeed", "fsdp"):
        if args[name] and job.gpu_count == 1:
            yield Conflict(
                (name,),
                "it splits a model over several GPUs; ask for more than one in resources, or leave it out",
                "用于把模型拆分到多张 GPU；请在 resources 中申请多张，或删除此项",
            )
    if args["deepspeed"]:
        yield from _check_deepspeed(job)
    if _has_zero3(job) or args["fsdp"]:
        yield from _check_split_weights(job)
    yield from _check_badam(job)


def _has_zero3(job: Job) -> bool:
    return "z3" in (job.args["deepspeed"] or "")


def _check_deepspeed(job: Job) -> Iterator[Conflict]:
    for name in ("use_galore", "use_apollo"):
        if job.args[name]:
            yield Conflict(
                (name, "deepspeed"),
                "it cannot be together with DeepSpeed; leave one of them out",
                "不能与 DeepSpeed 同时使用；请删除其中之一",
            )
    if _has_zero3(job):
        for name in (
            "predict_with_generate",
            "pissa_init",
            "pure_bf16",
            "use_unsloth",
            "auto_find_batch_size",
        ):
            if job.args[name]:
                yield Conflict(
                    (name, "deepspeed"),
                    "it cannot be together with DeepSpeed ZeRO-3; leave it out or choose ZeRO-2",
                    "不能与 DeepSpeed ZeRO-3 同时使用；请删除此项，或选择 ZeRO-2",
                )


def _check_split_weights(job: Job) -> Iterator[Conflict]:
    """ZeRO-3 and FSDP split the weights themselves."""
    args = job.args
    name = "deepspeed" if args["deepspeed"] else "fsdp"
    if args["quantization_bit"] and (args["quantization_bit"] != 4 or args["quantization_method"] != "bnb"):
        yield Conflict(
            ("quantization_bit", name),
            "with ZeRO-3 and FSDP only 4-bit models of the method bnb can be trained; set 4 or choose ZeRO-2",
            "使用 ZeRO-3 或 FSDP 时仅支持 bnb 的 4 位量化；请改为 4，或选择 ZeRO-2",
        )


def _check_badam(job: Job) -> Iterator[Conflict]:
    if not job.args["use_badam"] or job.gpu_count == 1:
        return
    if job.args["badam_mode"] == "ratio":
        yield Conflict(
            ("badam_mode", "use_badam"),
            "by ratio it works on one GPU only; set layer, or ask for one GPU",
            "ratio 模式仅支持单卡；请改为 layer，或只申请一张 GPU",
        )
    elif not _has_zero3(job):
        yield Conflict(
            ("use_badam", "deepspeed"),
            "on several GPUs it needs DeepSpeed ZeRO-3; choose it, or ask for one GPU",
            "多卡时需要 DeepSpeed ZeRO-3；请选择 ZeRO-3，或只申请一张 GPU",
        )
