"""The part of docs/estimator.md on jobs that ran through the platform, each estimated before it began."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.measured_cases import is_held_out

INTRODUCTION = """## Jobs through the platform, on a CPU

`benchmarks/measure_platform.py` on 2 cores: whole jobs of the demonstration model, submitted over the REST API one
after the other; the estimate is the one stored with the job before it began, the time from launch to exit. `learnt
from` is how many finished jobs of the platform the estimate rests on (`backend/domain/estimate/history.py`): none at
first, and never a later one. `modelled` is what the same estimate says without them. Nothing was fitted to these
runs by hand, so all are unseen; the third that the hash holds out is reported apart as well."""


def describe_platform_runs(rows: Sequence[dict[str, Any]]) -> str:
    """Return the section: a line for each job in their order, and how far both kinds of estimate were off."""
    if not rows:
        return INTRODUCTION + "\n\nNone measured yet."
    lines = [
        "| job | what | learnt from | modelled | error | estimated | range | took | error | in range |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---|",
        *(_build_line(row) for row in rows),
    ]
    held_out = [row for row in rows if is_held_out(row["id"])]
    learnt = [row for row in rows if row["estimate"]["learnt_from"] >= 9]
    return "\n\n".join(
        [
            INTRODUCTION,
            "\n".join(lines),
            "\n".join(
                [
                    f"- All {len(rows)}: {_summarise(rows)}",
                    f"- Held out by the hash, {len(held_out)}: {_summarise(held_out)}",
                    f"- With nine or more jobs to learn from, {len(learnt)}: {_summarise(learnt)}",
                ]
            ),
        ]
    )


def _build_line(row: dict[str, Any]) -> str:
    said, took = row["estimate"]["duration_seconds"], row["duration_seconds"]
    modelled = _sum_modelled(row)
    what = row["finetuning_type"] if row["kind"] == "train" else "tuned" if row["tuned"] else "untouched"
    cells = [
        row["id"], f"{row['kind']}, {what}", f"{row['estimate']['learnt_from']}",
        f"{modelled:.1f} s", f"{modelled / took - 1:+.0%}",
        f"{said['expected']:.1f} s", f"{said['low']:.0f} to {said['high']:.0f} s", f"{took:.1f} s",
        f"{said['expected'] / took - 1:+.0%}", "yes" if _is_inside(row) else "no",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _summarise(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return "none."
    modelled = [abs(_sum_modelled(row) / row["duration_seconds"] - 1) for row in rows]
    shown = [
        abs(row["estimate"]["duration_seconds"]["expected"] / row["duration_seconds"] - 1) for row in rows
    ]
    inside = sum(_is_inside(row) for row in rows)
    return (
        f"modelled, median error {statistics.median(modelled):.0%}, worst {max(modelled):.0%}; as estimated, "
        f"median {statistics.median(shown):.0%}, worst {max(shown):.0%}; {inside} of {len(rows)} in the range shown."
    )


def _sum_modelled(row: dict[str, Any]) -> float:
    return float(sum(row["estimate"]["modelled_seconds"].values()))


def _is_inside(row: dict[str, Any]) -> bool:
    said = row["estimate"]["duration_seconds"]
    return bool(said["low"] <= row["duration_seconds"] <= said["high"])
