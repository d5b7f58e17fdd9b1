"""What packing does to learning: a small text model tuned with and without it, seed by seed, on the same rows.

python -m benchmarks.packing_loss FOLDER [--seeds 2]

Real LLaMA-Factory trains a Qwen2 of demonstration size to translate descriptions of road scenes, in full. `plain` has
32 rows a step; `packed` has `packing` and `neat_packing` with as many packs a step as hold 32 rows on average. Every
result is then measured on the same rows that none has seen, without packing. Packing would change nothing if `packed`
lay among `plain` of other seeds. Prints a line a run and one of JSON; ends with 1 if the means are further apart than
the seeds of `plain` scatter.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

ROWS, HELD_OUT, LONGEST_ROW = 800, 200, 12
CUTOFF, EXAMPLES_A_STEP, BATCH = 512, 32, 8
TEMPLATE = (
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n{instruction}<|im_end|>\n<|im_start|>assistant\n{output}<|im_end|>\n"
)
"""What LLaMA-Factory's template `qwen` makes of a row."""
DATASET_INFO = {
    name: {
        "file_name": f"{name}.json",
        "formatting": "alpaca",
        "columns": {"prompt": "instruction", "response": "output"},
    }
    for name in ("rows", "held_out")
}


def main() -> int:
    """Train every way with every seed, measure each, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    mean, all_packs = make_inputs(options.folder)
    packs = round(EXAMPLES_A_STEP * all_packs / ROWS)
    ways: dict[str, dict[str, Any]] = {
        "plain": {
            "per_device_train_batch_size": BATCH,
            "gradient_accumulation_steps": EXAMPLES_A_STEP // BATCH,
        },
        "packed": {"packing": True, "neat_packing": True} | build_pack_batch(packs),
    }
    filled = ROWS * mean / (all_packs * CUTOFF)
    print(
        f"rows of {mean:.0f} tokens on average make {all_packs} packs of {CUTOFF}, filled to {filled:.0%}; a step of "
        f"{EXAMPLES_A_STEP} rows is nearest to {packs} packs",
        flush=True,
    )
    found = {
        way: [train_and_measure(options.folder, way, args, seed) for seed in range(options.seeds)]
        for way, args in ways.items()
    }
    return show(found, filled, packs * ROWS / (EXAMPLES_A_STEP * all_packs))


def build_pack_batch(packs: int) -> dict[str, int]:
    """Return one pack a pass, as FlashAttention wants it."""
    return {"per_device_train_batch_size": 1, "gradient_accumulation_steps": packs}


# -- inputs --------------------------------------------------------------------------------------------------


def make_inputs(folder: Path) -> tuple[float, int]:
    """Write the model and both sets of rows; return a row's mean length in tokens, and the packs that all rows make."""
    from llamafactory.data.processor.processor_utils import greedy_knapsack
    from transformers import Qwen2Config, Qwen2ForCausalLM, set_seed

    from worker.demonstration.base_model import build_tokenizer

    folder.mkdir(parents=True, exist_ok=True)
    random = Random("packing")
    rows = [build_row(random) for _ in range(ROWS + HELD_OUT)]
    for name, part in (("held_out", rows[:HELD_OUT]), ("rows", rows[HELD_OUT:])):
        (folder / f"{name}.json").write_text(json.dumps(part, ensure_ascii=False))
    (folder / "dataset_info.json").write_text(json.dumps(DATASET_INFO))
    tokenizer = build_tokenizer([text for row in rows for text in row.values()])
    tokenizer.save_pretrained(folder / "model")
    set_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=384, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, initializer_range=0.06, tie_word_embeddings=True,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(folder / "model")
    lengths = [len(tokenizer(TEMPLATE.format(**row))["input_ids"]) for row in rows[HELD_OUT:]]
    tokens = sum(lengths)
    return tokens / ROWS, len(greedy_knapsack(lengths, CUTOFF - 1))


def build_row(random: Random) -> dict[str, str]:
    """Return a description in English, of one topic up to many, and the same in Chinese."""
    from worker.demonstration.english import describe_topic
    from worker.demonstration.questions import QUESTIONS
    from worker.demonstration.scenes import choose_scene

    scene = choose_scene(random.randrange(10_000_000))
    topics = [random.choice(list(QUESTIONS)) for _ in range(random.randint(1, LONGEST_ROW))]
    english = "; ".join(f"{topic}: {describe_topic(scene, topic)}" for topic in topics)
    chinese = "；".join(QUESTIONS[topic][1](scene) for topic in topics)
    return {"instruction": english, "output": chinese}


# -- runs ------------------------------------------------------------------------------------------------------


def train_and_measure(folder: Path, way: str, args: dict[str, Any], seed: int) -> dict[str, float]:
    """Return the loss on the held-out rows, the steps, and the seconds of training."""
    from llamafactory.train.tuner import run_exp

    common = {
        "stage": "sft", "finetuning_type": "full", "template": "qwen", "dataset_dir": str(folder),
        "cutoff_len": CUTOFF, "overwrite_cache": True, "flash_attn": "sdpa", "report_to": "none", "bf16": False,
        "logging_steps": 10, "use_cpu": True, "disable_tqdm": True, "log_level": "error", "overwrite_output_dir": True,
    }  # fmt: skip
    output = folder / f"{way}-{seed}"
    began = time.monotonic()
    run_exp(
        common
        | args
        | {
            "model_name_or_path": str(folder / "model"), "dataset": "rows", "do_train": True, "seed": seed,
            "data_seed": seed, "num_train_epochs": 3, "learning_rate": 2e-3, "lr_scheduler_type": "cosine",
            "warmup_ratio": 0.1, "save_strategy": "no", "output_dir": str(output),
        }
    )  # fmt: skip
    seconds = time.monotonic() - began
    run_exp(
        common
        | {
            "model_name_or_path": str(output), "eval_dataset": "held_out", "do_eval": True,
            "per_device_eval_batch_size": 10, "output_dir": str(output / "measured"),
        }
    )  # fmt: skip
    loss = json.loads((output / "measured" / "all_results.json").read_text())["eval_loss"]
    steps = json.loads((output / "trainer_state.json").read_text())["global_step"]
    print(f"{way:7} seed {seed}: {steps} steps, {seconds:.0f} s, held-out loss {loss:.4f}", flush=True)
    return {"loss": loss, "steps": steps, "seconds": round(seconds, 1)}


def show(found: dict[str, list[dict[str, float]]], filled: float, share: float) -> int:
    """Print the comparison as one line of JSON; return the exit code."""
    losses = {way: [run["loss"] for run in runs] for way, runs in found.items()}
    scatter = max(losses["plain"]) - min(losses["plain"])
    means = {way: statistics.fmean(values) for way, values in losses.items()}
    apart = abs(means["packed"] - means["plain"])
    result = {
        "packs_filled": round(filled, 3),
        "rows_a_step_share": round(share, 3),
        "held_out_loss": {way: [round(value, 4) for value in values] for way, values in losses.items()},
        "steps": {way: runs[0]["steps"] for way, runs in found.items()},
        "seconds": {
            way: round(statistics.fmean(run["seconds"] for run in runs), 1) for way, runs in found.items()
        },
        "means_apart": round(apart, 4),
        "seeds_of_plain_scatter": round(scatter, 4),
        "within_noise": apart <= scatter,
    }
    print(json.dumps(result))
    return 0 if apart <= scatter else 1


if __name__ == "__main__":
    sys.exit(main())
