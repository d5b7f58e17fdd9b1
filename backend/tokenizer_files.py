"""A model's tokenizer as files: what stands for it, and what beside it decides how long rows are."""

from __future__ import annotations

import json
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from stat import S_ISREG
from typing import Any

from backend.domain.datasets.pictures import PictureRule

TOKENIZER_FILE = "tokenizer.json"
_SETTINGS_FILES = ("tokenizer_config.json", "special_tokens_map.json")
_PICTURE_FILES = ("processor_config.json", "preprocessor_config.json")
_MOST_BYTES = 256 << 20
"""The largest tokenizers have a quarter of it."""
_MOST_SETTINGS_BYTES = 8 << 20


def identify_tokenizer(folder: Path, template: str) -> str | None:
    """Return what stands for all that decides how long rows are; None where there is no `tokenizer.json`.

    Models whose files and template are alike have one identity, whatever they are called.
    """
    try:
        stamps = tuple(_stamp(folder / name) for name in (TOKENIZER_FILE, *_SETTINGS_FILES, *_PICTURE_FILES))
    except OSError:
        return None
    if stamps[0] is None or not 0 < stamps[0][1] <= _MOST_BYTES:
        return None
    return _hash(folder, template, stamps)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return (found.st_mtime_ns, found.st_size) if S_ISREG(found.st_mode) else None


@lru_cache(maxsize=512)
def _hash(folder: Path, template: str, _stamps: tuple[tuple[int, int] | None, ...]) -> str | None:
    """Hash the files once for as long as their times and sizes stay."""
    digest = sha256()
    try:
        with (folder / TOKENIZER_FILE).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return None
    settings = TokenizerSettings(folder)
    digest.update(json.dumps([template, settings.to_list()]).encode())
    return digest.hexdigest()


class TokenizerSettings:
    """What beside `tokenizer.json` decides: special tokens, and how pictures are cut."""

    def __init__(self, folder: Path) -> None:
        read = {
            name: value
            for file in reversed(_SETTINGS_FILES)
            for name, value in _read_object(folder / file).items()
        }
        self.eos, self.bos = _name_token(read.get("eos_token")), _name_token(read.get("bos_token"))
        whole, *older = (_read_object(folder / name) for name in _PICTURE_FILES)
        inner = whole.get("image_processor")
        found = inner if isinstance(inner, dict) else older[0]
        self.rule = _read_rule(found)
        self.is_qwen = str(found.get("image_processor_type", "")).startswith("Qwen2VL")

    def to_list(self) -> list[Any]:
        """Return all of it."""
        return [self.eos, self.bos, self.is_qwen, *self.rule.__dict__.values()]


def _read_object(path: Path) -> dict[str, Any]:
    """Return a JSON object; empty where there is none, or it cannot be read."""
    try:
        found = json.loads(path.read_text("utf-8")) if path.stat().st_size < _MOST_SETTINGS_BYTES else None
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _name_token(value: Any) -> str | None:
    value = value.get("content") if isinstance(value, dict) else value
    return value if isinstance(value, str) and value else None


def _read_rule(settings: dict[str, Any]) -> PictureRule:
    usual, size = PictureRule(), settings.get("size")
    size = size if isinstance(size, dict) else {}

    def take(value: Any, most: int, instead: int) -> int:
        fits = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most
        return value if fits else instead

    return PictureRule(
        take(settings.get("patch_size"), 1024, usual.patch),
        take(settings.get("merge_size"), 64, usual.merge),
        take(settings.get("min_pixels", size.get("shortest_edge")), 1 << 40, usual.least_pixels),
        take(settings.get("max_pixels", size.get("longest_edge")), 1 << 40, usual.most_pixels),
    )
