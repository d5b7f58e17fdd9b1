"""A vision model that generates sees a picture's rows and columns, as it does in training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import GenerationMixin

from worker.demonstration.base_model import build_model, build_tokenizer
from worker.picture_tokens import build_token_types, give_picture_tokens_to_generate

GRID = (1, 4, 6)
TOKENS = GRID[1] * GRID[2] // 4


@pytest.fixture
def told_generate() -> Iterator[None]:
    """`generate` as runs have it."""
    original = GenerationMixin.generate
    give_picture_tokens_to_generate()
    yield
    GenerationMixin.generate = original


@pytest.fixture(scope="module")
def model() -> Any:
    """The demonstration's model, untrained."""
    torch.manual_seed(0)
    return build_model(build_tokenizer(["现在的天气怎么样？", "What is the weather like?"])).eval()


def build_inputs(model: Any) -> dict[str, torch.Tensor]:
    """Return a prompt with one picture of 4 × 6 patches between words."""
    config = model.config
    picture = [config.vision_start_token_id, *[config.image_token_id] * TOKENS, config.vision_end_token_id]
    ids = torch.tensor([[40, 41, *picture, 42, 43]])
    pixels = torch.rand(GRID[1] * GRID[2], 3 * 2 * 14 * 14)
    return {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": pixels,
        "image_grid_thw": torch.tensor([GRID]),
    }


@torch.no_grad()
def test_generate_numbers_a_picture_by_rows_and_columns(model: Any, told_generate: None) -> None:
    inputs = build_inputs(model)
    model.generate(**inputs, max_new_tokens=3, do_sample=False)
    types = build_token_types(inputs["input_ids"], model.config)
    assert int(types.sum()) == TOKENS
    _, expected = model.model.get_rope_index(
        inputs["input_ids"], mm_token_type_ids=types, image_grid_thw=inputs["image_grid_thw"]
    )
    # A picture takes as many positions as its longer side: what follows moves forward by the rest.
    assert int(expected) == max(GRID[1], GRID[2]) // 2 - TOKENS
    assert torch.equal(model.model.rope_deltas, expected)


@torch.no_grad()
def test_without_it_the_picture_would_be_numbered_as_text(model: Any) -> None:
    """The fault this mends; when it is gone from the engine, the mending can go too."""
    model.generate(**build_inputs(model), max_new_tokens=1, do_sample=False)
    assert int(model.model.rope_deltas) == 0


@torch.no_grad()
def test_text_alone_is_left_as_it_is(model: Any, told_generate: None) -> None:
    ids = torch.tensor([[40, 41, 42]])
    answer = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=2, do_sample=False)
    assert answer.shape[1] <= 5
