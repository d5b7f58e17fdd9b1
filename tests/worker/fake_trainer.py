"""A fake of LLaMA-Factory, for tests that need many runs or faults on demand: a run as its supervisor sees it.

It writes the files that `worker/entry.py` and LLaMA-Factory write (log, notes, `trainer_log.jsonl`, checkpoints,
results), obeys the file `stop`, and goes on from the checkpoint in `output`. `train.yaml` says what to do, under
`fake`: `steps`, `step_seconds`, `save_steps`, `ledger` (a file that gets a line "job.attempt step" per step),
`quiet` (nothing else is written), and at step `at`: `do` one of `exit`, `kill`, `flood`, `fill`, `hoard`, `hang`,
`orphan`. It does not train.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import yaml


def main() -> None:
    """Run the steps that are left."""
    plan = yaml.safe_load(Path(sys.argv[1]).read_text())["fake"]
    steps, save_steps = int(plan.get("steps", 10)), int(plan.get("save_steps", 1000))
    print("***** Running training *****", flush=True)
    first = find_last_checkpoint()
    note(event="train_begin", step=first, total=steps)
    for step in range(first + 1, steps + 1):
        time.sleep(float(plan.get("step_seconds", 0.05)))
        if step == plan.get("at"):
            act(str(plan["do"]))
        record(plan, step, steps)
        stopping = Path("stop").exists() and step < steps and not plan.get("ignores_stop")
        if step % save_steps == 0 or stopping or step == steps:
            save_checkpoint(step)
        if stopping:
            Path("stopped").write_text(f"{step}\n")
            return
    Path("output/adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "model"}))
    Path("output/adapter_model.safetensors").write_bytes(build_safetensors())
    Path("output/all_results.json").write_text(json.dumps({"train_loss": 1 / steps, "nothing": float("nan")}))


def record(plan: dict[str, Any], step: int, steps: int) -> None:
    """Write what a step leaves behind; the ledger first, as it is what tests count by."""
    if plan.get("ledger"):
        with Path(plan["ledger"]).open("a") as ledger:
            ledger.write(f"{os.environ['TUNEFORGE_ATTEMPT']} {step}\n")
    if plan.get("quiet"):
        return
    note(step=step, seconds=float(plan.get("step_seconds", 0.05)), memory=step << 20)
    note(event="log", step=step, grad_norm=0.5)
    line = {"current_steps": step, "total_steps": steps, "loss": 1 / step, "lr": 0.001, "epoch": step / steps}
    with Path("output/trainer_log.jsonl").open("a") as log:
        log.write(json.dumps(line) + "\n")
    print(f"\r{step * 100 // steps}%| {step}/{steps} [00:01<00:02]", end="", flush=True)
    print(f"\nstep {step} done", flush=True)


def act(what: str) -> None:
    """Go wrong as asked."""
    if what == "exit":
        print("Traceback (most recent call last):\nRuntimeError: CUDA out of memory. Tried to allocate 2 GiB")
        sys.exit(1)
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "flood":
        for _ in range(200):
            print("x" * 100_000, flush=True)
            time.sleep(0.01)
    if what == "fill":
        place = Path("output/checkpoint-999")
        place.mkdir()
        with (place / "optimizer.pt").open("wb") as file:
            while True:
                file.write(bytes(1 << 16))
    if what == "hoard":
        subprocess.run(["dd", "if=/dev/zero", "of=output/hoard", "bs=64k"], check=False)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if what == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(3600)
    if what == "orphan":
        # As torchrun's ranks: a session of its own, and it outlives its launcher.
        subprocess.Popen(["sleep", "3600"], start_new_session=True)
        os.kill(os.getpid(), signal.SIGKILL)


def note(**fields: Any) -> None:
    """Append to the notes."""
    with Path("notes.jsonl").open("a") as notes:
        notes.write(json.dumps(fields | {"at": time.time()}) + "\n")


def find_last_checkpoint() -> int:
    """Return the step of the newest checkpoint in `output`, 0 without one."""
    return max((int(path.name.partition("-")[2]) for path in Path("output").glob("checkpoint-*")), default=0)


def save_checkpoint(step: int, output: Path = Path("output")) -> Path:
    """Write a checkpoint of the same files and formats as a real one of LoRA; return its folder."""
    folder = output / f"checkpoint-{step}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "model"}))
    (folder / "adapter_model.safetensors").write_bytes(build_safetensors())
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("archive/data.pkl", b"0" * 256)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    if Path.cwd() == output.resolve().parent:
        note(event="save", step=step)
    return folder


def build_safetensors() -> bytes:
    """Return a file of the safetensors format with one tensor."""
    header = json.dumps({"weight": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(16)


if __name__ == "__main__":
    main()
