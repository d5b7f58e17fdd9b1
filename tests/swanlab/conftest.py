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


@pytest.fixture
def run_tracked(tmp_path: Path, tiny_text_model: Path) -> Callable[..., TrackedRun]:
    """Runs real LLaMA-Factory with the real client, as a node would: attempt folder, YAML, environment."""

    def run(
        mode: str, host: str | None = None, key: str = DEFAULT_KEY, steps: int = 6, **plan: Any
    ) -> TrackedRun:
        folder = tmp_path / f"attempt-{time.monotonic_ns()}"
        prepare_attempt(folder, tiny_text_model, mode, steps)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SWANLAB_")}
        environment |= build_tracking_environment(mode, key, host, host)
        environment |= {"OMP_NUM_THREADS": "2", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
        script = ROOT / "tests" / "swanlab" / "run_attempt.py"
        began = time.monotonic()
        with (folder / "job.log").open("wb") as log:
            process = subprocess.run(
                [sys.executable, str(script), json.dumps({"mode": mode, **plan})],
                cwd=folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=180,
                check=False,
            )
        output = (folder / "job.log").read_text(errors="replace")
        return TrackedRun(folder, process.returncode, time.monotonic() - began, output)

    return run


def prepare_attempt(folder: Path, model: Path, mode: str, steps: int) -> None:
    """Write an attempt's folder: YAML, dataset, link to the model."""
    (folder / "data").mkdir(parents=True)
    (folder / "model").symlink_to(model)
    rows = [{"instruction": f"count {n}", "input": "", "output": f"{n} {n + 1} {n + 2}"} for n in range(16)]
    (folder / "data" / "rows.json").write_text(json.dumps(rows))
    (folder / "data" / "dataset_info.json").write_text(json.dumps({"tiny": {"file_name": "rows.json"}}))
    config = {
        "stage": "sft", "do_train": True, "finetuning_type": "full", "model_name_or_path": "model",
        "dataset": "tiny", "dataset_dir": "data", "template": "qwen", "cutoff_len": 64, "output_dir": "output",
        "max_steps": steps, "per_device_train_batch_size": 2, "learning_rate": 1e-3, "logging_steps": 1,
        "save_strategy": "no", "report_to": "none", "use_cpu": True, "dataloader_num_workers": 0,
        "use_swanlab": True, "swanlab_mode": mode, "swanlab_project": "tuneforge",
        "swanlab_run_name": "tiny-run", "swanlab_logdir": "swanlog",
    }  # fmt: skip
    (folder / "train.yaml").write_text(yaml.safe_dump(config))
