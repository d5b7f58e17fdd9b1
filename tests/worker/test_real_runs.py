"""Real LLaMA-Factory under real supervisors: train, stop, resume, two ranks, evaluate."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from backend import storage
from backend.database import transaction
from backend.domain import llamafactory
from backend.tables.artifact import Artifact
from backend.tables.job import Job, MetricRow
from tests.factories import make_user, submit_job
from tests.worker.conftest import ROOT, Door, Node, list_job_processes, run_to_end, run_until
from worker.checkpoints import is_whole

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]

DATASET_INFO = {"file_name": "rows.json"}
TRAIN_ARGS = {
    "cutoff_len": 64, "per_device_train_batch_size": 2, "learning_rate": 1e-3, "logging_steps": 1,
    "save_steps": 1000, "plot_loss": False, "include_num_input_tokens_seen": True, "seed": 1,
    "dataloader_num_workers": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def made_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2 of one layer with a tokenizer of bytes."""
    folder = tmp_path_factory.mktemp("made-model")
    script = ROOT / "tests" / "swanlab" / "make_tiny_model.py"
    subprocess.run([sys.executable, str(script), str(folder)], check=True, cwd=ROOT, timeout=180)
    return folder


@pytest.fixture
def submit_real(door: Door, tuneforge_home: Path, made_model: Path) -> Callable[..., str]:
    """Queues a job of the tiny text model: `submit_real(max_steps=20)`; returns its id."""
    shutil.copytree(made_model, tuneforge_home / "models" / "tiny")
    rows = [{"instruction": f"count {n}", "input": "", "output": f"{n} {n + 1} {n + 2}"} for n in range(64)]
    data = tuneforge_home / "datasets" / "counting"
    data.mkdir(parents=True)
    (data / "rows.json").write_text(json.dumps(rows))
    owner_id = make_user("ann")
    link = {"name": "counting", "path": "datasets/counting", "dataset_info": DATASET_INFO}

    def submit(kind: str = "train", adapter_path: str | None = None, gpu_count: int = 1, **args: Any) -> str:
        common = {"template": "qwen", "datasets": ["counting"], "finetuning_type": "lora", "device": "cpu"}
        if kind == "train":
            config = llamafactory.build_train_config(
                args=TRAIN_ARGS | args, stage="sft", tracking_mode="off", run_name="a job", **common
            )
        else:
            config = llamafactory.build_evaluate_config(
                args={"cutoff_len": 64} | args, has_adapter=adapter_path is not None, **common
            )
        launch = {
            "model_path": "models/tiny", "adapter_path": adapter_path, "datasets": [link], "tracking": "off",
        }  # fmt: skip
        yaml = llamafactory.dump_yaml(config)
        return submit_job(owner_id, kind=kind, config_yaml=yaml, launch=launch, gpu_count=gpu_count)

    return submit


def ask_to_stop(job_id: str) -> None:
    """Note the owner's wish, as the API does."""
    with transaction() as session:
        session.get_one(Job, job_id).stop_requested_at = datetime.now(UTC)


def list_points(job_id: str) -> list[MetricRow]:
    """Return the job's curve."""
    with transaction() as session:
        query = select(MetricRow).where(MetricRow.job_id == job_id).order_by(MetricRow.step)
        return list(session.scalars(query))


def list_artifact_names(job_id: str) -> set[str]:
    """Return the names of the files the job left."""
    with transaction() as session:
        return set(session.scalars(select(Artifact.name).where(Artifact.job_id == job_id)))


def test_a_train_job_leaves_curve_adapter_and_measurements(
    start_node: Callable[..., Node], submit_real: Callable[..., str]
) -> None:
    start_node(real=True)
    job = run_to_end(submit_real(max_steps=6), 200)
    assert (job.status, job.step, job.total_steps) == ("succeeded", 6, 6), job.error
    points = list_points(job.id)
    assert [point.step for point in points] == [1, 2, 3, 4, 5, 6]
    assert all(point.loss and point.learning_rate is not None and point.grad_norm for point in points)
    assert job.results["train_loss"] == pytest.approx(sum(point.loss for point in points) / 6, rel=1e-3)
    assert job.actual["step_seconds_median"] > 0
    assert job.actual["peak_memory_bytes"] > 100 << 20
    assert {"loading", "training"} <= set(job.actual["phase_seconds"])
    assert {"adapter_model.safetensors", "checkpoint-6/optimizer.pt"} <= list_artifact_names(job.id)
    output = storage.get_attempt_folder(job.id, 1) / "output"
    config = json.loads((output / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny"
    assert (output.parent / "train.yaml").read_text() == job.config_yaml
    assert list_job_processes() == []
