"""The estimate against real runs: the bars on those held out, and a report that says what the code says now."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backend.domain.estimate.cases import predict_case
from benchmarks.estimator_report import TARGET, build_report, read_rows
from benchmarks.measured_cases import CASES, CPU_CASES, is_held_out

Row = dict[str, Any]


def list_held_out(name: str) -> list[Row]:
    return [row for row in read_rows(name) if is_held_out(row["id"]) and not row.get("oom")]


def measure_errors(rows: list[Row], measured: str) -> list[float]:
    return [abs(predict_case(row)[measured] / row[measured] - 1) for row in rows]


def test_about_a_third_is_held_out() -> None:
    for cases in (CASES, CPU_CASES):
        held = sum(is_held_out(case["id"]) for case in cases)
        assert 0.25 <= held / len(cases) <= 0.45


def test_step_times_of_runs_nothing_was_fitted_to() -> None:
    errors = measure_errors(list_held_out("h200.jsonl"), "optimizer_step_s")
    assert len(errors) >= 12
    assert statistics.median(errors) <= 0.12
    assert max(errors) <= 0.25


def test_peak_memory_of_runs_nothing_was_fitted_to() -> None:
    errors = measure_errors(list_held_out("h200.jsonl"), "peak_allocated_gib")
    assert statistics.median(errors) <= 0.05
    assert max(errors) <= 0.10


def test_step_times_on_the_cpu() -> None:
    errors = measure_errors(list_held_out("cpu.jsonl"), "optimizer_step_s")
    assert len(errors) >= 8
    assert statistics.median(errors) <= 0.12
    assert max(errors) <= 0.25


def test_runs_that_ran_out_of_memory_are_said_not_to_fit_and_the_others_to_fit() -> None:
    for row in read_rows("h200.jsonl") + read_rows("h200_given.jsonl"):
        assert predict_case(row)["fits"] is not bool(row.get("oom")), row["id"]


def test_only_what_was_asked_for_is_read_from_a_row() -> None:
    measured = ("optimizer_step_s", "step_s_all", "peak_allocated_gib", "peak_reserved_gib", "process_wall_s")
    for row in read_rows("h200.jsonl"):
        asked = {key: value for key, value in row.items() if key not in (*measured, "oom", "trained_params")}
        assert predict_case(asked) == predict_case(row)


def test_the_report_is_current() -> None:
    assert TARGET.read_text(encoding="utf-8") == build_report(), "run `make estimator-report`"


@pytest.mark.parametrize(
    ("text", "code"),
    [('{"id": "x", "model": "qwen2.5-7b", "gpu": "NVIDIA H200"}\n\n{"id": 2}\n', 0), ("[]\n", 1), ("{\n", 1)],
)
def test_the_command_prints_a_line_for_a_row(tmp_path: Path, text: str, code: int) -> None:
    file = tmp_path / "cases.jsonl"
    file.write_text(text)
    command = [sys.executable, "-m", "backend.cli", "estimate", "--cases", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    if code:
        assert "line 1" in done.stderr
        return
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["id"] for row in rows] == ["x", 2]
    assert all(row["optimizer_step_s"] > 0 and row["peak_allocated_gib"] > 0 for row in rows)
