"""How many tokens texts are: counted with a model's tokenizer, or estimated where there is none."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from backend.domain.datasets.statistics import estimate_tokens

_MARKS_PER_MESSAGE = 5
"""What templates of Qwen's kind put around a message; others differ by a few tokens."""
_SYSTEM_TOKENS = 11
_MOST_PIXELS = 768 * 768
_LEAST_PIXELS = 32 * 32


class TokenCounter:
    """Counts with `tokenizer.json` of a model's folder; `estimated` where it has none or none is given."""

    def __init__(self, folder: Path | None) -> None:
        self._tokenizer: Any = None
        path = folder / "tokenizer.json" if folder else None
        if path and path.is_file():
            from tokenizers import (
                Tokenizer,
            )  # its threads are not for the web process, which only reads pages

            self._tokenizer = Tokenizer.from_file(str(path))
        self.estimated = self._tokenizer is None
        settings = _read_picture_settings(folder) if folder else {}
        self._side = int(settings.get("patch_size") or 14) * int(settings.get("merge_size") or 2)
        self._most_pixels = min(_MOST_PIXELS, int(settings.get("max_pixels") or _MOST_PIXELS))

    def count(self, texts: list[str]) -> list[int]:
        """Return the tokens of each text."""
        if self._tokenizer is None:
            return [estimate_tokens(text) for text in texts]
        whole = [text.encode("utf-8", "ignore").decode("utf-8") for text in texts]  # no halves of pairs
        encoded = self._tokenizer.encode_batch_fast(whole, add_special_tokens=False)
        return [len(one) for one in encoded]

    def count_marks(self, messages: int) -> int:
        """Return about how many tokens the template adds to so many messages."""
        return _SYSTEM_TOKENS + _MARKS_PER_MESSAGE * messages

    def count_picture(self, width: int, height: int) -> int:
        """Return the tokens of a picture, as Qwen's processors cut it into squares after LLaMA-Factory's scaling."""
        area = max(1, width * height)
        factor = math.sqrt(self._most_pixels / area) if area > self._most_pixels else 1.0
        factor = max(factor, math.sqrt(_LEAST_PIXELS / area)) if area < _LEAST_PIXELS else factor
        return max(1, round(width * factor / self._side)) * max(1, round(height * factor / self._side))


def find_accepted(folder: Path | None) -> frozenset[str] | None:
    """Return which kinds of media a model takes, by its folder; None where no folder is given."""
    if folder is None:
        return None
    kinds = {"image": "images", "video": "videos", "audio": "audios"}
    facts = _read_json(folder / "tuneforge.json")
    named = facts.get("modalities")
    found = {kinds[name] for name in named if name in kinds} if isinstance(named, list) else set()
    if "images" in found or _read_picture_settings(folder):
        found |= {"images", "videos"}
    return frozenset(found)


def _read_picture_settings(folder: Path) -> dict[str, Any]:
    """Return a processor's settings for pictures; newer transformers keep them within those of the whole processor."""
    whole = _read_json(folder / "processor_config.json").get("image_processor")
    return whole if isinstance(whole, dict) else _read_json(folder / "preprocessor_config.json")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
