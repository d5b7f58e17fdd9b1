"""What runs start in the chaos suite: LLaMA-Factory itself, or a stand-in; both keep the ledger.

Nodes start `python -m chaos.trainer FOLDER train.yaml` in the place of `worker.entry`. A job on the model
`stand-in` is the stand-in's: it does not train, but writes what a run writes, obeys the file `stop`, and goes on
from a checkpoint. Any other is LLaMA-Factory by our own entry, whose callback also writes into the ledger.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from chaos.ledger import Pen
from tests.worker import fake_trainer

STAND_IN = "stand-in"
STEP_SECONDS = 0.15
REAL_STEP_SECONDS = 0.08
"""How much longer each step of the real trainer takes than it needs, so that faults find it training."""
PADDING_BYTES = 100_000
"""The size of a stand-in's checkpoint: a small disk is full after some of them."""


def main() -> None:
    """Run `train.yaml` of the working folder."""
    pen = Pen(Path(sys.argv[1]), os.environ["TUNEFORGE_ATTEMPT"])
    if Path(os.readlink("model")).name == STAND_IN:
        run_stand_in(pen)
    else:
        run_llamafactory(pen)


def run_stand_in(pen: Pen) -> None:
    """Make the steps that are left; ends early, with a checkpoint, once the file `stop` is there."""
    plan = yaml.safe_load(Path("train.yaml").read_text())
    steps, save_steps = int(plan["max_steps"]), int(plan["save_steps"])
    pen.say("***** Running training *****\n")
    first = fake_trainer.find_last_checkpoint()
    pen.note("begin", first)
    take_note(event="train_begin", step=first, total=steps)
    for step in range(first + 1, steps + 1):
        time.sleep(STEP_SECONDS)
        pen.note("step", step)
        write_step(pen, step, steps)
        stopping = Path("stop").exists() and step < steps
        if step % save_steps == 0 or stopping or step == steps:
            save_checkpoint(step)
        if stopping:
            pen.note("stopped", step)
            Path("stopped").write_text(f"{step}\n")
            return
    Path("output/adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "model"}))
    Path("output/adapter_model.safetensors").write_bytes(fake_trainer.build_safetensors())
    Path("output/all_results.json").write_text(json.dumps({"train_loss": 1 / steps}))
    pen.note("done", steps)


def write_step(pen: Pen, step: int, steps: int) -> None:
    """Write what a step leaves behind: notes, LLaMA-Factory's line of metrics, and a piece of the log."""
    take_note(step=step, seconds=STEP_SECONDS, memory=step << 20)
    take_note(event="log", step=step, grad_norm=0.5)
    line = {"current_steps": step, "total_steps": steps, "loss": 1 / step, "lr": 0.001, "epoch": step / steps}
    append(Path("output/trainer_log.jsonl"), line)
    bar = f"\r{step * 100 // steps}%| {step}/{steps} [00:01<00:02]"
    pen.say(f"{bar}\n{pen.job}.{pen.attempt} 第 {step} 步 {'.' * (step % 60)}\n")


def save_checkpoint(step: int) -> None:
    """Write a checkpoint of some size; a full disk ends the run, as it ends LLaMA-Factory's."""
    output = Path("output")
    draft = output / f".padding-{step}"
    draft.write_bytes(bytes(PADDING_BYTES))
    folder = fake_trainer.save_checkpoint(step)
    draft.rename(folder / "padding")


def take_note(**fields: Any) -> None:
    """Append to the run's notes."""
    append(Path("notes.jsonl"), fields | {"at": time.time()})


def append(path: Path, value: dict[str, Any]) -> None:
    """Append a line of JSON; what a full disk has no room for is left out, as in a real run."""
    try:
        with path.open("a") as file:
            file.write(json.dumps(value) + "\n")
    except OSError:
        return


def run_llamafactory(pen: Pen) -> None:
    """Run LLaMA-Factory by the platform's own entry, with a callback that keeps the ledger as well."""
    from worker import entry, run_callback

    class LedgerCallback(run_callback.RunCallback):
        """Writes down each step before anything is decided about it."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            pen.note("begin", state.global_step)
            super().on_train_begin(args, state, control, **kwargs)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            time.sleep(REAL_STEP_SECONDS)
            pen.note("step", state.global_step)
            pen.say(f"\n{pen.job}.{pen.attempt} step {state.global_step} of LLaMA-Factory\n")
            super().on_step_end(args, state, control, **kwargs)

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            pen.note("done" if state.global_step >= state.max_steps else "stopped", state.global_step)
            super().on_train_end(args, state, control, **kwargs)

    run_callback.RunCallback = LedgerCallback  # type: ignore[misc]
    sys.argv = [sys.argv[0], *sys.argv[2:]]
    entry.main()


if __name__ == "__main__":
    main()
