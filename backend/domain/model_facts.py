"""A model's shape, read from its own config.json: what memory, time and adapters are counted from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

_MAX_SIZE = 1_000_000_000
"""No width, depth or vocabulary is larger; a config that says so is not believed."""


@dataclass(frozen=True)
class TextShape:
    """A decoder: sizes in elements. `experts` is how many feed-forward blocks a layer holds, `active_experts` how
    many a token goes through (1 and 1 without a mixture of experts); `intermediate` is the width of one of them."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    key_value_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    attention_bias: bool = False
    experts: int = 1
    active_experts: int = 1
    shared_intermediate: int = 0

    @cached_property
    def query_width(self) -> int:
        return self.heads * self.head_dim

    @cached_property
    def key_value_width(self) -> int:
        return self.key_value_heads * self.head_dim

    @cached_property
    def linears(self) -> dict[str, tuple[int, int]]:
        """The matrices of a layer that every token meets, as name → (inputs, outputs)."""
        wide = self.intermediate if self.experts == 1 else self.shared_intermediate
        linears = {
            "q_proj": (self.hidden, self.query_width),
            "k_proj": (self.hidden, self.key_value_width),
            "v_proj": (self.hidden, self.key_value_width),
            "o_proj": (self.query_width, self.hidden),
        }
        if wide:
            linears |= {
                "gate_proj": (self.hidden, wide),
                "up_proj": (self.hidden, wide),
                "down_proj": (wide, self.hidden),
            }
        return linears

    @cached_property
    def expert_parameters(self) -> int:
        """Parameters of one expert (0 without a mixture of experts)."""
        return 3 * self.hidden * self.intermediate if self.experts > 1 else 0

    @cached_property
    def layer_parameters(self) -> int:
        """All parameters of one layer."""
        linear = sum(inputs * outputs for inputs, outputs in self.linears.values())
        bias = self.query_width + 2 * self.key_value_width if self.attention_bias else 0
        router = self.hidden * self.experts if self.experts > 1 else 0
        return linear + bias + router + 2 * self.hidden + self.experts * self.expert_parameters

    @cached_property
    def active_layer_parameters(self) -> int:
        """Parameters of one layer that one token is multiplied with."""
        idle = (self.experts - self.active_experts) * self.expert_parameters
        return self.layer_parameters - idle

    @property
    def embedding_parameters(self) -> int:
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        embeddings = self.embedding_parameters * (1 if self.tied else 2)
        return self.layers * self.layer_parameters + embeddings + self.hidden


@dataclass(frozen=True)
class VisionShape:
    """A vision tower: it sees patches of `patch` x `patch` pixels, of which `merge` x `merge` become one token.

    `window` is the width in patches that most layers attend within (0: every layer sees the whole picture);
    `full_attention_layers` is how many see the whole picture.
    """

    layers: int
    hidden: int
    intermediate: int
    heads: int
    patch: int
    merge: int
    output: int
    gated: bool
    window: int = 0
    full_attention_layers: int = 0
    temporal_patch: int = 2

    @cached_property
    def layer_parameters(self) -> int:
        projections = (3 if self.gated else 2) * self.hidden * self.intermediate
        return (
            4 * self.hidden * self.hidden
            + projections
            + 7 * self.hidden
            + (self.gated + 1) * self.intermediate
        )

    @property
    def merger_parameters(self) -> int:
        wide = self.hidden * self.merge**2
        return wide * wide + wide * self.output + wide + self.output + self.hidden

    @property
    def parameters(self) -> int:
        embedding = 3 * self.temporal_patch * self.patch**2 * self.hidden
        return self.layers * self.layer_parameters + self.merger_parameters + embedding


@dataclass(frozen=True)
class ModelFacts:
    """A model as the estimator sees it. `known` is false where the shape had to be guessed from its size."""

    model_type: str
    text: TextShape
    vision: VisionShape | None
    parameters: int
    known: bool


def parse_model_facts(config: dict[str, Any], parameters: int | None = None) -> ModelFacts:
    """Read the contents of a config.json; `parameters` is how many the weights really hold, where that is known.

    A vision-language model keeps its decoder under `text_config` or, as published before transformers 5, at the top.
    """
    inner = config.get("text_config")
    text_config = config | inner if isinstance(inner, dict) else config
    model_type = str(config.get("model_type", "unknown"))
    text = _parse_text(text_config, config)
    vision_config = config.get("vision_config")
    vision = _parse_vision(vision_config, text) if text and isinstance(vision_config, dict) else None
    if text is None:
        guessed = _guess_text(parameters or 7_000_000_000)
        return ModelFacts(model_type, guessed, None, parameters or guessed.parameters, known=False)
    counted = text.parameters + (vision.parameters if vision else 0)
    unread_vision = isinstance(vision_config, dict) and bool(vision_config) and vision is None
    return ModelFacts(model_type, text, vision, parameters or counted, known=not unread_vision)


def _read(config: dict[str, Any], *names: str, default: int = 0) -> int:
    for name in names:
        value = config.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _MAX_SIZE:
            return int(value)
    return default


def _parse_text(config: dict[str, Any], outer: dict[str, Any]) -> TextShape | None:
    layers = _read(config, "num_hidden_layers", "n_layer", "num_layers")
    hidden = _read(config, "hidden_size", "n_embd", "d_model")
    heads = _read(config, "num_attention_heads", "n_head")
    vocabulary = _read(config, "vocab_size", "padded_vocab_size")
    if not (layers and hidden and heads and vocabulary):
        return None
    experts = _read(config, "num_experts", "num_local_experts", "n_routed_experts", default=1)
    dense = _read(config, "intermediate_size", "ffn_hidden_size", "n_inner", default=4 * hidden)
    shared = _read(config, "shared_expert_intermediate_size")
    wide = _read(config, "moe_intermediate_size", default=dense) if experts > 1 else dense
    tied = config.get("tie_word_embeddings", outer.get("tie_word_embeddings", False))
    model_type = str(config.get("model_type", ""))
    return TextShape(
        layers=layers,
        hidden=hidden,
        intermediate=wide,
        heads=heads,
        key_value_heads=_read(config, "num_key_value_heads", "multi_query_group_num", default=heads),
        head_dim=_read(config, "head_dim", default=max(1, hidden // heads)),
        vocabulary=vocabulary,
        tied=tied is True,
        attention_bias=config.get("attention_bias") is True or model_type.startswith("qwen2"),
        experts=experts,
        active_experts=min(experts, _read(config, "num_experts_per_tok", default=1)),
        shared_intermediate=shared or wide * _read(config, "n_shared_experts"),
    )


def _parse_vision(config: dict[str, Any], text: TextShape) -> VisionShape | None:
    layers = _read(config, "depth", "num_hidden_layers")
    hidden = _read(config, "hidden_size", "embed_dim")
    if "mlp_ratio" in config and "embed_dim" in config:  # Qwen2-VL calls the decoder's width hidden_size
        hidden = _read(config, "embed_dim")
    if not layers or not hidden:
        return None
    ratio = _read(config, "mlp_ratio", default=4)
    patch = _read(config, "patch_size", "spatial_patch_size", default=14)
    full = config.get("fullatt_block_indexes")
    windowed = isinstance(full, list) and _read(config, "window_size") > 0
    return VisionShape(
        layers=layers,
        hidden=hidden,
        intermediate=_read(config, "intermediate_size", default=ratio * hidden),
        heads=_read(config, "num_heads", "num_attention_heads", default=16),
        patch=patch,
        merge=_read(config, "spatial_merge_size", default=1),
        output=_read(config, "out_hidden_size", default=text.hidden),
        gated=windowed,
        window=_read(config, "window_size") // patch if windowed else 0,
        full_attention_layers=len(full) if isinstance(full, list) and windowed else layers,
        temporal_patch=_read(config, "temporal_patch_size", default=1),
    )


def _guess_text(parameters: int) -> TextShape:
    """Return a decoder of about `parameters`, in the proportions that most have."""
    layers, hidden, vocabulary = 32, 4096, 128_000
    while parameters < 12 * layers * hidden**2 + 2 * vocabulary * hidden and hidden > 64:
        layers, hidden = max(2, round(layers * 0.92)), max(64, round(hidden * 0.92))
        vocabulary = min(vocabulary, max(1000, parameters // (8 * hidden)))
    while parameters > 1.2 * (12 * layers * hidden**2 + 2 * vocabulary * hidden):
        layers, hidden = round(layers * 1.06) + 1, round(hidden * 1.06)
    heads = max(1, hidden // 128)
    return TextShape(
        layers, hidden, round(hidden * 8 / 3), heads, heads, max(1, hidden // heads), vocabulary, False
    )
