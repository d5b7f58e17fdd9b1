"""Real LLaMA-Factory under real supervisors: train, stop, resume, two ranks, evaluate."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import select

from backend import storage
from backend.database import transaction
from backend.domain import llamafactory
from backend.services import swanlab_access
from backend.tables.artifact import Artifact
from backend.tables.job import MetricRow
from tests.factories import make_user, read_job, submit_job
from tests.fakes.swanlab_cloud import DEFAULT_KEY
from tests.swanlab.conftest import FakeCloud, start_cloud
from tests.worker.conftest import (
    ROOT,
    Door,
    Node,
    ask_to_stop,
    describe_job,
    list_job_processes,
    resume,
    run_to_end,
    run_until,
)
from worker.checkpoints import is_whole

__all__ = ["start_cloud"]  # a fixture of the tests of SwanLab

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]

DATASET_INFO = {"file_name": "rows.json"}
TRAIN_ARGS = {
    "cutoff_len": 64, "per_device_train_batch_size": 2, "learning_rate": 1e-3, "logging_steps": 1,
    "save_steps": 1000, "plot_loss": False, "include_num_input_tokens_seen": True, "seed": 1,
    "dataloader_num_workers": 0,
}  # fmt: skip
SLOW_STEPS = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 8}
"""Steps long enough that a stop, which takes a second or two to arrive, finds the run training on a fast machine."""


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

    def submit(
        kind: str = "train",
        adapter_path: str | None = None,
        gpu_count: int = 1,
        max_nodes: int = 1,
        overrides: dict[str, Any] | None = None,
        tracking: str = "off",
        **args: Any,
    ) -> str:
        common = {"template": "qwen", "datasets": ["counting"], "finetuning_type": "lora", "device": "cpu"}
        if kind == "train":
            config = llamafactory.build_train_config(
                args=TRAIN_ARGS | args, stage="sft", tracking_mode=tracking, run_name="a job", **common
            )
        else:
            config = llamafactory.build_evaluate_config(
                args={"cutoff_len": 64} | args, has_adapter=adapter_path is not None, **common
            )
        launch = {
            "model_path": "models/tiny", "adapter_path": adapter_path, "datasets": [link], "tracking": tracking,
        }  # fmt: skip
        text = yaml.safe_dump(config | overrides) if overrides else llamafactory.dump_yaml(config)
        return submit_job(
            owner_id, kind=kind, config_yaml=text, launch=launch, gpu_count=gpu_count, max_nodes=max_nodes
        )

    return submit


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


def read_uninterrupted_losses(job_id: str) -> dict[int, float]:
    """Return the losses of a job by step."""
    return {point.step: point.loss for point in list_points(job_id) if point.loss is not None}


def read_logged_steps(job_id: str, attempt: int) -> list[int]:
    """Return the steps that LLaMA-Factory itself logged with a loss in one attempt."""
    log = storage.get_attempt_folder(job_id, attempt) / "output" / "trainer_log.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [line["current_steps"] for line in lines if "loss" in line]


@pytest.mark.parametrize("processes", [1, 2])
def test_a_stop_and_a_resume_are_as_if_nothing_had_happened(
    start_node: Callable[..., Node], submit_real: Callable[..., str], processes: int
) -> None:
    """The curve of a job that was stopped and resumed is that of one that ran through, step by step."""
    start_node(real=True, TUNEFORGE_CPU_SLOTS="2")
    steps = 100
    job_id = submit_real(max_steps=steps, gpu_count=processes, **SLOW_STEPS)
    run_until(job_id, lambda job: job.step >= 5, 200)
    assert len(list_job_processes()) >= processes
    ask_to_stop(job_id)
    job = run_to_end(job_id, 60)
    stopped_at = job.checkpoint_step
    assert (job.status, job.end_reason) == ("cancelled", "user_cancelled")
    assert stopped_at is not None
    assert 5 <= stopped_at == job.step < steps
    output = storage.get_attempt_folder(job_id, 1) / "output"
    assert is_whole(output / f"checkpoint-{stopped_at}")
    assert (output / "adapter_model.safetensors").exists(), "what was trained is kept"
    assert read_logged_steps(job_id, 1) == list(range(1, stopped_at + 1))
    assert list_job_processes() == []

    make_half_written(output / f"checkpoint-{stopped_at + 1}", output / f"checkpoint-{stopped_at}")
    resume(job_id)
    job = run_to_end(job_id, 200)
    assert (job.status, job.attempt, job.step) == ("succeeded", 2, steps), describe_job(job_id)
    assert read_logged_steps(job_id, 2) == list(range(stopped_at + 1, steps + 1))

    through = run_to_end(submit_real(max_steps=steps, gpu_count=processes, **SLOW_STEPS), 200)
    interrupted, whole = read_uninterrupted_losses(job_id), read_uninterrupted_losses(through.id)
    assert interrupted.keys() == whole.keys() == set(range(1, steps + 1))
    assert interrupted == pytest.approx(whole, rel=1e-4)


def make_half_written(folder: Path, whole: Path) -> None:
    """Leave a newer checkpoint as a full disk would: its optimizer's file is cut short."""
    shutil.copytree(whole, folder)
    state = json.loads((folder / "trainer_state.json").read_text())
    state["global_step"] = int(folder.name.partition("-")[2])
    (folder / "trainer_state.json").write_text(json.dumps(state))
    optimizer = folder / "optimizer.pt"
    optimizer.write_bytes(optimizer.read_bytes()[:-100])


def test_an_adapter_is_evaluated_and_its_progress_seen(
    start_node: Callable[..., Node], submit_real: Callable[..., str]
) -> None:
    start_node(real=True)
    trained = run_to_end(submit_real(max_steps=2), 200)
    adapter = f"jobs/{trained.id}/attempts/1/output"
    # An untaught model writes on until the limit: long answers leave time to look.
    job_id = submit_real(
        "evaluate", adapter, max_samples=24, per_device_eval_batch_size=2, max_new_tokens=400, do_sample=False
    )
    halfway = run_until(job_id, lambda job: job.step > 0 or job.status == "failed", 200)
    assert (halfway.phase, halfway.total_steps) == ("evaluating", 12), describe_job(job_id)
    job = run_to_end(job_id, 200)
    assert (job.status, job.step, job.total_steps) == ("succeeded", 12, 12), describe_job(job_id)
    assert 0 <= job.results["predict_bleu-4"] <= 100
    assert storage.count_predictions(job_id, 1) == 24
    assert list_points(job_id) == []


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        ({"dataset": "absent"}, "bad_dataset", "Undefined dataset absent"),
        ({"learning_rat": 1}, "bad_config", "Some keys are not used by the HfArgumentParser"),
    ],
)
def test_what_llamafactory_refuses_is_said_with_its_own_words(
    start_node: Callable[..., Node],
    submit_real: Callable[..., str],
    change: dict[str, Any],
    reason: str,
    detail: str,
) -> None:
    start_node(real=True)
    job = run_to_end(submit_real(max_steps=2, overrides=change), 200)
    assert (job.status, job.end_reason) == ("failed", reason), describe_job(job.id)
    assert job.error is not None
    assert detail in job.error["detail"]
    assert detail in job.error["log_excerpt"]


def test_a_resumed_job_is_one_run_in_the_cloud(
    start_node: Callable[..., Node],
    submit_real: Callable[..., str],
    start_cloud: Callable[..., FakeCloud],
) -> None:
    cloud = start_cloud()
    start_node(real=True)
    job_id = submit_real(max_steps=100, tracking="cloud", **SLOW_STEPS)
    owner_id = read_job(job_id).owner_id
    assert swanlab_access.set_key(owner_id, DEFAULT_KEY, cloud.url, cloud.url, None)["status"] == "verified"
    run_until(job_id, lambda job: job.step >= 3, 200)
    ask_to_stop(job_id)
    stopped = run_to_end(job_id, 60)
    assert (stopped.tracking_mode, stopped.end_reason) == ("cloud", "user_cancelled"), describe_job(job_id)
    resume(job_id)
    job = run_to_end(job_id, 200)
    assert (job.status, job.attempt) == ("succeeded", 2), describe_job(job_id)
    assert job.tracking_url == stopped.tracking_url
    assert job.tracking_url is not None
    created = [entry["body"]["cuid"] for entry in cloud.requests if entry["path"].endswith("/experiment")]
    assert created == [job_id, job_id]
    assert DEFAULT_KEY not in (storage.get_attempt_folder(job_id, 2) / "job.log").read_text()
