"""Lays out folders as a job's attempt has them, so that real LLaMA-Factory runs on the demonstration alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backend.domain.arguments import build_defaults
from backend.domain.demonstration import EVALUATE_ARGS, MODEL_NAME, TEMPLATE, TRAIN_ARGS, TRAIN_DATASET_NAME
from backend.domain.llamafactory import build_evaluate_config, build_train_config, dump_yaml
from backend.domain.protocol import DatasetLink
from worker.dataset_files import lay_out_datasets

ROOT = Path(__file__).resolve().parents[2]


def lay_out_training(folder: Path, home: Path) -> Path:
    """Return `folder`, made ready for the demonstration's train job."""
    defaults = build_defaults(kind="train", stage="sft", finetuning_type="lora", device="cpu")
    config = build_train_config(
        args=defaults | TRAIN_ARGS,
        template=TEMPLATE,
        datasets=[TRAIN_DATASET_NAME],
        stage="sft",
        finetuning_type="lora",
        tracking_mode="off",
        run_name="demonstration",
        device="cpu",
        media_dir=f"data/{TRAIN_DATASET_NAME}",
    )
    return _lay_out(folder, home, config, TRAIN_DATASET_NAME)


def lay_out_evaluation(folder: Path, home: Path, dataset: str, adapter: Path | None) -> Path:
    """Return `folder`, made ready for the demonstration's evaluate job on another dataset of the home."""
    defaults = build_defaults(kind="evaluate", stage="sft", finetuning_type="lora", device="cpu")
    config = build_evaluate_config(
        args=defaults | EVALUATE_ARGS,
        template=TEMPLATE,
        datasets=[dataset],
        finetuning_type="lora",
        has_adapter=adapter is not None,
        device="cpu",
        media_dir=f"data/{dataset}",
    )
    _lay_out(folder, home, config, dataset)
    if adapter is not None:
        (folder / "adapter").symlink_to(adapter)
    return folder


def _lay_out(folder: Path, home: Path, config: dict[str, Any], dataset: str) -> Path:
    (folder / "data").mkdir(parents=True)
    (folder / "model").symlink_to(home / "models" / MODEL_NAME)
    facts = json.loads((home / "datasets" / dataset / "tuneforge.json").read_text("utf-8"))
    link = DatasetLink(name=dataset, path=f"datasets/{dataset}", dataset_info=facts["dataset_info"])
    lay_out_datasets(home, folder / "data", [link])
    (folder / "train.yaml").write_text(dump_yaml(config), encoding="utf-8")
    return folder


def run_all(folders: Sequence[Path], alone: Sequence[Path] = ()) -> str:
    """Run real LLaMA-Factory in each folder in turn and return the times they took; a failure shows its log.

    `folders` run as the platform runs them, those `alone` as `llamafactory-cli` does.
    """
    script = ROOT / "tests" / "demonstration" / "run_llamafactory.py"
    command = [sys.executable, str(script), *map(str, folders), "--alone", *map(str, alone)]
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    logs = [folder / "job.log" for folder in (*folders, *alone) if (folder / "job.log").is_file()]
    assert done.returncode == 0, done.stderr[-1000:] + (logs[-1].read_text("utf-8")[-3000:] if logs else "")
    return done.stdout


def read_predictions(folder: Path) -> list[dict[str, str]]:
    """Return LLaMA-Factory's rows of `prompt`, `predict` and `label`."""
    lines = (folder / "output" / "generated_predictions.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def read_metrics(folder: Path) -> dict[str, float]:
    """Return LLaMA-Factory's own metrics of a prediction."""
    metrics: dict[str, float] = json.loads((folder / "output" / "predict_results.json").read_text("utf-8"))
    return metrics
