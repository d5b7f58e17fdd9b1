"""The catalogue is LLaMA-Factory's own table, and says of a model's size only what its name or its makers say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from backend.domain.arguments import list_templates
from backend.domain.model_catalogue import (
    find_catalogue_model,
    guess_modalities,
    guess_template,
    list_catalogue,
    parse_size,
    search_catalogue,
)

ROOT = Path(__file__).resolve().parents[2]


def test_the_table_is_that_of_the_installed_llamafactory() -> None:
    script = ROOT / "scripts" / "describe_models.py"
    ended = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("Qwen2.5-VL-7B-Instruct", 7_000_000_000),
        ("BLOOM-560M", 560_000_000),
        ("Mixtral-8x7B-v0.1", 56_000_000_000),
        ("Qwen3-30B-A3B-Instruct", 30_000_000_000),
        ("Qwen2.5-0.5B", 500_000_000),
        ("DeepSeek-V3-Chat", None),
        ("Yi-VL-8bit", None),
    ],
)
def test_a_size_is_read_from_a_name(name: str, size: int | None) -> None:
    assert parse_size(name) == size


def test_search_takes_every_word_and_a_modality() -> None:
    found = search_catalogue("qwen2.5 vl 7b", "image")
    assert "Qwen2.5-VL-7B-Instruct" in [model.name for model in found]
    assert all("image" in model.modalities for model in found)
    assert search_catalogue("qwen2.5-vl-7b", "audio") == []
    assert len(search_catalogue(None, None)) == len(list_catalogue())


def test_published_shapes_are_exact_and_guesses_say_so() -> None:
    known = find_catalogue_model("Qwen/Qwen2.5-VL-7B-Instruct")
    assert known is not None
    assert known.facts is not None
    assert not known.approximate
    assert known.facts.parameters == 8_292_166_656  # what its makers' weights hold
    guessed = find_catalogue_model("bigscience/bloom-560m")
    assert guessed is not None
    assert guessed.approximate
    assert guessed.size_bytes == 2 * 560_000_000


def test_a_template_is_guessed_by_name_then_by_type() -> None:
    assert guess_template("Qwen2.5-7B-Instruct", {}) == "qwen"
    assert guess_template("my-own-tune", {"model_type": "qwen2_5_vl"}) == "qwen2_vl"
    assert guess_template("my-own-tune", {"model_type": "nobody_knows"}) == "default"
    assert {
        guess_template("x", {"model_type": kind}) for kind in ("llama", "qwen3", "internvl", "phi3")
    } <= set(list_templates())


def test_modalities_follow_from_the_config() -> None:
    assert guess_modalities({"model_type": "llama"}) == ["text"]
    assert guess_modalities({"model_type": "qwen2_5_vl", "vision_config": {}}) == ["text", "image", "video"]
    assert guess_modalities({"vision_config": {}, "audio_config": {}}) == ["text", "image", "audio"]
