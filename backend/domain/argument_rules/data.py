"""Rules of the data: what is read, in which order, and by whom."""

from __future__ import annotations

import math
from collections.abc import Iterator

from backend.domain.argument_rules.conflict import Conflict, Job


def check_data(job: Job) -> Iterator[Conflict]:
    """What is learned of each row, streaming, mixing, packing."""
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
    if args["neat_packing"] and args["flash_attn"] == "fa2":
        yield from _check_packs_apart(job)
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


def _check_packs_apart(job: Job) -> Iterator[Conflict]:
    """FlashAttention tells rows apart within one pack only: LLaMA-Factory stops at the first batch of two."""
    names = ["per_device_train_batch_size"]
    names += ["per_device_eval_batch_size"] if job.args["val_size"] > 0 else []
    for name in names:
        if job.args[name] > 1:
            yield Conflict(
                (name, "neat_packing", "flash_attn"),
                "must be 1 with neat_packing and fa2; set gradient_accumulation_steps higher instead, or choose sdpa",
                "同时使用 neat_packing 与 fa2 时应为 1；请改为调大 gradient_accumulation_steps，或选择 sdpa",
            )


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


def check_media(job: Job) -> Iterator[Conflict]:
    """Pictures and videos have a smallest size below their largest."""
    for medium, name_zh in (("image", "图像"), ("video", "视频")):
        most, least = f"{medium}_max_pixels", f"{medium}_min_pixels"
        if job.args[most] < job.args[least]:
            yield Conflict(
                (most, least),
                f"must not be below {least}, which is {job.args[least]}",
                f"{name_zh}最大像素不能小于 {least}（当前为 {job.args[least]}）",
            )


def check_loading(job: Job) -> Iterator[Conflict]:
    """What only processes that load data can do."""
    if job.args["dataloader_num_workers"] > 0:
        return
    for name in ("dataloader_prefetch_factor", "dataloader_persistent_workers"):
        if job.args[name]:
            yield Conflict(
                (name, "dataloader_num_workers"),
                "it needs data loading workers; set dataloader_num_workers to at least 1 or leave it out",
                "需要数据加载进程；请把 dataloader_num_workers 设为至少 1，或删除此项",
            )
