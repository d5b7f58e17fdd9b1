"""What is said of a dataset's lengths, by what they were found, and what the estimator is given of them."""

from __future__ import annotations

from typing import Any, NamedTuple

from backend.domain.datasets.statistics import measure_cut


class LengthSource(NamedTuple):
    """On what lengths rest: `measured`, `counting` (soon measured) or `estimated`, and a sentence in two languages."""

    status: str
    detail: str
    detail_zh: str


SOURCES = {
    "measured": LengthSource(
        "measured", "Lengths are counted with this model's tokenizer.", "长度由该模型的分词器统计。"
    ),
    "counting": LengthSource(
        "counting",
        "Lengths are reckoned from the letters while this model's tokenizer counts them; the estimate follows by itself.",
        "长度暂按字数估算，正在用该模型的分词器统计，完成后自动更新。",
    ),
    "not_counted": LengthSource(
        "estimated",
        "Lengths are reckoned from the letters: nobody has counted them with this model's tokenizer yet.",
        "长度按字数估算，尚未用该模型的分词器统计。",
    ),
    "failed": LengthSource(
        "estimated",
        "Lengths are reckoned from the letters: this model's tokenizer could not be used to count. The dataset's page, "
        "under Statistics, tries again.",
        "长度按字数估算：该模型的分词器无法用于统计。可在数据集页面的“统计”中重试。",
    ),
    "model_absent": LengthSource(
        "estimated",
        "Lengths are reckoned from the letters: this model is not downloaded yet. Download it to have them counted.",
        "长度按字数估算：该模型尚未下载，下载后会用其分词器统计。",
    ),
    "tokenizer_absent": LengthSource(
        "estimated",
        "Lengths are reckoned from the letters: this model has no tokenizer.json.",
        "长度按字数估算：该模型没有 tokenizer.json。",
    ),
    "dataset_absent": LengthSource(
        "estimated",
        "Lengths are those published for this dataset, which is not downloaded yet.",
        "长度取自该数据集公开的信息，数据集尚未下载。",
    ),
}
_WORST_LAST = ("measured", "counting", "estimated")


def choose_worst(codes: list[str]) -> str:
    """Return which of several datasets' codes is said of all together."""
    return max(codes, key=lambda code: _WORST_LAST.index(SOURCES[code].status), default="measured")


def measure_result_cut(result: dict[str, Any], cutoff_len: int) -> dict[str, int]:
    """Return how many rows of the whole dataset are longer than `cutoff_len`, and by how many tokens in all."""
    rows, tokens = measure_cut(result["tokens"].get("bins", []), cutoff_len)
    return {"rows": min(rows * result["step"], result["row_count"]), "tokens": tokens * result["step"]}


def build_counted_facts(facts: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    """Return a dataset's facts with the lengths and pictures that were counted instead of the ones estimated."""
    tokens = dict(result.get("tokens") or {})
    if not tokens:
        return facts
    if result["step"] > 1:
        tokens |= _lengthen(tokens, facts.get("token_stats"))
    counted = facts | {"token_stats": tokens}
    return counted | {"picture_stats": result["pictures"]} if result.get("pictures") else counted


def _lengthen(tokens: dict[str, Any], by_letters: Any) -> dict[str, Any]:
    """Of a sample the longest row is not known, but the checker saw it: its letters, in these tokens, are taken."""
    known = by_letters if isinstance(by_letters, dict) else {}
    mean, longest = known.get("mean"), known.get("max")
    if not isinstance(mean, int | float) or not isinstance(longest, int | float) or mean <= 0:
        return {}
    longest = max(tokens["max"], round(longest * tokens["mean"] / mean))
    return {"max": longest, "quantiles": [*tokens["quantiles"][:-1], [1.0, longest]]}
