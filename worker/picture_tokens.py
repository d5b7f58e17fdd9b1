"""Has vision models predict with the picture's rows and columns in the positions, as they were trained.

On transformers 5 such models (Qwen2-VL, Qwen2.5-VL, Qwen3-VL) find a picture's tokens by `mm_token_type_ids`.
LLaMA-Factory 0.9.5 gives them in training, but when it predicts with `generate` its collator has no model and leaves
them out, and the picture is numbered as if it were text: answers get worse, and nothing says so.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

import torch
from transformers import GenerationMixin


def give_picture_tokens_to_generate() -> None:
    """Have `generate` be told which tokens are a picture's or a film's, where the model asks and nobody said."""
    original = GenerationMixin.generate

    @functools.wraps(original)
    def generate(self: Any, inputs: torch.Tensor | None = None, *args: Any, **kwargs: Any) -> Any:
        tokens = inputs if inputs is not None else kwargs.get("input_ids")
        if tokens is not None and _wants_picture_tokens(self, kwargs):
            kwargs["mm_token_type_ids"] = build_token_types(tokens, self.config)
        return original(self, inputs, *args, **kwargs)

    GenerationMixin.generate = generate


def _wants_picture_tokens(model: Any, given: dict[str, Any]) -> bool:
    has_grid = any(given.get(name) is not None for name in ("image_grid_thw", "video_grid_thw"))
    asks = "mm_token_type_ids" in inspect.signature(type(model).forward).parameters
    return has_grid and asks and given.get("mm_token_type_ids") is None


def build_token_types(tokens: torch.Tensor, config: Any) -> torch.Tensor:
    """Return for each token of (batch, length) 1 where it is a picture's, 2 where a film's, else 0."""
    types = torch.zeros_like(tokens)
    for name, kind in (("image_token_id", 1), ("video_token_id", 2)):
        token_id = getattr(config, name, None)
        if token_id is not None:
            types[tokens == token_id] = kind
    return types
