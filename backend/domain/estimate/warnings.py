"""What an estimate warns of: what had to be guessed, and memory that is not enough, with what would help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backend.domain.estimate.advice import find_smallest_change, judge_fit
from backend.domain.estimate.dataset_facts import DatasetFacts
from backend.domain.estimate.memory import Memory
from backend.domain.estimate.run_settings import RunSettings

_HOST_SHARE = 0.9
"""The rest of a machine's main memory is for its system, its processes and its pages of files."""


def list_unknown(run: RunSettings, data: DatasetFacts) -> list[dict[str, Any]]:
    """Return what had to be guessed; each widens the range."""
    warnings = []
    if not run.gpu.known:
        warnings.append(
            _warn(
                "unknown_gpu_kind",
                f"The speed of {run.gpu.name!r} is not known; the estimate assumes a middling card.",
                f"不了解 {run.gpu.name!r} 的速度，按中等显卡估算。",
            )
        )
    if not run.model.known:
        warnings.append(
            _warn(
                "unknown_architecture",
                "The model's config.json does not tell its whole shape; it is guessed from its size.",
                "从模型的 config.json 读不出完整结构，按参数量推测。",
            )
        )
    if not data.known:
        warnings.append(
            _warn(
                "unknown_lengths",
                "The dataset's lengths in tokens are not known yet; they are guessed.",
                "数据集的 token 长度尚未统计，按常见长度推测。",
            )
        )
    return warnings


def list_memory_warnings(
    run: RunSettings,
    generation: Mapping[str, Any] | None,
    data: DatasetFacts,
    memory: Memory,
    host_bytes: int | None,
) -> list[dict[str, Any]]:
    """Return what speaks against the run; `generation` are the arguments of an evaluation, None for a training."""
    warnings = []
    fits = judge_fit(memory, run.gpu.memory_bytes)
    if fits != "yes" and generation is None:
        warnings.append(_warn_about_training(run, data, fits, memory.total))
    elif fits != "yes" and generation is not None:
        warnings.append(_warn_about_generation(run, generation, fits, memory.total))
    if host_bytes is not None and memory.host > _HOST_SHARE * host_bytes:
        warnings.append(_warn_about_host(memory.host, host_bytes))
    return warnings


def _warn_about_training(run: RunSettings, data: DatasetFacts, fits: str, used: float) -> dict[str, Any]:
    available = run.gpu.memory_bytes
    fix = find_smallest_change(run, data, available)
    need, have = used / 2**30, available / 2**30
    code = "out_of_memory" if fits == "no" else "tight_memory"
    if fix is None:
        advice = "choose a device with more memory, a smaller model, or LoRA"
        advice_zh = "请选择显存更大的设备、更小的模型，或改用 LoRA"
    else:
        advice = "set " + ", ".join(f"{name} = {value}" for name, value in fix.items())
        advice_zh = "可设置 " + "，".join(f"{name} = {value}" for name, value in fix.items())
    return _warn(
        code,
        f"About {need:.1f} GiB are needed on each device and it has {have:.1f} GiB; {advice}.",
        f"每张卡约需 {need:.1f} GiB，现有 {have:.1f} GiB；{advice_zh}。",
        fix,
    )


def _warn_about_generation(
    run: RunSettings, args: Mapping[str, Any], fits: str, used: float
) -> dict[str, Any]:
    available = run.gpu.memory_bytes
    size = args.get("per_device_eval_batch_size")
    smaller = max(1, size // 2) if isinstance(size, int) else 1
    need, have = used / 2**30, available / 2**30
    return _warn(
        "out_of_memory" if fits == "no" else "tight_memory",
        f"About {need:.1f} GiB are needed on each device and it has {have:.1f} GiB; "
        f"set per_device_eval_batch_size = {smaller} or lower max_new_tokens.",
        f"每张卡约需 {need:.1f} GiB，现有 {have:.1f} GiB；"
        f"可设置 per_device_eval_batch_size = {smaller}，或减小 max_new_tokens。",
        {"per_device_eval_batch_size": smaller},
    )


def _warn_about_host(used: int, available: int) -> dict[str, Any]:
    need, have = used / 2**30, available / 2**30
    return _warn(
        "host_memory",
        f"Offloading keeps about {need:.0f} GiB in main memory and there are {have:.0f} GiB; choose a way of sharing out "
        "the model without offload, more machines, or LoRA.",
        f"卸载约占用 {need:.0f} GiB 内存，而节点共有 {have:.0f} GiB；请改用不卸载的拆分方式、更多节点，或改用 LoRA。",
    )


def _warn(code: str, detail: str, detail_zh: str, fix: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"code": code, "detail": detail, "detail_zh": detail_zh, "fix": fix or {}}
