"""The one callback of ours in a run: stops it on request, at a step on which all ranks agree, and takes notes."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from worker.attention import prepare_attention
from worker.notes import NOTES_FILE, STOP_FILE, STOPPED_FILE


class RunCallback(TrainerCallback):  # type: ignore[misc]
    """Ends training at the end of the step in which the file `stop` appeared, with a checkpoint of that step.

    Whether it has appeared is agreed upon by all ranks in one small all-reduce per step, which also finds the
    highest memory use among them. Rank 0 notes each step's number, time and that memory in `notes.jsonl`, and
    with each logged step what `trainer_log.jsonl` leaves out.
    """

    def __init__(self) -> None:
        self._folder = Path.cwd()
        self._stopped = False
        self._peak = 0
        self._waited_since = 0.0
        self._tokens: tuple[float, float] | None = None

    def on_init_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Choose the attention kernels; every run with a trainer passes here, once."""
        prepare_attention(model)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note where training begins: at step 0, or where a checkpoint left off."""
        self._waited_since = time.monotonic()
        self._note(state, {"event": "train_begin", "step": state.global_step, "total": state.max_steps})

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Agree on a stop; save this very step and end the run when one is wished.

        A step's time runs from the end of the one before, as the examples are loaded before a step "begins".
        """
        now = time.monotonic()
        seconds, self._waited_since = now - self._waited_since, now
        wished = (self._folder / STOP_FILE).exists()
        wished, self._peak = agree(wished, max(self._peak, measure_peak_memory()))
        note = {"step": state.global_step, "seconds": round(seconds, 6), "memory": self._peak}
        self._note(state, note)
        if not wished or state.global_step >= state.max_steps:
            return
        self._stopped = True
        args.save_only_model = False  # the checkpoint is there to go on from
        control.should_save = True
        control.should_log = True
        control.should_evaluate = False
        control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note that a checkpoint was saved; the next step did not take that time."""
        self._waited_since = time.monotonic()
        self._note(state, {"event": "save", "step": state.global_step})

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note that an evaluation has ended."""
        self._waited_since = time.monotonic()
        self._note(state, {"event": "evaluate", "step": state.global_step})

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        """Note what LLaMA-Factory's log leaves out: gradient norm, and tokens per second of this stretch alone."""
        if not logs or "loss" not in logs:
            return
        note: dict[str, Any] = {"event": "log", "step": state.global_step}
        if isinstance(logs.get("grad_norm"), (int, float)):
            note["grad_norm"] = float(logs["grad_norm"])
        now, seen = time.monotonic(), float(state.num_input_tokens_seen or 0)
        if self._tokens is not None and now > self._tokens[0] and seen > self._tokens[1]:
            note["tokens_per_second"] = (seen - self._tokens[1]) / (now - self._tokens[0])
        self._tokens = (now, seen)
        self._note(state, note)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep the highest memory use of evaluations and predictions too."""
        self._peak = max(self._peak, measure_peak_memory())

    def on_predict(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the memory that predicting took."""
        self._note(state, {"event": "predict", "step": 0, "memory": self._peak})

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After a stop, leave out what would follow training; what was trained is still saved."""
        if not self._stopped:
            return
        args.do_eval = False
        args.do_predict = False
        if state.is_world_process_zero:
            (self._folder / STOPPED_FILE).write_text(f"{state.global_step}\n")

    def _note(self, state: Any, note: dict[str, Any]) -> None:
        if not state.is_world_process_zero:
            return
        line = json.dumps(note | {"at": round(time.time(), 3)}) + "\n"
        try:
            with (self._folder / NOTES_FILE).open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError:  # notes are never worth a run
            return


def agree(wished: bool, peak: int) -> tuple[bool, int]:
    """Return whether any rank wishes to stop, and the highest memory use of all ranks in bytes."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return wished, peak
    device = "cpu" if distributed.get_backend() == "gloo" else f"cuda:{torch.cuda.current_device()}"
    values = torch.tensor([float(wished), float(peak)], dtype=torch.float64, device=device)
    distributed.all_reduce(values, op=distributed.ReduceOp.MAX)
    return bool(values[0].item()), int(values[1].item())


def measure_peak_memory() -> int:
    """Return the most bytes this process has used: of its GPU, everything outside torch's own pool included.

    What is outside the pool (CUDA's context, libraries) is what the driver counts as used beyond what torch
    has reserved now. Without a GPU it is the largest resident set.
    """
    if not torch.cuda.is_available():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    free, total = torch.cuda.mem_get_info()
    outside = max(0, total - free - torch.cuda.memory_reserved())
    return int(outside + torch.cuda.max_memory_reserved())
