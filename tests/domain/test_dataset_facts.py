"""What the estimator makes of lengths that were counted: against drawing rows by lot, thousands of times."""

from __future__ import annotations

import math
import random
from statistics import fmean
from typing import Any

import pytest

from backend.domain.datasets.pictures import MOST_PIXELS, PictureRule
from backend.domain.datasets.statistics import Lengths, measure_cut
from backend.domain.estimate.batch import fit_pictures
from backend.domain.estimate.dataset_facts import SHARES, DatasetFacts, combine_datasets
from backend.domain.estimate.run_settings import parse_run_settings
from backend.domain.gpu_kinds import describe_gpu_kind
from tests.domain.estimator_cases import build_model

DRAW = random.Random(5)
LENGTHS = sorted(int(DRAW.lognormvariate(6, 0.9)) + 20 for _ in range(20_000))


def count(values: list[int]) -> Lengths:
    lengths = Lengths()
    for value in values:
        lengths.add(value, value // 4, 0)
    return lengths


def build_facts(values: list[int]) -> DatasetFacts:
    lengths = count(values)
    points = [
        list(point) for point in zip(SHARES, [*lengths.find_all(SHARES[:-1]), lengths.longest], strict=True)
    ]
    return DatasetFacts.parse(
        len(values), {"token_stats": lengths.to_facts(estimated=False) | {"quantiles": points}}
    )


@pytest.mark.parametrize("cutoff", [300, 1000, 4096, 100_000])
@pytest.mark.parametrize("batch", [1, 2, 8, 32])
def test_the_longest_of_a_batch_is_what_drawing_rows_gives(batch: int, cutoff: int) -> None:
    cut = [min(value, cutoff) for value in LENGTHS]
    drawn = fmean(max(DRAW.choices(cut, k=batch)) for _ in range(20_000))
    facts = build_facts(LENGTHS)
    assert facts.find_longest(batch, cutoff) == pytest.approx(drawn, rel=0.04)
    assert facts.find_mean(cutoff) == pytest.approx(fmean(cut), rel=0.02)


def _fit(data: DatasetFacts, most_pixels: int) -> DatasetFacts:
    run = parse_run_settings(
        {"cutoff_len": 8192, "image_max_pixels": most_pixels}, model=build_model("qwen2.5-vl-7b"),
        gpu=describe_gpu_kind("h200"), gpu_count=1, stage="sft", finetuning_type="lora",
    )  # fmt: skip
    return fit_pictures(run, data)


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0, 2.0])
def test_pictures_are_as_many_tokens_as_the_run_lets_them_be(share: float) -> None:
    most, text = int(MOST_PIXELS * share), 100
    counted = PictureRule().count(1928, 1208)
    stats = {
        "mean": counted + text,
        "image_tokens_mean": counted,
        "quantiles": [[0, counted], [1, counted + 200]],
    }
    pictures = {"per_example": 1, "width_mean": 1928, "height_mean": 1208}
    data = DatasetFacts.parse(100, {"token_stats": stats, "picture_stats": pictures})
    factor = math.sqrt(most / (1928 * 1208))
    rows, columns = round(int(1208 * factor) / 28), round(int(1928 * factor) / 28)
    fitted = _fit(data, most)
    assert fitted.picture_tokens == pytest.approx(rows * columns, rel=0.01)
    assert fitted.mean_tokens == pytest.approx(rows * columns + text, rel=0.01)
    assert fitted.find_length(1.0) == pytest.approx(rows * columns + 200, rel=0.01)


def test_pictures_that_the_processor_scales_down_stay_so() -> None:
    stats = {"mean": 60, "image_tokens_mean": 12}
    pictures = {"per_example": 1, "width_mean": 1928, "height_mean": 1208}
    data = DatasetFacts.parse(100, {"token_stats": stats, "picture_stats": pictures})
    assert _fit(data, MOST_PIXELS // 4) == _fit(data, MOST_PIXELS * 4) == data


def test_two_datasets_together_are_as_all_their_rows_are() -> None:
    short, long = LENGTHS[:5000], [value * 3 for value in LENGTHS[5000:8000]]
    mixed = combine_datasets([build_facts(short), build_facts(long)])
    together = build_facts(short + long)
    for share in SHARES[1:]:
        assert mixed.find_length(share) == pytest.approx(together.find_length(share), rel=0.05), share
    assert mixed.find_longest(8, 2048) == pytest.approx(together.find_longest(8, 2048), rel=0.03)


def test_a_counted_dataset_goes_together_with_one_that_was_not() -> None:
    plain = DatasetFacts.parse(1000, {"token_stats": {"mean": 5000, "p50": 5000, "p95": 6000, "max": 7000}})
    mixed = combine_datasets([build_facts(LENGTHS), plain])
    assert mixed.find_length(1.0) == max(7000, LENGTHS[-1])
    assert mixed.find_length(0.2) == pytest.approx(build_facts(LENGTHS).find_length(0.21), rel=0.05)


@pytest.mark.parametrize(
    "quantiles",
    [None, "x", 5, [], [[0, 1]], [[0, 5], [1, 2]], [[0.2, 1], [1, 2]], [[0, 1], [0, 2], [1, 3]], [[0, 1], ["a", 2]],
     [[0, 0], [1, 0]], [[0, 1], [1, float("nan")]], [[0, -5], [1, 9]], [[0, 1, 2], [1, 2, 3]]],
)  # fmt: skip
def test_quantiles_that_are_none_are_passed_over(quantiles: Any) -> None:
    facts = DatasetFacts.parse(10, {"token_stats": {"mean": 100, "quantiles": quantiles}})
    assert facts.quantiles == ()
    assert facts.find_mean(50) == 50


@pytest.mark.parametrize("cutoff", [1, 64, 100, 512, 700, 3000, 1 << 20])
def test_what_is_cut_follows_from_the_bins(cutoff: int) -> None:
    lengths = count(LENGTHS)
    rows, tokens = measure_cut(lengths.list_bins(), cutoff)
    true_rows, true_tokens = lengths.measure_cut(cutoff)
    if cutoff & (cutoff - 1) == 0 or cutoff < 128:
        assert (rows, tokens) == (true_rows, true_tokens)
    assert rows == pytest.approx(true_rows, rel=0.01)
    assert tokens == pytest.approx(true_tokens, rel=0.01)


def test_rows_beyond_all_bins_are_cut_by_their_whole_length() -> None:
    lengths = count([100, 300_000])
    assert lengths.measure_cut(1000) == (1, 299_000) == measure_cut(lengths.list_bins(), 1000)
