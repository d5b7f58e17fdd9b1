"""Write docs/estimator.md: every measured run beside what the estimator predicts for it.

python benchmarks/estimator_report.py
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from backend.domain.estimate.cases import predict_case
from benchmarks.estimator_report_gpu import (
    describe_gpu_platform_runs,
    describe_gpu_recommendation,
    describe_joined_windows,
)
from benchmarks.estimator_report_platform import describe_platform_runs
from benchmarks.estimator_report_text import CLOSING, OPENING, describe_hosted_run, show_args
from benchmarks.measured_cases import is_held_out

ROOT = Path(__file__).resolve().parent.parent
MEASURED = ROOT / "benchmarks" / "measured"
HEADER = (
    "| run | model | method | shape | step measured | predicted | error | memory measured | predicted | error |\n"
    "|---|---|---|---|---:|---:|---:|---:|---:|---:|\n"
)


TARGET = ROOT / "docs" / "estimator.md"


def main() -> int:
    """Write the report."""
    TARGET.write_text(build_report(), encoding="utf-8")
    return 0


def build_report() -> str:
    """Return the report: held-out and fitted runs, those that do not fit, the hosted run, the recommendation."""
    measured = read_rows("h200.jsonl")
    given = read_rows("h200_given.jsonl")
    held_out = [row for row in measured if is_held_out(row["id"])]
    fitted = [row for row in measured if not is_held_out(row["id"])]
    cpu = read_rows("cpu.jsonl")
    parts = [
        OPENING,
        "## H200, held out\n\n" + build_section(held_out),
        "## H200, fitted to\n\n" + build_section(fitted),
        "## H200, the ten published with the calibration (fitted to)\n\n" + build_section(given),
        "## Runs that do not fit\n\n" + build_oversized(measured),
        "## CPU, held out\n\n" + build_section([row for row in cpu if is_held_out(row["id"])]),
        "## CPU, fitted to\n\n" + build_section([row for row in cpu if not is_held_out(row["id"])]),
        describe_platform_runs(read_rows("platform_cpu.jsonl")),
        describe_gpu_platform_runs(read_rows("platform_h100.jsonl")),
        describe_joined_windows(read_rows("platform_h200.jsonl")),
        describe_hosted_run(),
        describe_recommendation(measured),
        CLOSING,
    ]
    return "\n\n".join(parts).rstrip() + "\n"


def read_rows(name: str) -> list[dict[str, Any]]:
    """Return the measured rows of a file, without the machine's own probes."""
    path = MEASURED / name
    if not path.exists():
        return []
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [row for row in rows if row["id"] != "probe"]


def build_section(rows: list[dict[str, Any]]) -> str:
    """Return a table of rows, and the median and worst errors below it."""
    rows = [row for row in rows if not row.get("oom")]
    if not rows:
        return "None measured yet."
    lines, step_errors, memory_errors = [], [], []
    for row in rows:
        predicted = predict_case(row)
        seconds = "predict_runtime_s" if row.get("predict") else "optimizer_step_s"
        step_error = predicted[seconds] / row[seconds] - 1
        step_errors.append(abs(step_error))
        cells = [f"{row[seconds]:.3f} s", f"{predicted[seconds]:.3f} s", f"{step_error:+.1%}"]
        if "peak_allocated_gib" in row:
            memory_error = predicted["peak_allocated_gib"] / row["peak_allocated_gib"] - 1
            memory_errors.append(abs(memory_error))
            cells += [f"{row['peak_allocated_gib']:.2f} GiB", f"{predicted['peak_allocated_gib']:.2f} GiB"]
            cells += [f"{memory_error:+.1%}"]
        else:
            cells += ["", "", ""]
        lines.append(
            "| " + " | ".join([row["id"], row["model"], describe_method(row), describe_shape(row), *cells])
        )
    table = HEADER + "\n".join(line + " |" for line in lines)
    return f"{table}\n\n{summarise('Time', step_errors)} {summarise('Memory', memory_errors)}".rstrip()


def summarise(name: str, errors: list[float]) -> str:
    """Return one sentence on absolute errors."""
    if not errors:
        return ""
    return (
        f"{name}: {len(errors)} runs, median error {statistics.median(errors):.1%}, worst {max(errors):.1%}."
    )


def describe_method(row: dict[str, Any]) -> str:
    """Return the method in a few words."""
    words = [row["stage"] if row["stage"] != "sft" else "", row["finetuning_type"]]
    words.append("" if row["gradient_checkpointing"] else "no checkpointing")
    words.append("liger" if row.get("enable_liger_kernel") else "")
    words.append("pure bf16" if row.get("pure_bf16") else "")
    words.append("generation" if row.get("predict") else "")
    return ", ".join(word for word in words if word)


def describe_shape(row: dict[str, Any]) -> str:
    """Return what is computed at once: kind of data, cutoff, batch, accumulation, loader workers."""
    shape = (
        f"{row['cutoff_len']} × {row['per_device_train_batch_size']} × {row['gradient_accumulation_steps']}"
    )
    workers = row["dataloader_num_workers"]
    return f"{row['data']} {shape}" + (f", {workers} workers" if workers else "")


def build_oversized(rows: list[dict[str, Any]]) -> str:
    """Return what the estimator says of the runs that ran out of memory."""
    lines = ["| run | what happened | predicted | said to fit |", "|---|---|---:|---|"]
    for row in rows:
        if row.get("oom"):
            predicted = predict_case(row)
            said = "yes" if predicted["fits"] else "no"
            lines.append(f"| {row['id']} | out of memory | {predicted['total_gib']:.0f} GiB | {said} |")
    return "\n".join(lines)


def describe_recommendation(rows: list[dict[str, Any]]) -> str:
    """Return the measured gain of the recommended settings over LLaMA-Factory's defaults."""
    named = {row["id"]: row for row in rows}
    before, after = named["m01-vl7-defaults"], named["m02-vl7-recommended"]
    slow, fast = (
        row["optimizer_step_s"] / row["per_device_train_batch_size"] / row["gradient_accumulation_steps"]
        for row in (before, after)
    )
    return (
        "## Recommended settings against LLaMA-Factory's defaults\n\n"
        "Qwen2.5-VL-7B, LoRA, 1928×1208 pictures, 16 examples a step, one H200, both measured in the same call: "
        f"{slow:.3f} s an example with the defaults (batch 2 × 8, checkpointing, no loader workers), "
        f"{fast:.3f} s with batch 8 × 2, no checkpointing, 14 workers and liger: {slow / fast:.2f} times as fast. "
        "The estimator recommends the same changes with batch 16 × 1 and 4 workers on this card.\n\n"
        + describe_gpu_recommendation(read_rows("platform_h100.jsonl"))
        + "\n\n"
        + describe_recommended_loss()
    )


def describe_recommended_loss() -> str:
    """Return how the recommended settings' loss curve lies beside the defaults' (`benchmarks/recommended_loss.py`)."""
    found = json.loads((MEASURED / "recommended_loss.json").read_text(encoding="utf-8"))
    return (
        "The same changes on the demonstration model, through the platform on a CPU "
        f"({show_args(found['recommended'])}; Liger does not run there): the loss of a step differs by "
        f"{found['distance']:.4f} on average from the defaults' curve, and between two seeds of the defaults by "
        f"{found['noise']:.4f}. The last ten losses are {found['last_ten'][0]:.4f} with the defaults, "
        f"{found['last_ten'][1]:.4f} as recommended and {found['last_ten'][2]:.4f} with another seed."
    )


if __name__ == "__main__":
    sys.exit(main())
