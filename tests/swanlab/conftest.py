"""A tiny text model and dataset made on the fly, the fake cloud, and real tracked runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.fakes.swanlab_cloud import DEFAULT_KEY
from worker.tracking import Tracking, build_tracking_environment, read_tracking

ROOT = Path(__file__).resolve().parents[2]
RUN_ATTEMPT = ROOT / "tests" / "swanlab" / "run_attempt.py"


@dataclass
class FakeCloud:
    """The fake, as a test holds it."""

    url: str
    folder: Path

    def set_mode(self, mode: str) -> None:
        """Change what it does to requests."""
        httpx.post(f"{self.url}/__fake__/mode", json={"mode": mode}).raise_for_status()

    @property
    def requests(self) -> list[dict[str, Any]]:
        """Everything that arrived, oldest first."""
        file = self.folder / "requests.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@dataclass
class TrackedRun:
    """A finished run: its folder, exit status, duration and output."""

    folder: Path
    exit_code: int
    seconds: float
    output: str

    @property
    def tracking(self) -> Tracking | None:
        """What it said of its tracking."""
        return read_tracking(self.folder)


@pytest.fixture
def start_cloud(tmp_path: Path) -> Iterator[Callable[..., FakeCloud]]:
    """Starts fakes, each a process of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(mode: str = "ok") -> FakeCloud:
        folder = tmp_path / f"cloud{len(started)}"
        command = [sys.executable, "-m", "tests.fakes.swanlab_cloud", "--record", str(folder), "--mode", mode]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return FakeCloud(process.stdout.readline().strip(), folder)

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def tiny_text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen2 of one layer with a tokenizer of bytes: real classes, no download."""
    folder = tmp_path_factory.mktemp("tiny-text-model")
    script = ROOT / "tests" / "swanlab" / "make_tiny_model.py"
    subprocess.run([sys.executable, str(script), str(folder)], check=True, cwd=ROOT, timeout=120)
    return folder


@pytest.fixture(scope="session")
def warm_llamafactory() -> Iterator[subprocess.Popen[str]]:
    """A process that has imported LLaMA-Factory and forks for each run."""
    process = subprocess.Popen(
        [sys.executable, str(RUN_ATTEMPT), "--warm"],
        env=build_run_environment({}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def run_tracked(
    tmp_path: Path, tiny_text_model: Path, warm_llamafactory: subprocess.Popen[str]
) -> Callable[..., TrackedRun]:
    """Runs real LLaMA-Factory with the real client, as a node would: attempt folder, YAML, environment.

    `cold` runs it in a fresh process, as nodes do; else it is forked from one that has imported LLaMA-Factory.
    """

    def run(mode: str, host: str, *, cold: bool = False, **plan: Any) -> TrackedRun:
        folder = tmp_path / f"attempt-{time.monotonic_ns()}"
        prepare_attempt(folder, tiny_text_model, mode, steps=6)
        environment = build_run_environment(build_tracking_environment(mode, DEFAULT_KEY, host, host))
        began = time.monotonic()
        if cold:
            exit_code = run_cold(folder, environment, {"mode": mode, **plan})
        else:
            exit_code = run_warm(warm_llamafactory, folder, environment, {"mode": mode, **plan})
        output = (folder / "job.log").read_text(errors="replace")
        return TrackedRun(folder, exit_code, time.monotonic() - began, output)

    return run


def run_cold(folder: Path, environment: dict[str, str], plan: dict[str, Any]) -> int:
    """Run one attempt in a fresh process; return its exit status."""
    command = [sys.executable, str(RUN_ATTEMPT), json.dumps(plan)]
    with (folder / "job.log").open("wb") as log:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdout=log, stderr=log, timeout=180, check=False
        )
    return done.returncode


def run_warm(
    parent: subprocess.Popen[str], folder: Path, environment: dict[str, str], plan: dict[str, Any]
) -> int:
    """Run one attempt in a fork; return its exit status."""
    assert parent.stdin is not None
    assert parent.stdout is not None
    order = {"folder": str(folder), "environment": environment, "plan": plan}
    parent.stdin.write(json.dumps(order) + "\n")
    parent.stdin.flush()
    for line in parent.stdout:
        if line.strip().lstrip("-").isdigit():
            return int(line)
    raise AssertionError("LLaMA-Factory's warm process ended")


def build_run_environment(tracking: dict[str, str]) -> dict[str, str]:
    """Return a run's environment: ours without anything of SwanLab's, and what tracking wants."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SWANLAB_")}
    return (
        environment | tracking | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    )


def prepare_attempt(folder: Path, model: Path, mode: str, steps: int) -> None:
    """Write an attempt's folder: YAML, dataset, link to the model."""
    (folder / "data").mkdir(parents=True)
    (folder / "model").symlink_to(model)
    rows = [{"instruction": f"count {n}", "input": "", "output": f"{n} {n + 1} {n + 2}"} for n in range(16)]
    (folder / "data" / "rows.json").write_text(json.dumps(rows))
    (folder / "data" / "dataset_info.json").write_text(json.dumps({"tiny": {"file_name": "rows.json"}}))
    config = {
        "stage": "sft", "do_train": True, "finetuning_type": "full", "model_name_or_path": "model",
        "dataset": "tiny", "dataset_dir": "data", "template": "qwen", "cutoff_len": 64,
        "output_dir": "output", "max_steps": steps, "per_device_train_batch_size": 2, "learning_rate": 1e-3,
        "logging_steps": 1, "save_strategy": "no", "report_to": "none", "use_cpu": True, "dataloader_num_workers": 0,
        "use_swanlab": True, "swanlab_mode": mode, "swanlab_project": "tuneforge",
        "swanlab_run_name": "tiny-run", "swanlab_logdir": "swanlog",
    }  # fmt: skip
    (folder / "train.yaml").write_text(yaml.safe_dump(config))
