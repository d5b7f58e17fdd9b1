"""Published shapes of common models, for when only a model's name is known and not its config.json."""

from __future__ import annotations

import re
from typing import Any

# Rows of config.json as published by each model's makers: hidden_size, intermediate_size, num_hidden_layers,
# num_attention_heads, num_key_value_heads, head_dim, vocab_size, tie_word_embeddings.
_TEXT: dict[str, tuple[str, tuple[int, int, int, int, int, int, int, bool]]] = {
    "qwen2.5-0.5b": ("qwen2", (896, 4864, 24, 14, 2, 64, 151936, True)),
    "qwen2.5-1.5b": ("qwen2", (1536, 8960, 28, 12, 2, 128, 151936, True)),
    "qwen2.5-3b": ("qwen2", (2048, 11008, 36, 16, 2, 128, 151936, True)),
    "qwen2.5-7b": ("qwen2", (3584, 18944, 28, 28, 4, 128, 152064, False)),
    "qwen2.5-14b": ("qwen2", (5120, 13824, 48, 40, 8, 128, 152064, False)),
    "qwen2.5-32b": ("qwen2", (5120, 27648, 64, 40, 8, 128, 152064, False)),
    "qwen2.5-72b": ("qwen2", (8192, 29568, 80, 64, 8, 128, 152064, False)),
    "qwen3-0.6b": ("qwen3", (1024, 3072, 28, 16, 8, 128, 151936, True)),
    "qwen3-1.7b": ("qwen3", (2048, 6144, 28, 16, 8, 128, 151936, True)),
    "qwen3-4b": ("qwen3", (2560, 9728, 36, 32, 8, 128, 151936, True)),
    "qwen3-8b": ("qwen3", (4096, 12288, 36, 32, 8, 128, 151936, False)),
    "qwen3-14b": ("qwen3", (5120, 17408, 40, 40, 8, 128, 151936, False)),
    "qwen3-32b": ("qwen3", (5120, 25600, 64, 64, 8, 128, 151936, False)),
    "llama3.2-1b": ("llama", (2048, 8192, 16, 32, 8, 64, 128256, True)),
    "llama3.2-3b": ("llama", (3072, 8192, 28, 24, 8, 128, 128256, True)),
    "llama3-8b": ("llama", (4096, 14336, 32, 32, 8, 128, 128256, False)),
    "llama3.1-8b": ("llama", (4096, 14336, 32, 32, 8, 128, 128256, False)),
    "llama3-70b": ("llama", (8192, 28672, 80, 64, 8, 128, 128256, False)),
    "llama3.1-70b": ("llama", (8192, 28672, 80, 64, 8, 128, 128256, False)),
    "mistral-7b": ("mistral", (4096, 14336, 32, 32, 8, 128, 32768, False)),
    "qwen2-vl-2b": ("qwen2_vl", (1536, 8960, 28, 12, 2, 128, 151936, True)),
    "qwen2-vl-7b": ("qwen2_vl", (3584, 18944, 28, 28, 4, 128, 152064, False)),
    "qwen2.5-vl-3b": ("qwen2_5_vl", (2048, 11008, 36, 16, 2, 128, 151936, True)),
    "qwen2.5-vl-7b": ("qwen2_5_vl", (3584, 18944, 28, 28, 4, 128, 152064, False)),
    "qwen2.5-vl-32b": ("qwen2_5_vl", (5120, 27648, 64, 40, 8, 128, 152064, False)),
    "qwen2.5-vl-72b": ("qwen2_5_vl", (8192, 29568, 80, 64, 8, 128, 152064, False)),
}

_KEYS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "tie_word_embeddings",
)


def find_published_config(name: str) -> dict[str, Any] | None:
    """Return the facts of config.json of the model that `name` names (`Qwen2.5-VL-7B-Instruct`), or None."""
    plain = name.lower().rsplit("/", 1)[-1].replace("_", "-")
    plain = re.sub(r"^(?:meta-)?llama-?(\d)", r"llama\1", plain)
    for known in sorted(_TEXT, key=len, reverse=True):
        if re.match(re.escape(known) + r"(?![0-9.])", plain):
            return _build_config(known)
    return None


def _build_config(name: str) -> dict[str, Any]:
    model_type, row = _TEXT[name]
    config: dict[str, Any] = {"model_type": model_type, **dict(zip(_KEYS, row, strict=True))}
    if model_type == "qwen2_5_vl":
        config["vision_config"] = {
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": 3420 if name.endswith(("-3b", "-7b")) else 3456,
            "num_heads": 16,
            "patch_size": 14,
            "temporal_patch_size": 2,
            "spatial_merge_size": 2,
            "window_size": 112,
            "fullatt_block_indexes": [7, 15, 23, 31],
            "out_hidden_size": row[0],
        }
    elif model_type == "qwen2_vl":
        config["vision_config"] = {
            "depth": 32,
            "embed_dim": 1280,
            "hidden_size": row[0],
            "mlp_ratio": 4,
            "num_heads": 16,
            "patch_size": 14,
            "temporal_patch_size": 2,
            "spatial_merge_size": 2,
        }
    return config
