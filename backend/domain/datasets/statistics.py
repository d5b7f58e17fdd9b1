"""Statistics of a dataset in memory that does not grow with it: lengths, pictures, languages."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import Any

_MOST_TOKENS = 1 << 17
_BARS = 20
_BITS_OF_A_BIN = 7
_SCRIPTS = {
    "zh": re.compile("[\u4e00-\u9fff]+"),
    "ja": re.compile("[\u3040-\u30ff]+"),
    "ko": re.compile("[\uac00-\ud7af]+"),
    "ru": re.compile("[\u0400-\u04ff]+"),
    "ar": re.compile("[\u0600-\u06ff]+"),
    "latin": re.compile("[A-Za-z]+"),
}
_RARER = re.compile("[\u3040-\u30ff\uac00-\ud7af\u0400-\u04ff\u0600-\u06ff]")
_LOOKED_AT = 200


class Lengths:
    """How many rows have each length in tokens; longer ones than 131,071 count as that in all but the mean."""

    def __init__(self) -> None:
        self._counts = array("q", bytes(8 * _MOST_TOKENS))
        self._sum = self._labels = self._pictures = self._beyond = self.count = self.longest = 0

    def add(self, tokens: int, label: int, pictures: int) -> None:
        """Count one row: all its tokens, of these the answers', and the pictures'."""
        self._counts[min(tokens, _MOST_TOKENS - 1)] += 1
        self._beyond += max(0, tokens - _MOST_TOKENS + 1)
        self.count += 1
        self._sum += tokens
        self._labels += label
        self._pictures += pictures
        self.longest = max(self.longest, tokens)

    def measure_cut(self, cutoff: int) -> tuple[int, int]:
        """Return how many rows are longer than `cutoff`, and by how many tokens in all."""
        longer = range(min(cutoff + 1, _MOST_TOKENS), _MOST_TOKENS)
        rows = sum(self._counts[length] for length in longer)
        return rows, sum(self._counts[length] * (length - cutoff) for length in longer) + self._beyond

    def find(self, share: float) -> int:
        """Return the length that `share` of the rows do not exceed."""
        return self.find_all([share])[0]

    def find_all(self, shares: Sequence[float]) -> list[int]:
        """Return, for each of the rising `shares`, the length that so many of the rows do not exceed."""
        found: list[int] = []
        seen = 0
        for length, count in enumerate(self._counts):
            seen += count
            while count and len(found) < len(shares) and seen >= shares[len(found)] * self.count:
                found.append(length)
        return found + [0] * (len(shares) - len(found))

    def list_bins(self) -> list[list[int]]:
        """Return [shortest, rows, their tokens in all] of each range of lengths that has rows.

        A range is a 64th of its octave wide. Every power of two ends one, and so does each length below 128.
        """
        bins: dict[int, list[int]] = {}
        for length, count in enumerate(self._counts):
            if count:
                width = _find_width(length)
                one = bins.setdefault(max(0, length - 1) // width * width + 1, [0, 0])
                one[0] += count
                one[1] += count * length
        if bins:
            bins[max(bins)][1] += self._beyond
        return [[start, *bins[start]] for start in sorted(bins)]

    def to_facts(self, *, estimated: bool) -> dict[str, Any]:
        """Return them in the keys that the estimator reads."""
        if not self.count:
            return {}
        return {
            "mean": round(self._sum / self.count, 2),
            "p50": self.find(0.5),
            "p95": self.find(0.95),
            "max": self.longest,
            "label_mean": round(self._labels / self.count, 2),
            "image_tokens_mean": round(self._pictures / self.count, 2),
            "estimated": estimated,
        }

    def to_dict(self, *, estimated: bool) -> dict[str, Any]:
        """Return them for people: the facts and a histogram."""
        facts = self.to_facts(estimated=estimated)
        return facts | {"histogram": self._build_histogram()} if facts else {}

    def _build_histogram(self) -> list[dict[str, int]]:
        top = max(1, self.find(0.99))
        width = max(1, -(-top // (_BARS - 1)))
        bars = []
        for number in range(_BARS):
            start = number * width
            last = number == _BARS - 1
            stop = _MOST_TOKENS if last else start + width
            count = sum(self._counts[start:stop])
            bars.append({"from": start, "to": max(self.longest, start) if last else stop, "count": count})
        return bars


def _find_width(length: int) -> int:
    """Return how many lengths the range that holds this one has."""
    return 1 << max(0, (length - 1).bit_length() - _BITS_OF_A_BIN)


def measure_cut(bins: Sequence[Sequence[int]], cutoff: int) -> tuple[int, int]:
    """Return how many rows of `Lengths.list_bins` are longer than `cutoff`, and by how many tokens in all.

    Exact where a range ends at `cutoff`, as at every power of two; within a range rows are taken to lie evenly.
    """
    rows = tokens = 0.0
    for start, count, total in bins:
        width = _find_width(start)
        over = min(1.0, max(0.0, (start + width - 1 - cutoff) / width))
        if over == 1.0:
            rows, tokens = rows + count, tokens + total - count * cutoff
        elif over:
            rows, tokens = rows + count * over, tokens + count * over * (over * width + 1) / 2
    return round(rows), round(tokens)


class Pictures:
    """How many pictures rows have and how large they are."""

    def __init__(self) -> None:
        self.rows = self.count = self.width = self.height = 0
        self._sizes: Counter[tuple[int, int]] = Counter()

    def add_row(self) -> None:
        """Count a row."""
        self.rows += 1

    def add(self, size: tuple[int, int]) -> None:
        """Count a picture of this width and height in pixels."""
        self.count += 1
        self.width += size[0]
        self.height += size[1]
        if size in self._sizes or len(self._sizes) < 1000:
            self._sizes[size] += 1

    def to_facts(self) -> dict[str, Any]:
        """Return them in the keys that the estimator reads; empty where there are none."""
        if not self.count or not self.rows:
            return {}
        return {
            "per_example": round(self.count / self.rows, 4),
            "width_mean": round(self.width / self.count, 2),
            "height_mean": round(self.height / self.count, 2),
        }

    def to_dict(self) -> dict[str, Any]:
        """Return them for people: the facts, how many, and the ten most frequent sizes."""
        facts = self.to_facts()
        sizes = [
            {"width": width, "height": height, "count": count}
            for (width, height), count in self._sizes.most_common(10)
        ]
        return facts | {"count": self.count, "sizes": sizes} if facts else {}


def find_language(text: str) -> str:
    """Return the language, or script, that most of the beginning of a text is in: zh, en, ja, ko, ru, ar or other."""
    start = text[:_LOOKED_AT]
    if start.isascii():
        return "en" if _SCRIPTS["latin"].search(start) else "other"
    names = list(_SCRIPTS) if _RARER.search(start) else ["zh", "latin"]
    counts = {name: sum(map(len, _SCRIPTS[name].findall(start))) for name in names}
    counts["latin"] //= 4  # a word has several letters, where a Chinese one has one or two characters
    if counts.get("ja", 0) * 4 > counts["zh"]:
        counts["ja"] += counts["zh"]
    name = max(counts, key=lambda one: counts[one])
    if not counts[name]:
        return "other"
    return "en" if name == "latin" else name


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text is: a Chinese character 0.7, four bytes of other text one."""
    if text.isascii():
        return (len(text) + 3) // 4
    wide = len(text) - len(text.encode("ascii", "ignore"))
    return int(0.7 * wide + (len(text) - wide) / 4) + 1
