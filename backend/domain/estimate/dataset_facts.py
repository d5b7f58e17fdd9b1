"""What the estimator knows of a dataset: how long its examples are and how large their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

_GUESSED_TOKENS = 512.0
_GUESSED_PIXELS = (1280, 720)
SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9998, 1.0)
"""Of so many of its rows a counted dataset says how long they are at most; close where the longest decide."""
Points = tuple[tuple[float, float], ...]
"""(share of the examples, tokens that they do not exceed), both rising."""


@dataclass(frozen=True)
class DatasetFacts:
    """Lengths in tokens of the tokenizer the dataset was profiled with, sizes in pixels.

    `mean_tokens`, `median_tokens`, `p95_tokens`, `max_tokens` are of a whole example: prompt, answer, template
    and the tokens its pictures become. `label_tokens` of that is the answer, `picture_tokens` the pictures'.
    `pictures` is how many pictures an example has on average. `known` is false where the lengths were guessed.
    `quantiles` are there where every length was counted with the model's tokenizer.
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
    quantiles: Points = ()

    @classmethod
    def parse(cls, example_count: int, facts: dict[str, Any]) -> DatasetFacts:
        """Read a dataset's `tuneforge.json`; what is missing or no number is guessed.

        Read are `token_stats`: `mean`, `p50`, `p95`, `max`, `label_mean`, `image_tokens_mean` (tokens), `quantiles`
        (pairs of a share and tokens), and `picture_stats`: `per_example` (how many), `width_mean`, `height_mean`
        (pixels). A dataset whose `modalities` hold `image` and that has no `picture_stats` is taken to have one picture
        an example.
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
            quantiles=_take_points(tokens.get("quantiles")),
        )

    def lengthen(self, tokens: float) -> DatasetFacts:
        """Return the dataset with pictures that are so many tokens more (or, below 0, fewer) an example."""

        def add(length: float) -> float:
            return max(1.0, length + tokens)

        return replace(
            self,
            mean_tokens=add(self.mean_tokens),
            median_tokens=add(self.median_tokens),
            p95_tokens=add(self.p95_tokens),
            max_tokens=add(self.max_tokens),
            picture_tokens=max(0.0, self.picture_tokens + tokens),
            quantiles=tuple((share, add(length)) for share, length in self.quantiles),
        )

    def find_length(self, share: float) -> float:
        """Return the length that `share` of the examples do not exceed, straight between the known points."""
        for (low_share, low), (high_share, high) in pairwise(self._points):
            if share <= high_share:
                return low + (high - low) * (share - low_share) / (high_share - low_share)
        return self._points[-1][1]

    def find_mean(self, cutoff: float) -> float:
        """Return the mean length of the examples once each is cut at `cutoff` tokens."""
        mean = min(self.mean_tokens, cutoff)
        is_cut = bool(self.quantiles) and self.quantiles[-1][1] > cutoff
        return min(mean, self._integrate_cut(1, cutoff)) if is_cut else mean

    def find_longest(self, count: int, cutoff: float) -> float:
        """Return how long the longest of `count` examples drawn by lot is on average, each cut at `cutoff` tokens."""
        mean = self.find_mean(cutoff)
        if not self.quantiles:
            return min(cutoff, max(mean, self.find_length(count / (count + 1))))
        return max(mean, self._integrate_cut(count, cutoff))

    def _integrate_cut(self, count: int, cutoff: float) -> float:
        """Remembered, as a recommendation asks for the same few a hundred times."""
        if (count, cutoff) not in self._integrated:
            self._integrated[count, cutoff] = _integrate(_cut(self.quantiles, cutoff), count)
        return self._integrated[count, cutoff]

    @cached_property
    def _integrated(self) -> dict[tuple[int, float], float]:
        return {}

    @cached_property
    def _points(self) -> Points:
        if self.quantiles:
            return self.quantiles
        shortest = max(1.0, min(2 * self.median_tokens - self.p95_tokens, self.median_tokens))
        return (
            (0.0, shortest),
            (0.5, self.median_tokens),
            (0.95, self.p95_tokens),
            (1.0, self.max_tokens),
        )


def _cut(points: Points, cutoff: float) -> Points:
    """Return the points of the same examples cut at `cutoff` tokens."""
    kept: list[tuple[float, float]] = [points[0]] if points[0][1] <= cutoff else [(0.0, cutoff)]
    for (low_share, low), (high_share, high) in pairwise(points):
        if high <= cutoff:
            kept.append((high_share, high))
        else:
            if low < cutoff:
                kept.append((low_share + (high_share - low_share) * (cutoff - low) / (high - low), cutoff))
            return (*kept, (1.0, cutoff))
    return tuple(kept)


def _integrate(points: Points, count: int) -> float:
    """Return the mean of the longest of `count` lengths drawn by lot: the integral of length × share^count."""
    total, ratio = 0.0, count / (count + 1)
    for (low_share, low), (high_share, high) in pairwise(points):
        if high_share > low_share:
            slope = (high - low) / (high_share - low_share)
            below, above = low_share**count, high_share**count
            base = low - slope * low_share
            total += base * (above - below) + slope * ratio * (above * high_share - below * low_share)
    return total


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
        quantiles=_mix(datasets, weights) if any(dataset.quantiles for dataset in datasets) else (),
    )


def _mix(datasets: Sequence[DatasetFacts], weights: Sequence[int]) -> Points:
    """Return the quantiles of all examples together: each dataset is taken as a hundred lengths of equal weight."""
    lengths = sorted(
        (dataset.find_length((number + 0.5) / 100), weight)
        for dataset, weight in zip(datasets, weights, strict=True)
        for number in range(100)
    )
    wanted, total, reached = list(SHARES[1:-1]), 100 * sum(weights), 0
    points = [(0.0, min(dataset.find_length(0.0) for dataset in datasets))]
    for length, weight in lengths:
        reached += weight
        while wanted and reached >= wanted[0] * total:
            points.append((wanted.pop(0), length))
    return (*points, (1.0, max(dataset.find_length(1.0) for dataset in datasets)))


def _take_points(value: Any) -> Points:
    """Return quantiles if they are such: both numbers rise, the shares from 0 to 1."""
    try:
        points = tuple((float(share), float(length)) for share, length in value)
    except (TypeError, ValueError):
        return ()
    whole = len(points) > 1 and points[0][0] == 0.0 and points[-1][0] == 1.0 and 0 < points[-1][1] < 1e9
    rises = all(low[0] < high[0] and 0 <= low[1] <= high[1] for low, high in pairwise(points))
    return points if whole and rises else ()


def _take_mapping(facts: dict[str, Any], name: str) -> dict[str, Any]:
    value = facts.get(name)
    return value if isinstance(value, dict) else {}


def _take(facts: dict[str, Any], name: str) -> float | None:
    value = facts.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9:
        return float(value)
    return None
