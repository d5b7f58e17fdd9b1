"""Our verdict on arguments against LLaMA-Factory's own, on a tiny model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backend.domain import llamafactory
from backend.domain.arguments import build_defaults, check_arguments
from tests.domain.argument_cases import LACKING, SOUND, UNSOUND, Case

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"cutoff_len": 64, "num_train_epochs": 1, "gradient_accumulation_steps": 1}

# A run takes a second; here are some hundred of them.
pytestmark = [pytest.mark.real, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model and two datasets, as an attempt's folder has them."""
    folder = tmp_path_factory.mktemp("verdicts")
    (folder / "data").mkdir()
    rows = [{"instruction": f"count {n}", "input": "", "output": f"{n} {n + 1} {n + 2}"} for n in range(24)]
    (folder / "data" / "rows.json").write_text(json.dumps(rows))
    info = {name: {"file_name": "rows.json"} for name in ("tiny", "other")}
    (folder / "data" / "dataset_info.json").write_text(json.dumps(info))
    script = ROOT / "tests" / "swanlab" / "make_tiny_model.py"
    subprocess.run([sys.executable, str(script), str(folder / "model")], check=True, cwd=ROOT, timeout=120)
    return folder


def build_config(case: Case, args: dict[str, Any], output: str) -> dict[str, Any]:
    """Return what a run would get, its output apart from the other cases'."""
    defaults = build_defaults(kind=case.kind, stage="sft", finetuning_type=case.finetuning_type, device="cpu")
    small = SMALL if case.kind == "train" else {"cutoff_len": 64, "max_new_tokens": 4}
    common: dict[str, Any] = {
        "args": defaults | small | args,
        "template": "qwen",
        "datasets": list(case.datasets),
        "finetuning_type": case.finetuning_type,
        "device": "cpu",
    }
    if case.kind == "evaluate":
        config = llamafactory.build_evaluate_config(**common, has_adapter=False)
    else:
        config = llamafactory.build_train_config(**common, stage="sft", tracking_mode="off", run_name="x")
    return config | {"output_dir": output} | {name: args[name] for name in ("report_to",) if name in args}


def ask_llamafactory(folder: Path, orders: list[tuple[dict[str, Any], bool]]) -> list[str | None]:
    """Return what LLaMA-Factory objects to in each configuration (read only, or run)."""
    lines = [json.dumps({"config": config, "folder": str(folder), "run": run}) for config, run in orders]
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "domain" / "llamafactory_verdicts.py")],
        input="\n".join(lines),
        stdout=subprocess.PIPE,
        text=True,
        timeout=1000,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)},
    )
    return [json.loads(line)["error"] for line in done.stdout.splitlines()]


def check(case: Case) -> tuple[dict[str, Any], list[str]]:
    """Return the arguments that a run would get, and whom our problems name."""
    args, problems = check_arguments(
        case.args,
        kind=case.kind,
        stage="sft",
        finetuning_type=case.finetuning_type,
        gpu_count=1,
        device="cpu",
        template="qwen",
        dataset_count=len(case.datasets),
        lacking=LACKING,
    )
    return args, [str(problem.loc[1]) for problem in problems]


def test_what_we_accept_runs_to_its_end(folder: Path) -> None:
    orders = []
    for place, case in enumerate(SOUND):
        args, blamed = check(case)
        assert blamed == [], case
        orders.append((build_config(case, args, f"sound/{place}"), True))
    errors = ask_llamafactory(folder, orders)
    failed = [(case, error) for case, error in zip(SOUND, errors, strict=True) if error is not None]
    assert failed == []


def test_what_we_refuse_is_refused_there_too_or_for_a_stated_reason(folder: Path) -> None:
    shared = [case for case in UNSOUND if case.by in ("arguments", "run")]
    orders = [
        (build_config(case, case.args, f"unsound/{place}"), case.by == "run")
        for place, case in enumerate(shared)
    ]
    errors = ask_llamafactory(folder, orders)
    accepted = [case for case, error in zip(shared, errors, strict=True) if error is None]
    assert accepted == []
