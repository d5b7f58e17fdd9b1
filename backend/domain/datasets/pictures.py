"""How many tokens a picture becomes: LLaMA-Factory scales it, then Qwen's processor cuts it into squares."""

from __future__ import annotations

import math
from dataclasses import dataclass

MOST_PIXELS, LEAST_PIXELS = 768 * 768, 32 * 32
"""LLaMA-Factory's `image_max_pixels` and `image_min_pixels` where a run says nothing else."""
_SHORTEST_SIDE, _STEEPEST, _STEEP = 28, 200, 180


@dataclass(frozen=True)
class PictureRule:
    """Qwen2-VL's processor: sides of a square in pixels, squares merged a side, and the pixels it scales into."""

    patch: int = 14
    merge: int = 2
    least_pixels: int = 56 * 56
    most_pixels: int = 28 * 28 * 1280

    def count(self, width: int, height: int) -> int:
        """Return the tokens of a picture of this size in pixels."""
        width, height = _scale(width, height)
        step = self.patch * self.merge
        rows, columns = round(height / step), round(width / step)
        if rows * columns * step * step > self.most_pixels:
            factor = math.sqrt(height * width / self.most_pixels)
            rows = max(1, math.floor(height / factor / step))
            columns = max(1, math.floor(width / factor / step))
        elif rows * columns * step * step < self.least_pixels:
            factor = math.sqrt(self.least_pixels / (height * width))
            rows, columns = math.ceil(height * factor / step), math.ceil(width * factor / step)
        return rows * columns


def _scale(width: int, height: int) -> tuple[int, int]:
    """Return the size that LLaMA-Factory hands to the processor."""
    if width * height > MOST_PIXELS:
        factor = math.sqrt(MOST_PIXELS / (width * height))
        width, height = int(width * factor), int(height * factor)
    if 0 < width * height < LEAST_PIXELS:
        factor = math.sqrt(LEAST_PIXELS / (width * height))
        width, height = int(width * factor), int(height * factor)
    if min(width, height) < _SHORTEST_SIDE:
        width, height = max(width, _SHORTEST_SIDE), max(height, _SHORTEST_SIDE)
    if width / height > _STEEPEST:
        width = height * _STEEP
    if height / width > _STEEPEST:
        height = width * _STEEP
    return width, height
