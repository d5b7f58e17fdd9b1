"""Says how many tokens LLaMA-Factory itself makes of each row of datasets.

    tokenize_datasets.py FOLDER < orders     models are made below FOLDER unless they are there
    an order is a line of JSON: {"model": "qwen", "template": "qwen2_vl", "folder": "…", "info": {…}, "stage": "sft"}

Prints a line of JSON each, among the lines of its log: [[tokens, of these labels], …].
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import LlamaConfig, PreTrainedTokenizerFast, Qwen2_5_VLConfig

from worker.demonstration.base_model import build_processor, build_tokenizer

TEXTS = [
    "what is in the picture? 图中有什么？ a red car, 一辆红色的车。 the weather of a town",
    "def f(x): return x",
]


def make_models(folder: Path) -> None:
    """Write tokenizers of two kinds: byte-level with a picture processor, and one that marks words as Llama 2's does."""
    qwen, llama = folder / "qwen", folder / "llama"
    if not (qwen / "config.json").is_file():
        tokenizer = build_tokenizer(TEXTS)
        build_processor(tokenizer).save_pretrained(qwen)
        tokenizer.save_pretrained(qwen)
        Qwen2_5_VLConfig().save_pretrained(qwen)
    if not (llama / "config.json").is_file():
        build_marking_tokenizer().save_pretrained(llama)
        place = llama / "tokenizer_config.json"
        place.write_text(
            json.dumps(json.loads(place.read_text()) | {"add_bos_token": True})
        )  # as Llama 2 has it
        LlamaConfig().save_pretrained(llama)


def build_marking_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with a token before every text and pieces that begin words."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def tokenize(root: Path, order: dict[str, Any]) -> list[list[int]]:
    """Return the lengths of all rows, in the order in which LLaMA-Factory keeps them."""
    folder = Path(order["folder"])
    (folder / "dataset_info.json").write_text(json.dumps({"data": order["info"]}), encoding="utf-8")
    stage = order["stage"]
    model_args, data_args, training_args, *_ = get_train_args(
        {
            "model_name_or_path": str(root / order["model"]),
            "stage": "dpo" if stage == "rm" else stage,
            "do_train": True,
            "finetuning_type": "lora",
            "dataset": "data",
            "dataset_dir": str(folder),
            "template": order["template"],
            "packing": False,
            "overwrite_cache": True,
            "output_dir": str(root / "output"),
            "report_to": "none",
            "cutoff_len": order.get("cutoff_len", 1 << 17),
        }
    )
    module = load_tokenizer(model_args)
    template = get_template_and_fix_tokenizer(module["tokenizer"], data_args)
    rows = get_dataset(template, model_args, data_args, training_args, stage, **module)["train_dataset"]
    return [measure(row) for row in rows]


def measure(row: dict[str, Any]) -> list[int]:
    """Return a row's tokens and labels; of a pair the longer answer's."""
    if "chosen_input_ids" in row:
        pair = [(row[f"{name}_input_ids"], row[f"{name}_labels"]) for name in ("chosen", "rejected")]
        ids, labels = max(pair, key=lambda one: len(one[0]))
    else:
        ids, labels = row["input_ids"], row.get("labels", row["input_ids"])
    return [len(ids), sum(label != -100 for label in labels)]


def main(root: Path) -> None:
    """Answer every line."""
    root.mkdir(parents=True, exist_ok=True)
    make_models(root)
    for line in sys.stdin:
        print(json.dumps(tokenize(root, json.loads(line))), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
