"""A vision tower that attends to all windows at once computes what it computes window by window.

torch's kernel for sequences of different lengths runs on GPUs alone, so a plain attention of the same signature
stands in for it here; `benchmarks/vision_windows.py` compares the kernel itself on a GPU.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from worker import attention
from worker.demonstration.base_model import build_model, build_tokenizer

GRID = torch.tensor([[1, 12, 20], [1, 10, 14]])
"""Two pictures that windows of 8 patches do not divide."""


def fake_varlen_attn(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    starts: torch.Tensor,
    key_starts: torch.Tensor,
    longest: int,
    key_longest: int,
    *,
    scale: float | None,
) -> torch.Tensor:
    """Attend within each sequence of packed (tokens, heads, width), as torch's kernel does."""
    assert torch.equal(starts, key_starts)
    assert longest == key_longest == int(starts.diff().max())
    assert query.dtype in (torch.float16, torch.bfloat16)
    parts = []
    for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        scores = torch.einsum("qhd,khd->hqk", query[begin:end].float(), key[begin:end].float())
        weights = torch.softmax(scores * (scale or 1.0), dim=-1)
        parts.append(torch.einsum("hqk,khd->qhd", weights, value[begin:end].float()))
    return torch.cat(parts).to(query.dtype)


@pytest.fixture
def tower() -> Any:
    """The demonstration's tower with windows in all layers but the last."""
    torch.manual_seed(0)
    model = build_model(build_tokenizer(["现在的天气怎么样？"])).eval()
    visual = model.model.visual
    visual.fullatt_block_indexes = [len(visual.blocks) - 1]
    return visual


@pytest.fixture
def on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(attention, "varlen_attn", fake_varlen_attn)


def run(tower: Any, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what the tower sees in two pictures, and the gradient of its first matrix."""
    torch.manual_seed(1)
    pixels = torch.rand(int(GRID.prod(dim=1).sum()), 3 * 2 * 14 * 14).to(dtype)
    tower.to(dtype).zero_grad()
    seen = tower(pixels, grid_thw=GRID)
    seen = seen if isinstance(seen, torch.Tensor) else seen.pooler_output
    seen.float().square().sum().backward()
    return seen.detach().float(), tower.blocks[0].attn.qkv.weight.grad.float().clone()


@pytest.mark.usefixtures("on_a_gpu")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_all_windows_at_once_are_the_windows_one_by_one(tower: Any, dtype: torch.dtype) -> None:
    expected, expected_gradient = run(tower, dtype)
    assert attention.join_windows(tower) == len(tower.blocks)
    assert tower.config._attn_implementation == attention.NAME
    seen, gradient = run(tower, dtype)
    near = 0.03 if dtype == torch.bfloat16 else 1e-5
    assert (seen - expected).norm() < near * expected.norm()
    assert (gradient - expected_gradient).norm() < near * expected_gradient.norm()


def test_windows_matter(tower: Any) -> None:
    """The comparison above would pass for a tower without windows, whatever they were."""
    expected, _ = run(tower, torch.float32)
    tower.fullatt_block_indexes = list(range(len(tower.blocks)))
    whole, _ = run(tower, torch.float32)
    assert (whole - expected).norm() > 0.01 * expected.norm()


@pytest.mark.usefixtures("on_a_gpu")
def test_nothing_of_it_is_saved_with_a_model(tower: Any) -> None:
    attention.join_windows(tower)
    assert attention.NAME not in tower.config.to_json_string()


def test_other_attention_and_other_devices_are_left_alone(
    tower: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert attention.join_windows(tower) == 0  # no GPU here
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 0))
    assert attention.join_windows(tower) == 0
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    tower.config._attn_implementation = "eager"
    assert attention.join_windows(tower) == 0
    assert tower.config._attn_implementation == "eager"
