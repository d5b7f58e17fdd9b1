"""The same YAML through the platform and through `llamafactory-cli train` alone: same loss, which wall time.

Needs a running platform on this machine (`make up`). Runs the demonstration's train job through the REST API,
then LLaMA-Factory's own command on the very YAML in a folder laid out the same way, and prints both.
Exit code 1 when the final losses differ in the first 4 digits.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from backend.domain.demonstration import build_train_job
from benchmarks.platform_client import open_platform, run_job


def main() -> int:
    """Run both and print the comparison as a table and as one JSON line."""
    with open_platform(__doc__) as (client, home):
        job = run_job(client, build_train_job())
    folder = home.resolve() / "jobs" / job["id"] / "attempts" / str(job["attempt"])
    alone_seconds, alone = run_alone(folder)
    return show(job, json.loads((folder / "output" / "all_results.json").read_text()), alone, alone_seconds)


def run_alone(attempt: Path) -> tuple[float, dict[str, float]]:
    """Run `llamafactory-cli train` on the attempt's YAML in a fresh folder; return seconds and results."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name in ("train.yaml", "data", "model"):
            source = attempt / name
            if source.is_dir() and not source.is_symlink():
                shutil.copytree(source, folder / name, symlinks=True)
            else:
                shutil.copy2(source, folder / name, follow_symlinks=False)
        started = time.monotonic()
        program = Path(sys.executable).with_name("llamafactory-cli")
        subprocess.run([program, "train", "train.yaml"], cwd=folder, check=True, capture_output=True)
        seconds = time.monotonic() - started
        return seconds, json.loads((folder / "output" / "all_results.json").read_text())


def show(
    job: dict[str, Any], platform: dict[str, float], alone: dict[str, float], alone_seconds: float
) -> int:
    """Print the table and say by the exit code whether the losses agree."""
    actual = job["actual"]
    run_seconds = actual["duration_seconds"]
    same = f"{platform['train_loss']:.4g}" == f"{alone['train_loss']:.4g}"
    print(f"{'':24}{'platform':>14}{'llamafactory-cli':>20}{'ratio':>10}")
    print(f"{'final train_loss':24}{platform['train_loss']:14.6f}{alone['train_loss']:20.6f}")
    _print_row("process wall seconds", run_seconds, alone_seconds)
    _print_row("train_runtime seconds", platform["train_runtime"], alone["train_runtime"])
    print(
        json.dumps(
            {
                "same_loss": same,
                "train_loss": [platform["train_loss"], alone["train_loss"]],
                "wall_seconds": [run_seconds, round(alone_seconds, 1)],
                "wall_ratio": round(run_seconds / alone_seconds, 3),
            }
        )
    )
    return 0 if same else 1


def _print_row(name: str, platform: float, alone: float) -> None:
    print(f"{name:24}{platform:14.1f}{alone:20.1f}{platform / alone:10.3f}")


if __name__ == "__main__":
    sys.exit(main())
