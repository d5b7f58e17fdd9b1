"""What the estimator knows of a dataset: how long its examples are and how large their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

_GUESSED_TOKENS = 512.0
_GUESSED_PIXELS = (1280, 720)


@dataclass(frozen=True)
class DatasetFacts:
    """Lengths in tokens of the tokenizer the dataset was profiled with, sizes in pixels.

    `mean_tokens`, `median_tokens`, `p95_tokens`, `max_tokens` are of a whole example: prompt, answer, template
    and the tokens its pictures become. `label_tokens` of that is the answer, `picture_tokens` the pictures'.
    `pictures` is how many pictures an example has on average. `known` is false where the lengths were guessed.
    """

    examples: int
    mean_tokens: float
    median_tokens: float
    p95_tokens: float
    max_tokens: float
    label_tokens: float
    picture_tokens: float
    pictures: float
    picture_width: int
    picture_height: int
    known: bool

    @classmethod
    def parse(cls, example_count: int, facts: dict[str, Any]) -> DatasetFacts:
        """Read a dataset's `tuneforge.json`; what is missing or no number is guessed.

        Read are `token_stats`: `mean`, `p50`, `p95`, `max`, `label_mean`, `image_tokens_mean` (tokens), and
        `picture_stats`: `per_example` (how many), `width_mean`, `height_mean` (pixels). A dataset whose
        `modalities` hold `image` and that has no `picture_stats` is taken to have one picture an example.
        """
        tokens = _take_mapping(facts, "token_stats")
        pictures = _take_mapping(facts, "picture_stats")
        modalities = facts.get("modalities")
        has_pictures = bool(pictures) or (isinstance(modalities, list) and "image" in modalities)
        picture_tokens = _take(tokens, "image_tokens_mean")
        mean = _take(tokens, "mean")
        known = mean is not None
        mean = mean or _GUESSED_TOKENS + (picture_tokens or 0.0)
        median = _take(tokens, "p50") or mean
        p95 = max(_take(tokens, "p95") or mean * (1.0 if known else 2.0), median)
        return cls(
            examples=max(0, example_count),
            mean_tokens=mean,
            median_tokens=median,
            p95_tokens=p95,
            max_tokens=max(_take(tokens, "max") or p95, p95, mean),
            label_tokens=min(_take(tokens, "label_mean") or mean / 4, mean),
            picture_tokens=min(picture_tokens or 0.0, mean),
            pictures=_take(pictures, "per_example") or (1.0 if has_pictures else 0.0),
            picture_width=int(_take(pictures, "width_mean") or _GUESSED_PIXELS[0]),
            picture_height=int(_take(pictures, "height_mean") or _GUESSED_PIXELS[1]),
            known=known,
        )

    def find_length(self, share: float) -> float:
        """Return the length that `share` of the examples do not exceed, straight between the known points."""
        shortest = max(1.0, min(2 * self.median_tokens - self.p95_tokens, self.median_tokens))
        points = [
            (0.0, shortest),
            (0.5, self.median_tokens),
            (0.95, self.p95_tokens),
            (1.0, self.max_tokens),
        ]
        for (low_share, low), (high_share, high) in pairwise(points):
            if share <= high_share:
                return low + (high - low) * (share - low_share) / (high_share - low_share)
        return self.max_tokens


def combine_datasets(datasets: Sequence[DatasetFacts]) -> DatasetFacts:
    """Return several datasets as one: counts add up, lengths are averaged by count, the longest is the longest."""
    if not datasets:
        return DatasetFacts.parse(0, {})
    if len(datasets) == 1:
        return datasets[0]
    weights = [max(1, dataset.examples) for dataset in datasets]
    total = sum(weights)

    def average(name: str) -> float:
        return float(
            sum(getattr(one, name) * weight for one, weight in zip(datasets, weights, strict=True)) / total
        )

    return DatasetFacts(
        examples=sum(dataset.examples for dataset in datasets),
        mean_tokens=average("mean_tokens"),
        median_tokens=average("median_tokens"),
        p95_tokens=max(average("p95_tokens"), average("median_tokens")),
        max_tokens=max(dataset.max_tokens for dataset in datasets),
        label_tokens=average("label_tokens"),
        picture_tokens=average("picture_tokens"),
        pictures=average("pictures"),
        picture_width=int(average("picture_width")),
        picture_height=int(average("picture_height")),
        known=all(dataset.known for dataset in datasets),
    )


def _take_mapping(facts: dict[str, Any], name: str) -> dict[str, Any]:
    value = facts.get(name)
    return value if isinstance(value, dict) else {}


def _take(facts: dict[str, Any], name: str) -> float | None:
    value = facts.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9:
        return float(value)
    return None
