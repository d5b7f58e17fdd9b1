"""Chooses among torch's own attention kernels those that keep a GPU busy; what is computed stays the same.

On Hopper cards torch prefers cuDNN's attention, which is built anew for every length of batch that comes and takes
its host twice as long to launch. And without the package flash-attn, transformers walks the windows of a picture in a
loop: two pictures in Qwen2.5-VL-7B launch 3,000 attentions forward and as many backward, for which the GPU waits.
torch has FlashAttention for sequences of different lengths built in. Measured in docs/decisions/0018.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch.nn.attention.varlen import varlen_attn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

NAME = "torch_varlen_flash"
"""transformers gives all windows at once to an implementation whose name holds `flash`."""

_LEAST_CAPABILITY = (8, 0)
_WIDEST_HEAD = 256


def prepare_attention(model: Any) -> None:
    """Make the choice for a run on a GPU; on a CPU there is none."""
    if torch.cuda.is_available():
        torch.backends.cuda.enable_cudnn_sdp(False)
        join_windows(model)


def join_windows(model: Any) -> int:
    """Let the vision towers of `model` attend to all windows at once; return how many layers do from now on.

    Layers that have another attention than sdpa are left as they are, and so is everything on a device that torch's
    FlashAttention does not know.
    """
    if not torch.cuda.is_available() or torch.cuda.get_device_capability() < _LEAST_CAPABILITY:
        return 0
    ALL_ATTENTION_FUNCTIONS.register(NAME, attend_to_windows)
    layers = [module for module in model.modules() if _walks_windows(module)]
    for layer in layers:
        layer.config._attn_implementation = NAME
    return len(layers)


def _walks_windows(module: Any) -> bool:
    kind = type(module)
    if "Vision" not in kind.__name__ or "cu_seqlens" not in inspect.signature(kind.forward).parameters:
        return False
    config, width = getattr(module, "config", None), getattr(module, "head_dim", 0)
    return (
        getattr(config, "_attn_implementation", None) in ("sdpa", NAME)
        and 0 < width <= _WIDEST_HEAD
        and width % 8 == 0
    )


def attend_to_windows(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None,
    cu_seq_lens_q: torch.Tensor,
    max_length_q: torch.Tensor,
    **_others: Any,
) -> tuple[torch.Tensor, None]:
    """Attend within windows: tensors of (1, heads, patches, width), windows from `cu_seq_lens_q`[n] to [n + 1].

    Returns (1, patches, heads, width). A tower that is trained in float32 has no such kernel and takes the loop.
    """
    if query.dtype not in (torch.float16, torch.bfloat16):
        lengths = cu_seq_lens_q.diff().tolist()
        windows = zip(*(tensor.split(lengths, dim=2) for tensor in (query, key, value)), strict=True)
        parts = [torch.nn.functional.scaled_dot_product_attention(*each, scale=scaling) for each in windows]
        return torch.cat(parts, dim=2).transpose(1, 2), None
    packed = (tensor.squeeze(0).transpose(0, 1) for tensor in (query, key, value))
    starts, longest = cu_seq_lens_q.to(query.device, torch.int32), int(max_length_q)
    attended = varlen_attn(*packed, starts, starts, longest, longest, scale=scaling)
    return attended.unsqueeze(0), None
