"""One measured run of LLaMA-Factory in this process, and what the machine reaches by itself."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import Any

LEFT_OUT = 3


def build_arguments(case: dict[str, Any], folder: Path, *, tiny: bool, on_cpu: bool) -> dict[str, Any]:
    """Return LLaMA-Factory's arguments for a case."""
    args = {
        "model_name_or_path": str(folder / "model"),
        "stage": case["stage"],
        "do_train": True,
        "finetuning_type": case["finetuning_type"],
        "dataset": "data",
        "dataset_dir": str(folder / "data"),
        "media_dir": str(folder / "data"),
        "template": "qwen2_vl" if case["data"] == "image" else "qwen",
        "cutoff_len": case["cutoff_len"],
        "output_dir": str(folder / "output"),
        "per_device_train_batch_size": case["per_device_train_batch_size"],
        "gradient_accumulation_steps": case["gradient_accumulation_steps"],
        "dataloader_num_workers": case["dataloader_num_workers"],
        "disable_gradient_checkpointing": not case["gradient_checkpointing"],
        "max_steps": case["steps"],
        "learning_rate": 1e-6,
        "logging_steps": 5,
        "save_strategy": "no",
        "report_to": "none",
        "bf16": not on_cpu,
        "preprocessing_num_workers": 12 if case["data"] == "image" and not on_cpu else None,
        "overwrite_cache": True,
        "plot_loss": False,
    }
    if case["finetuning_type"] == "lora":
        args |= {"lora_rank": case["lora_rank"], "lora_alpha": 16}
    passed_on = ("pure_bf16", "freeze_trainable_layers", "enable_liger_kernel", "flash_attn", "optim")
    passed_on += ("image_max_pixels", "quantization_bit")
    args |= {name: case[name] for name in passed_on if name in case}
    if on_cpu:
        args |= {"use_cpu": True, "enable_liger_kernel": False}
    if tiny:
        args |= {"cutoff_len": min(256, case["cutoff_len"])}
        args |= {"image_max_pixels": 112 * 112}
    return args


def train(args: dict[str, Any], *, on_cpu: bool) -> dict[str, Any]:
    """Run LLaMA-Factory on `args` and return what was measured."""
    import torch
    from llamafactory.train.tuner import run_exp

    if not args.get("quantization_bit"):
        _make_weights_in_place("cpu" if on_cpu else "cuda")
    clock = _build_clock(on_cpu, bool(args.get("quantization_bit")))
    begun = time.monotonic()
    out_of_memory = False
    try:
        run_exp(args=args, callbacks=[clock])
    except torch.cuda.OutOfMemoryError:
        out_of_memory = True
    wall = time.monotonic() - begun
    row = _describe_machine(on_cpu)
    if on_cpu:
        row["threads"] = torch.get_num_threads()
    row |= {"process_wall_s": round(wall, 1), "oom": out_of_memory, **clock.facts}
    if not on_cpu:
        row["peak_allocated_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 3)
        row["peak_reserved_gib"] = round(torch.cuda.max_memory_reserved() / 2**30, 3)
    steps = [later - earlier for earlier, later in zip(clock.ends, clock.ends[1:], strict=False)]
    steps = steps[LEFT_OUT - 1 :]
    if steps and not out_of_memory:
        row["step_s_all"] = [round(step, 4) for step in steps]
        row["optimizer_step_s"] = round(statistics.median(steps), 4)
    return row


def _describe_machine(on_cpu: bool) -> dict[str, Any]:
    import llamafactory
    import torch
    import transformers

    return {
        "gpu": "cpu" if on_cpu else torch.cuda.get_device_name(0),
        "gpu_count": 1,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "llamafactory": getattr(llamafactory, "__version__", "0.9.5"),
    }


def _build_clock(on_cpu: bool, is_quantised: bool) -> Any:
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        """Notes the end of every step, and what the run holds."""

        def __init__(self) -> None:
            self.ends: list[float] = []
            self.facts: dict[str, Any] = {}

        def on_train_begin(self, _args: Any, _state: Any, _control: Any, **kwargs: Any) -> None:
            model, loader = kwargs["model"], kwargs.get("train_dataloader")
            trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
            held = sum(p.numel() for p in model.parameters())
            if not is_quantised:  # bitsandbytes packs several numbers into one
                self.facts["params"] = held - trained if hasattr(model, "peft_config") else held
            self.facts["trained_params"] = trained
            if loader is not None and "input_ids" in loader.dataset.features:
                lengths = [len(row) for row in loader.dataset[:16]["input_ids"]]
                self.facts["mean_tokens"] = sum(lengths) / len(lengths)

        def on_step_end(self, _args: Any, _state: Any, _control: Any, **_kwargs: Any) -> None:
            self.ends.append(time.process_time() if on_cpu else time.monotonic())

    return Clock()


def _make_weights_in_place(device: str) -> None:
    """Have models made on the device with random weights, instead of read from files that are not there."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.initialization import no_init_weights

    def make(auto_class: Any) -> Any:
        def from_pretrained(*_args: Any, config: Any, **_kwargs: Any) -> Any:
            dtype = torch.float32 if device == "cpu" else torch.bfloat16
            with no_init_weights(), torch.device(device):
                model = auto_class.from_config(config, dtype=dtype)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.normal_(0, 0.02) if parameter.ndim > 1 else parameter.fill_(1.0)
            model.tie_weights()
            return model

        return from_pretrained

    for auto_class in (AutoModelForCausalLM, AutoModelForImageTextToText):
        auto_class.from_pretrained = make(auto_class)


# -- the machine's own ceilings -----------------------------------------------------------------------------------


def probe_machine() -> dict[str, Any]:
    """Return the rates that the device and its host reach by themselves, as `tuneforge calibrate` measures them."""
    import torch

    from worker.calibration import probe_gpu

    name = torch.cuda.get_device_name(0)
    return {"id": "probe", "gpu": name, "cpu_count": os.cpu_count()} | probe_gpu(name, 0).model_dump()
