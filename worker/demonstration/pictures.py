"""Pictures of many scenes, cut into the patches that the vision tower takes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import Qwen2VLImageProcessor

from worker.demonstration.drawing import draw_scene
from worker.demonstration.scenes import Scene

_DRAWN_AT_ONCE = 250


def draw_patches(scenes: Sequence[Scene], image_processor: Qwen2VLImageProcessor) -> torch.Tensor:
    """Return the patches of the scenes' pictures, (scenes, patches of a picture, values of a patch).

    They are kept in half precision, which is finer than the 8 bits that were drawn.
    """
    pieces = []
    for start in range(0, len(scenes), _DRAWN_AT_ONCE):
        pictures = [draw_scene(scene) for scene in scenes[start : start + _DRAWN_AT_ONCE]]
        patches = image_processor(pictures, return_tensors="pt")["pixel_values"]
        pieces.append(patches.view(len(pictures), -1, patches.shape[-1]).half())
    return torch.cat(pieces)
