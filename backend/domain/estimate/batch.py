"""One forward pass in numbers: how many tokens, padded how long, how many patches of how many pictures."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from backend.domain.datasets.pictures import MOST_PIXELS
from backend.domain.estimate.dataset_facts import DatasetFacts
from backend.domain.estimate.run_settings import RunSettings
from backend.domain.model_facts import VisionShape

_PAD_MULTIPLE = 8
"""LLaMA-Factory pads a training batch to a multiple of this."""
_UNSCALED = 0.8
"""Pictures of so large a share of the tokens reckoned from their mean size were not scaled down by the processor."""


@dataclass(frozen=True)
class Batch:
    """What one device computes at once.

    `sequences` of `length` tokens each, padding included; `real_tokens` without it. `pictures` pictures of
    `patches` patches each, attended in `windows` windows a picture, read from files of `picture_pixels` pixels.
    `padded` says that an attention mask is needed; `length_spread` is how far lengths scatter, as a share.
    """

    sequences: int
    length: float
    real_tokens: float
    pictures: float
    patches: float
    windows: int
    padded: bool
    picture_pixels: float = 0.0
    length_spread: float = 0.0

    @property
    def tokens(self) -> float:
        return self.sequences * self.length

    @property
    def all_patches(self) -> float:
        return self.pictures * self.patches


def build_batches(run: RunSettings, data: DatasetFacts) -> tuple[Batch, Batch]:
    """Return the usual batch, which time goes by, and the largest that may come, which memory goes by."""
    if run.packing:
        usual = largest = float(run.cutoff_len)
        mean = float(run.cutoff_len)
    else:
        mean = data.find_mean(run.cutoff_len)
        usual = data.find_longest(run.batch, run.cutoff_len) if run.sequences > 1 else mean
        largest = min(run.cutoff_len, data.max_tokens)
    patches, windows = 0.0, 0
    if run.model.vision is not None and data.pictures > 0:
        patches, windows = measure_picture(run, data, run.model.vision)
    pictures = run.sequences * (data.pictures if patches else 0.0)
    if run.packing and patches:
        pictures *= run.cutoff_len / max(1.0, data.find_mean(run.cutoff_len))
    even = data.max_tokens <= data.median_tokens or data.find_length(0.0) >= run.cutoff_len
    pixels = float(data.picture_width * data.picture_height)
    padded = not run.packing and not (even and _pad(mean) == mean)
    spread = 0.0 if run.packing else (data.p95_tokens - data.median_tokens) / 1.645 / data.mean_tokens

    def build(length: float) -> Batch:
        padded_length, real = _pad(length), run.sequences * mean
        return Batch(
            run.sequences, padded_length, real, pictures, patches, windows, padded, pixels, max(0.0, spread)
        )

    return build(usual), build(largest)


def _pad(length: float) -> float:
    return float(math.ceil(max(1.0, length) / _PAD_MULTIPLE) * _PAD_MULTIPLE)


def measure_picture(run: RunSettings, data: DatasetFacts, vision: VisionShape) -> tuple[float, int]:
    """Return a picture's patches and windows; a profile made with the model's own processor knows best.

    The processor may scale pictures down further than LLaMA-Factory does; arguments of the run may further still.
    """
    rows, columns = scale_picture(run, data.picture_width, data.picture_height, vision)
    patches = float(rows * columns)
    if data.picture_tokens and data.pictures:
        patches = min(patches, data.picture_tokens / data.pictures * vision.merge**2)
    share = math.sqrt(patches / (rows * columns))
    return patches, count_windows(vision, math.ceil(rows * share), math.ceil(columns * share))


def fit_pictures(run: RunSettings, data: DatasetFacts) -> DatasetFacts:
    """Return the dataset with pictures as large as the run lets them be.

    Lengths are counted with LLaMA-Factory's usual `image_max_pixels`. Smaller pictures are fewer tokens; larger ones are
    more, unless the processor scales them down by itself, which shows in fewer tokens than the usual limit leaves.
    """
    vision = run.model.vision
    if vision is None or run.image_max_pixels == MOST_PIXELS or not (data.picture_tokens and data.pictures):
        return data
    counted = data.picture_tokens / data.pictures
    usual, wanted = (
        math.prod(scale_picture(one, data.picture_width, data.picture_height, vision)) / vision.merge**2
        for one in (replace(run, image_max_pixels=MOST_PIXELS), run)
    )
    if wanted <= usual:
        each = min(counted, wanted)
    else:
        each = counted * wanted / usual if counted >= _UNSCALED * usual else counted
    return data.lengthen((each - counted) * data.pictures)


def scale_picture(run: RunSettings, width: int, height: int, vision: VisionShape) -> tuple[int, int]:
    """Return a picture's rows and columns of patches.

    LLaMA-Factory scales a picture into `image_min_pixels` and `image_max_pixels`; Qwen's processor then rounds both
    sides to whole merged patches. (Towers of a fixed size are taken to do the same.)
    """
    area = max(1, width * height)
    factor = 1.0
    if area > run.image_max_pixels:
        factor = math.sqrt(run.image_max_pixels / area)
    elif area < run.image_min_pixels:
        factor = math.sqrt(run.image_min_pixels / area)
    step = vision.patch * vision.merge

    def scale(side: int) -> int:
        return max(1, round(int(side * factor) / step)) * vision.merge

    return scale(height), scale(width)


def count_windows(vision: VisionShape, rows: int, columns: int) -> int:
    """Return how many windows of `vision.window` patches a picture is cut into (1 where there are none)."""
    if not vision.window:
        return 1
    return math.ceil(rows / vision.window) * math.ceil(columns / vision.window)
