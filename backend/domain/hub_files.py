"""What is taken from a hub's repository: names that are safe to write, formats that run nothing when they are read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from backend.domain.errors import Conflict

HubName = Literal["huggingface", "modelscope"]
REPO_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}(/[A-Za-z0-9][A-Za-z0-9._-]{0,95})?$"
REVISION = r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$"
PART_NAME = r"^[^\x00-\x1f\x7f/\\]{1,200}$"
"""What a subset or a split may be called."""
MOST_FILES = 100_000

_MODEL_SUFFIXES = frozenset({".safetensors", ".json", ".txt", ".model", ".jinja", ".tiktoken", ".md"})
_PICKLED_SUFFIXES = frozenset({".bin", ".pt", ".pth"})
_DATA_SUFFIXES = {".json", ".jsonl", ".csv", ".tsv", ".parquet", ".arrow", ".txt", ".md"}
_ARCHIVE_SUFFIXES = {".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".zst"}
_PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
_SOUND_SUFFIXES = {".mp4", ".avi", ".mov", ".mkv", ".webm", ".wav", ".mp3", ".flac", ".ogg", ".m4a"}
_DATASET_SUFFIXES = frozenset(_DATA_SUFFIXES | _ARCHIVE_SUFFIXES | _PICTURE_SUFFIXES | _SOUND_SUFFIXES)
_NOTICES = re.compile(r"(?i)(licen[cs]e|notice|usage|use_policy)[^/]*")


@dataclass(frozen=True)
class RepoFile:
    """One file as a hub lists it. `sha256` is of its bytes, `git_sha1` of git's blob of them; a hub gives one or none."""

    path: str
    size_bytes: int
    sha256: str | None = None
    git_sha1: str | None = None


def require_safe_names(files: Iterable[RepoFile]) -> None:
    """Refuse a repository of which any name could lead out of its folder, or hide another of its files."""
    taken: set[str] = set()
    folders: set[str] = set()
    for file in files:
        parts = file.path.split("/")
        fine = file.path.isprintable() and "\\" not in file.path and not file.path.startswith("/")
        if not fine or any(_is_odd(part) for part in parts) or len(file.path.encode()) > 1000:
            raise _refuse(file.path)
        taken.add(file.path)
        folders.update("/".join(parts[:end]) for end in range(1, len(parts)))
    both = taken & folders
    if both:
        raise _refuse(min(both))


def _is_odd(part: str) -> bool:
    return (
        part in ("", ".", "..") or len(part.encode("utf-8", "surrogatepass")) > 240 or part.endswith(".part")
    )


def _refuse(name: str) -> Conflict:
    shown = ascii(name[:80])
    return Conflict(
        f"This repository holds a file name that cannot be kept safely: {shown}. Choose another repository.",
        zh=f"该仓库含有无法安全保存的文件名：{shown}。请换一个仓库。",
        code="hub_unsafe_names",
    )


def choose_model_files(
    files: Iterable[RepoFile], *, pickled_weights: bool = False, code: bool = False
) -> list[RepoFile]:
    """Return the files of a model that are fetched; Conflict when its weights are in no format that is allowed.

    Pickled weights run code when they are read, so they are taken only where an administrator allows it and there is
    no safetensors; `*.py` is taken only with `code`.
    """
    listed = [file for file in files if not _is_hidden(file.path)]
    weights = [file for file in listed if file.path.endswith(".safetensors")]
    if any(PurePosixPath(file.path).name.startswith("model") for file in weights):
        # The same weights a second time, as Mistral publishes them.
        listed = [file for file in listed if not PurePosixPath(file.path).name.startswith("consolidated")]
    suffixes = _MODEL_SUFFIXES | ({".py"} if code else frozenset())
    if not weights:
        pickled = any(PurePosixPath(file.path).suffix in _PICKLED_SUFFIXES for file in listed)
        if not (pickled and pickled_weights):
            raise _say_no_weights(pickled)
        suffixes |= _PICKLED_SUFFIXES
    return [file for file in listed if _has_suffix(file.path, suffixes)]


def choose_dataset_files(files: Iterable[RepoFile]) -> list[RepoFile]:
    """Return the files of a dataset that are fetched: data, media and archives, and never a script."""
    chosen = [
        file for file in files if not _is_hidden(file.path) and _has_suffix(file.path, _DATASET_SUFFIXES)
    ]
    if not chosen:
        raise Conflict(
            "This repository holds no data file that can be imported (json, jsonl, csv, parquet, arrow, txt).",
            zh="该仓库中没有可导入的数据文件（json、jsonl、csv、parquet、arrow、txt）。",
            code="hub_no_data",
        )
    return chosen


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _has_suffix(path: str, suffixes: frozenset[str]) -> bool:
    name = PurePosixPath(path)
    return name.suffix.lower() in suffixes or _NOTICES.fullmatch(name.name) is not None


def _say_no_weights(pickled: bool) -> Conflict:
    if pickled:
        return Conflict(
            "This model's weights are pickled, which can run code. Choose one in safetensors, or ask an administrator "
            "to allow it (TUNEFORGE_PICKLED_WEIGHTS).",
            zh="该模型的权重是 pickle 格式，读取时可能执行代码。请改用 safetensors 版本，"
            "或请管理员放行（TUNEFORGE_PICKLED_WEIGHTS）。",
            code="unsafe_weights",
        )
    return Conflict(
        "This repository holds no weights in safetensors, so it is no model that can be trained here.",
        zh="该仓库没有 safetensors 权重，无法作为模型使用。",
        code="hub_no_weights",
    )
