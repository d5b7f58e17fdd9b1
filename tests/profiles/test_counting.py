"""The profile's lengths and LLaMA-Factory's own, row by row: every kind of dataset, templates of every kind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backend.dataset_files.profiling import profile
from backend.dataset_files.tokens import RowCounter, RowLength
from backend.domain.datasets.rendering import get_template
from backend.domain.datasets.statistics import measure_cut
from tests.profiles.small_datasets import SAMPLES, Sample

TEMPLATES = {
    "qwen": ["qwen2_vl", "qwen3_vl", "qwen3_5_nothink"],
    "llama": [
        "llama2",
        "mistral",
        "llama3",
        "qwen3",
        "qwen",
        "bailing_v2",
        "glm4",
        "glm4_moe",
        "alpaca",
        "default",
    ],
}
"""By tokenizer. Llama 2's kind fuses the system prompt, reasoning ones write thoughts, each has a style of tools."""


class Recording(RowCounter):
    """A counter that keeps what it counted."""

    lengths: list[RowLength]

    def count(self, rows: list[Any]) -> list[RowLength]:
        """Count, and remember."""
        found = super().count(rows)
        self.lengths = [*getattr(self, "lengths", []), *found]
        return found


def ask_llamafactory(models: Path, orders: list[dict[str, Any]]) -> list[list[list[int]]]:
    """Return LLaMA-Factory's lengths for every order."""
    script = Path(__file__).with_name("tokenize_datasets.py")
    done = subprocess.run(
        [sys.executable, str(script), str(models)],
        input="\n".join(map(json.dumps, orders)), capture_output=True, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[[")]


def list_orders(folder: Path) -> list[tuple[Sample, dict[str, Any]]]:
    """Return what to tokenize: text datasets by both tokenizers, pictures by the one that has a processor."""
    orders = []
    for sample in SAMPLES:
        place = str(sample.write(folder))
        for model, templates in TEMPLATES.items():
            for template in templates if model == "qwen" or not sample.pictures else []:
                if sample.only and template not in sample.only:
                    continue
                order = {"model": model, "template": template, "folder": place, "info": sample.info}
                orders.append((sample, order | {"stage": sample.stage}))
    return orders


@pytest.mark.real
@pytest.mark.timeout(600)
def test_every_row_is_as_long_as_llamafactory_makes_it(tmp_path: Path) -> None:
    models, data = tmp_path / "models", tmp_path / "data"
    data.mkdir()
    orders = list_orders(data)
    truths = ask_llamafactory(models, [order for _, order in orders])
    wrong = {}
    for (sample, order), truth in zip(orders, truths, strict=True):
        counter = Recording(models / order["model"], order["template"], order["stage"])
        found = profile(
            Path(order["folder"]),
            order["info"],
            counter,
            row_count=len(sample.rows()),
            on_progress=lambda *_: None,
        )
        made = [[length.total, length.label] for length in counter.lengths]
        if get_template(order["template"])["efficient_eos"]:
            # These learn their end token once more at each question but the first, which is not told apart.
            truth = [[total, length.label] for (total, _), length in zip(truth, counter.lengths, strict=True)]
        name = f"{sample.name} by {order['template']}"
        if made != truth:
            wrong[name] = (made, truth)
        assert found["inexact"] == 0, name
        assert found["tokens"]["mean"] == round(sum(row[0] for row in truth) / len(truth), 2), name
        assert found["tokens"]["max"] == found["tokens"]["quantiles"][-1][1] == max(row[0] for row in truth)
        assert measure_cut(found["tokens"]["bins"], 64) == (
            sum(row[0] > 64 for row in truth),
            sum(max(0, row[0] - 64) for row in truth),
        ), name
    assert wrong == {}
