"""Qwen2.5-VL-7B's vision tower on a GPU: windows one by one, as transformers has it, against all in one call.

python -m benchmarks.vision_windows [--pictures 2] [--side 616x980]

Prints the seconds of a forward and backward pass of both in turn, their ratio, and how far outputs and gradients lie
apart, beside how far two roundings of the same tower do (bfloat16 against float32).
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import torch

from backend.domain.published_models import find_published_config
from worker.attention import NAME, join_windows

PATCH_VALUES = 3 * 2 * 14 * 14
ROUNDS = 5


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2)
    parser.add_argument("--side", default="616x980", help="rows x columns in pixels")
    options = parser.parse_args()
    rows, columns = (int(side) // 14 for side in options.side.split("x"))
    grid = torch.tensor([[1, rows, columns]] * options.pictures, device="cuda")
    torch.manual_seed(0)
    pixels = torch.randn(options.pictures * rows * columns, PATCH_VALUES, device="cuda")
    tower = build_tower()
    exact = run(tower.float(), pixels, grid)
    tower.to(torch.bfloat16)
    loop = run(tower, pixels, grid)
    loop_seconds = take_time(tower, pixels, grid)
    layers = join_windows(tower)
    joined = run(tower, pixels, grid)
    joined_seconds = take_time(tower, pixels, grid)
    measured = {
        "gpu": torch.cuda.get_device_name(0),
        "pictures": options.pictures,
        "layers": layers,
        "loop_seconds": round(loop_seconds, 4),
        "joined_seconds": round(joined_seconds, 4),
        "times_as_fast": round(loop_seconds / joined_seconds, 2),
        "joined_from_loop": compare(joined, loop),
        "loop_from_float32": compare(loop, exact),
        "joined_from_float32": compare(joined, exact),
    }
    print(json.dumps(measured))
    assert tower.config._attn_implementation == NAME


def build_tower() -> Any:
    """Return the tower with random weights."""
    from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

    facts = (find_published_config("qwen2.5-vl-7b") or {})["vision_config"]
    config = Qwen2_5_VLVisionConfig(**facts, attn_implementation="sdpa")
    with torch.device("cuda"):
        tower = Qwen2_5_VisionTransformerPretrainedModel(config)
    generator = torch.Generator("cuda").manual_seed(0)
    with torch.no_grad():
        for parameter in tower.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.02, generator=generator)
    return tower


def run(tower: Any, pixels: torch.Tensor, grid: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what the tower sees and the gradient of its first attention's matrix, in float32."""
    tower.zero_grad()
    seen = tower(pixels.to(next(tower.parameters()).dtype), grid_thw=grid)
    seen = seen if isinstance(seen, torch.Tensor) else seen.pooler_output
    seen.float().square().mean().backward()
    return seen.detach().float(), tower.blocks[0].attn.qkv.weight.grad.float().clone()


def take_time(tower: Any, pixels: torch.Tensor, grid: torch.Tensor) -> float:
    """Return the seconds of the fastest of a few passes."""
    seconds = []
    for _ in range(ROUNDS):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        run(tower, pixels, grid)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def compare(
    one: tuple[torch.Tensor, torch.Tensor], other: tuple[torch.Tensor, torch.Tensor]
) -> dict[str, float]:
    """Return how far outputs and gradients lie apart, as shares of their size."""
    shares = [float((mine - theirs).norm() / theirs.norm()) for mine, theirs in zip(one, other, strict=True)]
    return {"output": round(shares[0], 6), "gradient": round(shares[1], 6)}


if __name__ == "__main__":
    main()
