"""Says of many datasets how many examples LLaMA-Factory loads; imports it once and forks for every one.

    load_datasets.py MODEL < orders      MODEL is made if it is not there: a tokenizer and a processor of Qwen2-VL's kind
    an order is a line of JSON: {"folder": "…", "info": {…}, "stage": "sft"}

Prints a line of JSON each: {"count": 3, "error": null} or {"count": 0, "error": "KeyError: …"}.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
}

from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer
from transformers import Qwen2_5_VLConfig

from worker.demonstration.base_model import build_processor, build_tokenizer


def make_model(folder: Path) -> None:
    """Write a tokenizer, a processor and a configuration, which is all of a model that loading a dataset takes."""
    tokenizer = build_tokenizer(["what is in the picture? 图中有什么？ a red car, 一辆红色的车。"])
    build_processor(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Qwen2_5_VLConfig().save_pretrained(folder)


class Loader:
    """LLaMA-Factory's own loading, with the tokenizer loaded once."""

    def __init__(self, model: Path, folder: Path) -> None:
        self._model, self._folder = model, folder
        folder.mkdir(exist_ok=True)
        (folder / "dataset_info.json").write_text('{"data": {"file_name": "none.json"}}')
        model_args, data_args, *_ = self._read_arguments("sft", folder)
        module = load_tokenizer(model_args)
        self._tokenizer, self._processor = module["tokenizer"], module["processor"]
        self._template = get_template_and_fix_tokenizer(self._tokenizer, data_args)

    def _read_arguments(self, stage: str, folder: Path) -> Any:
        settings = {
            "model_name_or_path": str(self._model),
            "stage": "dpo" if stage == "rm" else stage,
            "do_train": True,
            "finetuning_type": "lora",
            "dataset": "data",
            "dataset_dir": str(folder),
            "template": "qwen2_vl",
            "packing": False,
            "overwrite_cache": True,
            "output_dir": str(self._folder / "output"),
            "report_to": "none",
            "cutoff_len": 2048,
        }
        if stage == "ppo":
            settings["reward_model"] = str(self._model)
        return get_train_args(settings)

    def count(self, order: dict[str, Any]) -> int:
        """Return how many examples are loaded, in the way that `run_sft` and its like do."""
        folder = Path(order["folder"])
        (folder / "dataset_info.json").write_text(json.dumps({"data": order["info"]}), encoding="utf-8")
        model_args, data_args, training_args, *_ = self._read_arguments(order["stage"], folder)
        stage = "rm" if order["stage"] == "dpo" else order["stage"]
        module = get_dataset(
            self._template, model_args, data_args, training_args, stage, self._tokenizer, self._processor
        )
        return len(module["train_dataset"])


def answer_in_fork(loader: Loader, order: dict[str, Any], log: Path) -> dict[str, Any]:
    """Count in a process of its own, as some files crash pyarrow."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(target, 1)
        os.dup2(target, 2)
        try:
            answer: dict[str, Any] = {"count": loader.count(order), "error": None}
        except BaseException as error:
            answer = {"count": 0, "error": f"{type(error).__name__}: {error}"[:500]}
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return json.loads(text) if text else {"count": 0, "error": f"ended with {status}"}


def main(model: Path) -> None:
    """Answer every line."""
    if not (model / "config.json").is_file():
        make_model(model)
    loader = Loader(model, model / "scratch")
    for line in sys.stdin:
        answer = answer_in_fork(loader, json.loads(line), model / "scratch" / "last.log")
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
