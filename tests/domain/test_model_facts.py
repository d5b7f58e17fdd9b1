"""Shapes out of config.json: exact where it is published, a guess of the right size where it is not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.domain.model_facts import parse_model_facts
from backend.domain.published_models import find_published_config


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Qwen2.5-0.5B-Instruct", 494_032_768),
        ("qwen2.5-1.5b", 1_543_714_304),
        ("qwen2.5-3b", 3_085_938_688),
        ("Qwen/Qwen2.5-7B", 7_615_616_512),
        ("qwen2.5-14b", 14_770_033_664),
        ("llama3-8b", 8_030_261_248),
        ("meta-llama/Llama-3.1-8B-Instruct", 8_030_261_248),
        ("Llama-3.2-1B", 1_235_814_400),
        ("qwen2.5-vl-3b", 3_754_622_976),
        ("Qwen2.5-VL-7B-Instruct", 8_292_166_656),
    ],
)
def test_published_shapes_have_the_published_number_of_parameters(name: str, parameters: int) -> None:
    config = find_published_config(name)
    assert config is not None
    facts = parse_model_facts(config)
    assert facts.parameters == parameters
    assert facts.known


def test_names_that_only_begin_alike_are_not_mistaken() -> None:
    assert find_published_config("qwen2.5-72b") != find_published_config("qwen2.5-7b")
    assert find_published_config("llama3-80b") is None
    assert find_published_config("my own model") is None


def test_the_decoder_is_found_under_text_config_and_at_the_top() -> None:
    flat = find_published_config("qwen2.5-vl-7b")
    assert flat is not None
    vision = flat["vision_config"]
    text = {key: value for key, value in flat.items() if key not in ("vision_config", "model_type")}
    nested = {"model_type": "qwen2_5_vl", "vision_config": vision, "text_config": text | {"model_type": "x"}}
    nested["text_config"]["model_type"] = "qwen2_5_vl_text"
    assert parse_model_facts(nested).text == parse_model_facts(flat).text
    assert parse_model_facts(nested).vision == parse_model_facts(flat).vision


def test_experts_are_held_whole_and_met_in_part() -> None:
    config = {
        "model_type": "qwen3_moe",
        "hidden_size": 2048,
        "num_hidden_layers": 48,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "head_dim": 128,
        "intermediate_size": 6144,
        "moe_intermediate_size": 768,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "vocab_size": 151_936,
    }
    text = parse_model_facts(config).text
    assert 30.0e9 < text.parameters < 31.0e9
    active = text.layers * text.active_layer_parameters
    assert 2.5e9 < active < 3.5e9


@settings(deadline=None)
@given(st.integers(1_000_000, 500_000_000_000))
def test_an_unknown_architecture_is_guessed_near_its_size(parameters: int) -> None:
    facts = parse_model_facts({"model_type": "brand_new"}, parameters=parameters)
    assert not facts.known
    assert facts.parameters == parameters
    assert 0.5 < facts.text.parameters / parameters < 2.0


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**20) | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_KEYS = ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "text_config", "head_dim"]
_KEYS += [
    "vision_config",
    "num_experts",
    "fullatt_block_indexes",
    "tie_word_embeddings",
    "model_type",
    "depth",
]


# A busy machine is no fault of the code.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(_KEYS), _JSON))
def test_no_config_is_a_fault(config: dict[str, Any]) -> None:
    facts = parse_model_facts(config)
    assert facts.parameters > 0
    assert facts.text.layers > 0
