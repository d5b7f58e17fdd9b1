"""What a folder holds: which file is the data, and how LLaMA-Factory is to read it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from backend.dataset_files.reading import KINDS, DataFile
from backend.dataset_files.sources import READERS
from backend.domain.datasets.mapping import BadMapping, Mapping, build_entry, find_stage, parse_mapping
from backend.domain.datasets.recognition import recognise_rows

_SAMPLE = 200
_INFO = "dataset_info.json"
_NOT_DATA = frozenset(
    ("dataset_info.json", "tuneforge.json", "package.json", "dataset_infos.json", "config.json")
)
_DEEPEST = 3


@dataclass
class Recognition:
    """`info` is the entry for `dataset_info.json`, None where no file looks like data; `candidates` are the
    files that might be it; `alternatives` are other entries that would fit; `confidence` runs from 0 to 1."""

    info: dict[str, Any] | None
    format: str
    modalities: list[str]
    confidence: float
    alternatives: list[dict[str, Any]] = field(default_factory=list)
    candidates: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    detail: str = ""
    detail_zh: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def recognise(folder: Path) -> Recognition:
    """Return what the dataset in `folder` is; a `dataset_info.json` in it is believed where it can be followed."""
    candidates = list_candidates(folder)
    given = _read_given(folder)
    if given:
        found = _describe(folder, given[0], 1.0, given[1:], candidates)
        found.detail, found.detail_zh = "As its dataset_info.json says.", "依据其中的 dataset_info.json。"
        return found
    guesses = []
    for name in candidates[:20]:
        guess = recognise_rows(name, _read_sample(folder, name))
        if guess:
            guesses.append((guess.confidence, guess))
    if not guesses:
        return Recognition(
            None,
            "unknown",
            ["text"],
            0.0,
            candidates=candidates,
            # Whoever says by hand what they hold sees which there are.
            columns=_list_columns(_read_sample(folder, candidates[0])) if candidates else [],
            detail="No file has columns or messages that LLaMA-Factory could learn from.",
            detail_zh="没有找到 LLaMA-Factory 可以学习的列或消息。",
        )
    _, best = max(guesses, key=lambda pair: pair[0])
    others = [*best.alternatives, *(guess.mapping for _, guess in guesses if guess is not best)]
    return _describe(folder, best.mapping, best.confidence, others, candidates, best.name)


def list_candidates(folder: Path) -> list[str]:
    """Return the files that may hold the rows, the largest first; folders full of shards count as one."""
    found: list[tuple[int, str]] = []
    for path in _walk(folder, folder, 0):
        if path.suffix[1:].lower() in KINDS and path.name not in _NOT_DATA and path.suffix[1:] in KINDS:
            if path.suffix == ".txt" and path.stem.lower() in ("readme", "license", "requirements"):
                continue
            found.append((path.stat().st_size, path.relative_to(folder).as_posix()))
    shards: dict[str, list[str]] = {}
    for _, name in found:
        shards.setdefault(name.rpartition("/")[0], []).append(name)
    whole = [
        name for name, names in shards.items() if name and len(names) > 1 and _is_homogeneous(folder, name)
    ]
    return whole + [name for _, name in sorted(found, key=lambda pair: (-pair[0], pair[1]))]


def _is_homogeneous(folder: Path, name: str) -> bool:
    entries = list((folder / name).iterdir())
    kinds = {KINDS.get(path.suffix[1:]) for path in entries}
    return len(kinds) == 1 and None not in kinds and all(path.is_file() for path in entries)


def _walk(folder: Path, root: Path, depth: int) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "__MACOSX")) or path.is_symlink():
            continue
        if path.is_dir() and depth < _DEEPEST:
            yield from _walk(path, root, depth + 1)
        elif path.is_file():
            yield path


def _read_given(folder: Path) -> list[Mapping]:
    """Return the mappings of the folder's `dataset_info.json` whose files are there; the first one counts."""
    try:
        entries = json.loads((folder / _INFO).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return []
    found = []
    for entry in entries.values() if isinstance(entries, dict) else []:
        try:
            mapping = parse_mapping(entry)
            DataFile(folder / mapping.file_name, mapping.file_name)
        except (BadMapping, AttributeError, TypeError):
            continue
        path = folder / mapping.file_name
        if path.exists() and path.resolve().is_relative_to(folder.resolve()):
            found.append(mapping)
    return found


def _read_sample(folder: Path, name: str) -> list[dict[str, Any]]:
    path = folder / name
    if path.is_dir():
        path = next(iter(sorted(path.iterdir())))
    file = DataFile(path, name)
    rows: list[dict[str, Any]] = []
    try:
        for part in islice(READERS[file.kind or ""](file), 3):
            rows += [row for row in part.rows if isinstance(row, dict)]
            if len(rows) >= _SAMPLE:
                break
    except (OSError, ValueError):
        pass
    return rows[:_SAMPLE]


def _list_columns(rows: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(str(column) for row in rows for column in row))


def _describe(
    folder: Path,
    mapping: Mapping,
    confidence: float,
    others: list[Mapping],
    candidates: list[str],
    name: str | None = None,
) -> Recognition:
    kinds = {"images": "image", "videos": "video", "audios": "audio"}
    rows = _read_sample(folder, mapping.file_name)
    return Recognition(
        info=build_entry(mapping),
        format=name or _name_format(mapping),
        modalities=["text"] + [word for kind, word in kinds.items() if getattr(mapping, kind)],
        confidence=confidence,
        alternatives=[build_entry(other) for other in others],
        candidates=candidates,
        columns=_list_columns(rows),
    )


def _name_format(mapping: Mapping) -> str:
    names = {"rm": "preference", "kto": "kto", "pt": "text"}
    usual = "openai" if mapping.holds_messages and mapping.role_tag == "role" else mapping.formatting
    return names.get(find_stage(mapping), usual)
