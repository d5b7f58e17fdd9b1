"""Measure LLaMA-Factory on this machine's GPU: step times and peak memory of many short runs, one JSON line each.

    python benchmarks/measure_llamafactory.py --out measured.jsonl [--deadline-seconds 540] [--only m01,m02]

Weights are random, in the published shape of the model named (speed and memory do not depend on their values), made on
the device, so that nothing is downloaded. The tokenizer is a byte-level BPE made on the spot, the data synthetic:

- `text`: every example is longer than `cutoff_len`, so every sequence is exactly that long.
- `image`: one 1928x1208 JPEG an example and about a hundred tokens of text.
- `pref`: chosen and rejected answer both longer than `cutoff_len`.

Every case is a process of its own, forked from one that has imported everything, and runs LLaMA-Factory's own
`run_exp`. `optimizer_step_s` is the median time from the end of one optimizer step to the end of the next, the first
ones left out; the peaks are torch's own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

os.environ.setdefault("DISABLE_VERSION_CHECK", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# CUDA must not be initialised before the forks; this way of asking whether there is a GPU does not.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from backend.domain.published_models import find_published_config
from benchmarks.measured_cases import CASES, CPU_CASES

PICTURE_SIZE = (1928, 1208)
LEFT_OUT = 3
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>"]
SPECIAL_TOKENS += ["<|image_pad|>", "<|video_pad|>"]
TINY = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4}
TINY |= {"num_key_value_heads": 2, "head_dim": 32, "vocab_size": 2048}


def main() -> int:
    """Run the cases that are wanted and not done, until the deadline nears."""
    options = _parse_options()
    started = time.monotonic()
    work = Path(options.work)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    _import_everything()
    print(f"imported after {time.monotonic() - started:.1f} s", flush=True)
    forks = not options.spawn and not _is_cuda_awake()
    print("one fork a case" if forks else "one new process a case", flush=True)
    tokenizer = make_tokenizer(work / "tokenizer")
    done = {row["id"] for path in options.skip for row in _read_rows(Path(path))}
    cases = CPU_CASES if options.cpu else CASES
    wanted = [case for case in cases if not options.only or case["id"] in options.only.split(",")]
    if options.in_process:
        _write(Path(options.out), run_case(wanted[0], work, tokenizer, options, 600))
        return 0
    if options.probe:
        _write(Path(options.out), run_forked(lambda: probe_machine(work), work / "probe.log", 120) or {})
    failures = 0
    for case in wanted:
        left = options.deadline_seconds - (time.monotonic() - started)
        if case["id"] in done:
            continue
        if left < case.get("expected_s", 20) + 10:
            print(f"{case['id']}: skipped, {left:.0f} s left", flush=True)
            continue
        begun = time.monotonic()
        limit = min(left - 5, 120)
        row = (
            run_case(case, work, tokenizer, options, limit)
            if forks
            else run_spawned(case, work, options, limit)
        )
        state = "ok" if "optimizer_step_s" in row else "out of memory" if row.get("oom") else "failed"
        print(f"{case['id']}: {state}, {time.monotonic() - begun:.1f} s", flush=True)
        if state != "failed":
            _write(Path(options.out), row)
        failures = failures + 1 if state == "failed" else 0
        if failures == 3:
            print("three failures in a row: given up", flush=True)
            return 1
    return 0


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--work", default=str(Path(tempfile.gettempdir()) / "measure_llamafactory"))
    parser.add_argument("--deadline-seconds", type=float, default=3600)
    parser.add_argument("--only", help="ids, separated by commas")
    parser.add_argument("--skip", action="append", default=[], help="a file of rows whose ids are done")
    parser.add_argument("--tiny", action="store_true", help="a tiny shape on the CPU, to try this script")
    parser.add_argument(
        "--cpu", action="store_true", help="small models on the CPU, by the process's CPU seconds"
    )
    parser.add_argument("--probe", action="store_true", help="measure the machine's ceilings first")
    parser.add_argument("--spawn", action="store_true", help="start each case as a new process, not a fork")
    parser.add_argument("--in-process", action="store_true", help="run one case here (what --spawn starts)")
    return parser.parse_args()


def _read_rows(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _write(path: Path, row: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def _import_everything() -> None:
    import datasets  # noqa: F401
    import peft  # noqa: F401
    import torch

    # LLaMA-Factory asks this as it is imported, and the answer would initialise CUDA.
    asked = torch.cuda.is_bf16_supported
    torch.cuda.is_bf16_supported = lambda *_args, **_kwargs: True

    import transformers
    import transformers.models.llama.modeling_llama
    import transformers.models.qwen2.modeling_qwen2
    import transformers.models.qwen2_5_vl.modeling_qwen2_5_vl  # noqa: F401
    from llamafactory.train import tuner  # noqa: F401

    torch.cuda.is_bf16_supported = asked


def _is_cuda_awake() -> bool:
    import torch

    return bool(torch.cuda.is_initialized())


# -- processes -----------------------------------------------------------------------------------------------


def run_forked(work: Any, log: Path, limit_seconds: float) -> dict[str, Any] | None:
    """Return what `work()` returns in a forked process, or None when it failed or took too long."""
    result = log.with_suffix(".json")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setsid()
            file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(file, 1)
            os.dup2(file, 2)
            result.write_text(json.dumps(work()), encoding="utf-8")
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    end = time.monotonic() + limit_seconds
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            break
        time.sleep(0.05)
    if not result.exists():
        print("".join(log.read_text(errors="replace")[-1500:]), flush=True)
        return None
    return json.loads(result.read_text(encoding="utf-8"))


def run_spawned(
    case: dict[str, Any], work: Path, options: argparse.Namespace, limit: float
) -> dict[str, Any]:
    """Return `run_case` of a new process: slower by the imports."""
    out = work / f"{case['id']}.row"
    command = [sys.executable, __file__, "--in-process", "--only", case["id"], "--out", str(out)]
    command += ["--work", str(work / f"{case['id']}.work")] + (["--tiny"] if options.tiny else [])
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(command, timeout=limit + 30, check=False)
    rows = _read_rows(out)
    return rows[0] if rows else {"failed": True}


def run_case(
    case: dict[str, Any], work: Path, tokenizer: Any, options: argparse.Namespace, limit: float
) -> dict[str, Any]:
    """Return a row of measurements; `oom` is true where memory ran out."""
    folder = work / case["id"]
    folder.mkdir(parents=True)
    config = case.get("config") or find_published_config(case["model"]) or {}
    make_model_folder(
        config, folder / "model", tokenizer, tiny=options.tiny, on_cpu=options.cpu or options.tiny
    )
    make_data(case, folder / "data")
    args = build_arguments(case, folder, tiny=options.tiny, on_cpu=options.cpu or options.tiny)

    def work_here() -> dict[str, Any]:
        return train(args, on_cpu=options.cpu or options.tiny)

    measured = work_here() if options.in_process else run_forked(work_here, folder / "log", limit)
    shutil.rmtree(folder / "output", ignore_errors=True)
    facts = {name: value for name, value in case.items() if name not in ("expected_s", "steps")}
    return facts | (measured or {"failed": True})


# -- models, tokenizer, data -----------------------------------------------------------------------------------


def make_tokenizer(folder: Path) -> Any:
    """Return a byte-level BPE of 500 entries with Qwen's special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=SPECIAL_TOKENS, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([_write_text(400, seed) for seed in range(20)], trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=SPECIAL_TOKENS[2],
        pad_token=SPECIAL_TOKENS[0],
        model_max_length=131072,
    )
    made.save_pretrained(folder)
    return made


def _write_text(words: int, seed: int) -> str:
    """Return words without meaning, the same for the same seed."""
    state, found = seed * 7919 + 1, []
    syllables = ["ka", "ro", "mi", "tel", "sun", "vo", "der", "pa", "li", "quo", "ne", "ster"]
    for _ in range(words):
        state = (state * 1103515245 + 12345) % 2**31
        found.append("".join(syllables[(state >> shift) % len(syllables)] for shift in (4, 9, 14)))
    return " ".join(found)


def make_model_folder(
    config_facts: dict[str, Any], folder: Path, tokenizer: Any, *, tiny: bool, on_cpu: bool
) -> None:
    """Write config.json, tokenizer and processor of a shape."""
    from transformers import AutoConfig

    facts = dict(config_facts)
    vision = facts.pop("vision_config", None)
    model_type = facts.pop("model_type")
    if tiny:
        facts |= TINY
    common = {"max_position_embeddings": 32768, "eos_token_id": 2, "pad_token_id": 0, "bos_token_id": 0}
    facts |= common | {"dtype": "float32" if on_cpu else "bfloat16"}
    tokenizer.save_pretrained(folder)
    if vision is None:
        config = AutoConfig.for_model(model_type, **facts)
    else:
        config = _make_vision_config(facts, vision, tokenizer, tiny=tiny)
        _make_processor(folder, tokenizer)
    config.save_pretrained(folder)


def _make_vision_config(facts: dict[str, Any], vision: dict[str, Any], tokenizer: Any, *, tiny: bool) -> Any:
    from transformers import Qwen2_5_VLConfig

    if tiny:
        vision = vision | {"depth": 2, "hidden_size": 64, "intermediate_size": 96, "num_heads": 4}
        vision |= {"out_hidden_size": facts["hidden_size"], "fullatt_block_indexes": [1]}
    half = facts["head_dim"] // 2
    sections = [half - 2 * (3 * half // 8), 3 * half // 8, 3 * half // 8]
    rope = {"rope_type": "default", "rope_theta": 1000000.0, "mrope_section": sections}
    ids = {
        f"{kind}_token_id": tokenizer.convert_tokens_to_ids(f"<|{kind}_pad|>") for kind in ("image", "video")
    }
    return Qwen2_5_VLConfig(
        text_config=facts | {"rope_parameters": rope},
        vision_config=vision,
        vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
        tie_word_embeddings=facts["tie_word_embeddings"],
        dtype=facts["dtype"],
        **ids,
    )


def _make_processor(folder: Path, tokenizer: Any) -> None:
    from transformers import Qwen2_5_VLProcessor, Qwen2VLImageProcessor, Qwen2VLVideoProcessor

    size = {"shortest_edge": 56 * 56, "longest_edge": 12845056}
    Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=dict(size)),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=dict(size)),
        chat_template="{% for message in messages %}{{ message['content'] }}{% endfor %}",
    ).save_pretrained(folder)


def make_data(case: dict[str, Any], folder: Path) -> None:
    """Write one dataset `data` of as many examples as the case's steps take, and its dataset_info.json."""
    folder.mkdir()
    batch = case["per_device_train_batch_size"] * case["gradient_accumulation_steps"]
    count = batch * case["steps"]
    words = case["cutoff_len"]
    info: dict[str, Any] = {"file_name": "data.json"}
    if case["data"] == "pref":
        info |= {"ranking": True}
        info["columns"] = {"prompt": "instruction", "chosen": "chosen", "rejected": "rejected"}
        rows: list[dict[str, Any]] = [
            {"instruction": "Say", "chosen": _write_text(words, n), "rejected": _write_text(words, n + 9999)}
            for n in range(count)
        ]
    elif case["data"] == "image":
        info |= {"formatting": "sharegpt", "columns": {"messages": "messages", "images": "images"}}
        info["tags"] = {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
        }
        names = [_make_picture(folder, n) for n in range(min(count, 6))]
        rows = [_make_picture_row(names[n % len(names)], n) for n in range(count)]
    else:
        info["columns"] = {"prompt": "instruction", "response": "output"}
        rows = [{"instruction": "Say", "output": _write_text(words, n)} for n in range(count)]
    (folder / "data.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "dataset_info.json").write_text(json.dumps({"data": info}), encoding="utf-8")


def _make_picture_row(name: str, seed: int) -> dict[str, Any]:
    question = {"role": "user", "content": f"<image>{_write_text(6, seed)}?"}
    answer = {"role": "assistant", "content": _write_text(7, seed + 500)}
    return {"messages": [question, answer], "images": [name]}


def _make_picture(folder: Path, seed: int) -> str:
    """Write a JPEG with the detail of a photograph: soft shapes with fine grain."""
    import numpy
    from PIL import Image

    generator = numpy.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 255, (19, 30, 3), dtype=numpy.uint8))
    smooth = numpy.asarray(coarse.resize(PICTURE_SIZE, Image.Resampling.BICUBIC), dtype=numpy.int16)
    grain = generator.normal(0, 6, (PICTURE_SIZE[1], PICTURE_SIZE[0], 1)).astype(numpy.int16)
    picture = Image.fromarray(numpy.clip(smooth + grain, 0, 255).astype(numpy.uint8))
    name = f"{seed}.jpg"
    picture.save(folder / name, quality=90)
    return name


# -- one run -----------------------------------------------------------------------------------------------------


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
    passed_on += ("image_max_pixels",)
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

    _make_weights_in_place("cpu" if on_cpu else "cuda")
    clock = _build_clock(on_cpu)
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


def _build_clock(on_cpu: bool) -> Any:
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


def probe_machine(folder: Path) -> dict[str, Any]:
    """Return the rates that the device and its host reach by themselves."""
    import torch

    left = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    right = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    product = _time(lambda: left @ right, 20)
    block = torch.empty(2**31, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(block)
    copy = _time(lambda: target.copy_(block), 20)
    small = torch.zeros(16, device="cuda")
    launch = _time(lambda: [small.add_(1.0) for _ in range(1000)], 5) / 1000
    leaf = torch.zeros(16, device="cuda", requires_grad=True)

    def with_gradient() -> None:
        value = leaf
        for _ in range(1000):
            value = value * 1.0001
        value.sum().backward()

    recorded = _time(with_gradient, 5) / 1000
    return {
        "id": "probe",
        "gpu": torch.cuda.get_device_name(0),
        "matrix_tflops": round(2 * 8192**3 / product / 1e12, 1),
        "copy_gb_per_s": round(2 * 2**31 / copy / 1e9, 1),
        "launch_us": round(launch * 1e6, 2),
        "forward_and_backward_us": round(recorded * 1e6, 2),
        "picture_s": round(_time_picture(folder), 4),
        "cpu_count": os.cpu_count(),
    }


def _time(work: Any, times: int) -> float:
    import torch

    for _ in range(3):
        work()
    torch.cuda.synchronize()
    begun = time.monotonic()
    for _ in range(times):
        work()
    torch.cuda.synchronize()
    return (time.monotonic() - begun) / times


def _time_picture(folder: Path) -> float:
    from PIL import Image

    name = _make_picture(folder, 1)
    begun = time.monotonic()
    for _ in range(10):
        with Image.open(folder / name) as picture:
            picture.resize((958, 600)).convert("RGB").tobytes()
    return (time.monotonic() - begun) / 10


if __name__ == "__main__":
    sys.exit(main())
