"""The part of docs/estimator.md on jobs that ran through the platform on borrowed GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

INTRODUCTION = """## Jobs through the platform, on two H100

`benchmarks/measure_gpu_platform.py` on a borrowed machine (2 × H100 80 GB, 32 cores): the whole platform ran there,
`tuneforge calibrate` measured the cards first (775 TFLOP/s, 2,998 GB/s, 12 s), and jobs were submitted over the REST
API. Models have random weights in their published shapes. Nothing was fitted to these runs. Memory is the peak of one
card with all that is on it. The runs found two faults, both mended since: processes that prepare pictures took all
cores each, so that 640 pictures took 32 s (9 s in the run marked *shared*), and a killed launcher was taken for bad
settings. NCCL's own buffers, 2 to 3.6 GiB a card where there are several, are not in the memory expected; since
these runs 2.25 GiB are taken off the card's memory instead."""

_SHOWN = {
    "defaults": "VL-7B, lora, defaults, 4 loader workers",
    "defaults, no loader workers": "VL-7B, lora, defaults, no loader workers",
    "defaults, no loader workers, again": "the same, cores *shared*",
    "recommended": "VL-7B, lora, as recommended",
    "two-gpus through": "1.5B, lora, two GPUs (DDP)",
    "fsdp": "1.5B, full, two GPUs (FSDP)",
}


_SHOWN_ON_H200 = {
    "defaults": "VL-7B, lora, the platform's defaults",
    "recommended": "VL-7B, lora, as recommended",
}


def describe_gpu_platform_runs(rows: Sequence[dict[str, Any]]) -> str:
    """Return the section: a line for each job that ran in one go, and what a stop and a kill over two GPUs cost."""
    named = {row["id"]: row for row in rows}
    stopped, curves = named["two-gpus stopped"], named["curves"]
    return "\n\n".join(
        [
            INTRODUCTION,
            _build_table(named, _SHOWN),
            f"Over both cards (NCCL) a stop took {stopped['stop_seconds']:.1f} s until everything had ended; resumed, "
            f"the curve of {curves['steps'][0]} steps differs from that of a run without a stop by "
            f"{curves['largest_difference']:.4f} at most. With its launcher killed, both cards were free and the "
            f"job was running again as attempt {named['launcher killed']['attempt']} within a second, and it succeeded.",
        ]
    )


def describe_joined_windows(rows: Sequence[dict[str, Any]]) -> str:
    """Return the section on jobs of the platform since it chooses attention kernels."""
    named = {row["id"]: row for row in rows}
    by_itself, defaults, fast = (
        named[name]["seconds_per_sample"] for name in ("llamafactory by itself", "defaults", "recommended")
    )
    args = named["recommendation"]["recommended"]["args"]
    changed = ", ".join(f"`{name}: {str(value).lower()}`" for name, value in args.items())
    return (
        "## Jobs through the platform, on one H200\n\n"
        "The same, since the platform's runs attend to all windows of a picture in one call and without cuDNN "
        "(docs/decisions/0018); calibrated there (788 TFLOP/s, 4,248 GB/s). What the runs showed of their phases "
        "(reading weights that the machine still held in memory, preparing pictures) has entered the estimate since.\n\n"
        + _build_table(named, _SHOWN_ON_H200)
        + f"\n\nAn example took {fast:.3f} s exactly as the estimate recommended ({changed}, and the platform's own 4 "
        f"loader workers), {defaults:.3f} s with the platform's defaults, and {by_itself:.3f} s in LLaMA-Factory by "
        f"itself with its own, on the same day and kind of machine: {by_itself / fast:.1f} times as fast, "
        f"{defaults / fast:.1f} times against the platform's defaults."
    )


def describe_gpu_recommendation(rows: Sequence[dict[str, Any]]) -> str:
    """Return the measured gain of exactly what the estimate recommended."""
    named = {row["id"]: row for row in rows}
    args = ", ".join(
        f"`{name}: {str(value).lower()}`"
        for name, value in named["recommendation"]["recommended"]["args"].items()
    )
    slow, workers, fast = (
        named[name]["seconds_per_sample"]
        for name in ("defaults, no loader workers", "defaults", "recommended")
    )
    return (
        f"Before that, on one H100 through the platform, exactly what the estimate recommended ({args}, and the "
        f"platform's own 4 loader workers): {fast:.3f} s an example, against {slow:.3f} s with LLaMA-Factory's defaults "
        f"({slow / fast:.2f} times as fast) and {workers:.3f} s with the platform's ({workers / fast:.2f} times)."
    )


def _build_table(named: dict[str, dict[str, Any]], shown: dict[str, str]) -> str:
    lines = [
        "| job | steps | estimated | range | took | error | memory estimated | measured | error |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        *(_build_line(named[name], what) for name, what in shown.items()),
    ]
    return "\n".join(lines)


def _build_line(row: dict[str, Any], what: str) -> str:
    said, took = row["estimate"]["duration_seconds"], row["actual"]["duration_seconds"]
    memory, peak = (
        row["estimate"]["memory_bytes"]["expected"] / 2**30,
        row["actual"]["peak_memory_bytes"] / 2**30,
    )
    cells = [
        what, f"{row['args']['max_steps']}", f"{said['expected']:.0f} s", f"{said['low']:.0f} to {said['high']:.0f} s",
        f"{took:.0f} s", f"{said['expected'] / took - 1:+.0%}",
        f"{memory:.1f} GiB", f"{peak:.1f} GiB", f"{memory / peak - 1:+.0%}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"
