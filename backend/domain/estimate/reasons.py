"""Why settings are recommended: a sentence in English and in Chinese for every change."""

from __future__ import annotations

from collections.abc import Iterator

from backend.domain.estimate.run_settings import RunSettings

Sentence = tuple[str, str]


def list_reasons(run: RunSettings, changed: RunSettings) -> Iterator[Sentence]:
    """Yield what each setting of `changed` that is not as in `run` is good for."""
    if changed.batch != run.batch:
        yield _explain_batch(run, changed)
    if run.gradient_checkpointing and not changed.gradient_checkpointing:
        yield from _explain_no_checkpointing(run)
    if changed.liger and not run.liger:
        yield (
            "Liger kernels: norms, gates and the loss are fused, so logits are never held whole.",
            "启用 Liger 算子：归一化、门控与损失融合，无需保存完整 logits。",
        )
    if changed.attention != run.attention:
        yield (
            "FlashAttention 2: keys and values are not copied for every query head, and padding is left out.",
            "FlashAttention 2：不再为每个查询头复制键和值，也跳过填充部分。",
        )
    if changed.workers != run.workers:
        yield (
            f"{changed.workers} loader workers: pictures are decoded while the GPU computes.",
            f"{changed.workers} 个数据加载进程：解码图片与 GPU 计算同时进行。",
        )


def _explain_batch(run: RunSettings, changed: RunSettings) -> Sentence:
    together = changed.batch * changed.accumulation
    if changed.batch < run.batch:
        return (
            f"Batch {changed.batch} × {changed.accumulation}: the same {together} examples a step, in less memory.",
            f"批大小 {changed.batch} × {changed.accumulation}：每步同样 {together} 条样本，显存更省。",
        )
    return (
        f"Batch {changed.batch} × {changed.accumulation} instead of {run.batch} × {run.accumulation}: the "
        f"same {together} examples a step, in fewer passes, each of which keeps the GPU busier.",
        f"批大小 {changed.batch} × {changed.accumulation}，原为 {run.batch} × {run.accumulation}：每步同样"
        f" {together} 条样本，但前向次数更少，GPU 更满。",
    )


def _explain_no_checkpointing(run: RunSettings) -> Iterator[Sentence]:
    yield (
        "No gradient checkpointing: there is memory for the activations, so nothing is computed twice.",
        "关闭梯度检查点：显存放得下激活，无需重复计算。",
    )
    if run.keeps_vision_activations and run.model.vision is not None:
        yield (
            "It also spares the frozen vision tower a backward pass that nobody needs.",
            "同时冻结的视觉塔不再做无用的反向计算。",
        )
