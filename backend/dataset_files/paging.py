"""Rows of a dataset in pages: an index beside the data lets a page anywhere be read as fast as the first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from backend.dataset_files.checking import FINDINGS_FILE
from backend.dataset_files.embedded import find_kind, get_bytes, list_items
from backend.dataset_files.reading import DataFile, Unreadable, list_data_files
from backend.dataset_files.row_index import find_index, read_from
from backend.domain.datasets.conversation import Conversation, convert_row
from backend.domain.datasets.mapping import BadMapping, Mapping, parse_mapping

_MOST = 200
_DISORDER = 30_000
"""Findings about files are written as soon as they are read, up to a part of rows before those about rows."""


@dataclass
class RowPage:
    """Rows as conversations, and how many there are in all (of those asked for; None where not counted to the end)."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    total: int | None = 0

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def read_rows(
    folder: Path,
    info: dict[str, Any],
    offset: int,
    limit: int,
    query: str | None = None,
    finding: str | None = None,
    *,
    findings_file: Path | None = None,
) -> RowPage:
    """Return up to `limit` (at most 200) rows from `offset` on, of all, of those that contain `query`, or of those
    that have the finding with code `finding`. What cannot be read is an empty page."""
    try:
        mapping = parse_mapping(info)
        files = list_data_files(folder, mapping.file_name)
    except (BadMapping, Unreadable):
        return RowPage()
    limit, offset = max(0, min(limit, _MOST)), max(0, offset)
    log = findings_file or folder / FINDINGS_FILE
    if finding:
        numbers = list_rows_with(log, finding)
        found = list(_read_at(folder, files, numbers[offset : offset + limit]))
        page = RowPage(total=len(numbers))
    elif query:
        found, total = _search(folder, files, query, offset, limit)
        page = RowPage(total=total)
    else:
        found = list(islice(_read_on(folder, files, offset), limit))
        page = RowPage(total=sum(find_index(folder, file).count for file in files))
    codes = _list_codes(log, {number for number, _, _ in found})
    page.rows = [show_row(mapping, *one, codes.get(one[0], [])) for one in found]
    return page


def read_rows_at(folder: Path, info: dict[str, Any], numbers: list[int]) -> list[dict[str, Any]]:
    """Return the rows with these numbers, in this order, without what was found about them."""
    try:
        mapping = parse_mapping(info)
        files = list_data_files(folder, mapping.file_name)
    except (BadMapping, Unreadable):
        return []
    return [show_row(mapping, *one, []) for one in _read_at(folder, files, numbers[:_MOST])]


def _read_at(
    folder: Path, files: list[DataFile], numbers: list[int]
) -> Iterator[tuple[int, int, dict[str, Any]]]:
    for number in numbers:
        yield from islice(_read_on(folder, files, number), 1)


def show_row(
    mapping: Mapping, number: int, line: int, raw: dict[str, Any], codes: list[str]
) -> dict[str, Any]:
    """Return a row as a conversation, with all that can be shown of it even where it is broken."""
    talk = convert_row(mapping, raw)
    messages = [*talk.prompt, *talk.response] or _list_loosely(mapping, raw)
    return {
        "index": number,
        "line": line,
        "messages": [
            {"role": str(message["role"]), "content": _as_text(message["content"])} for message in messages
        ],
        "system": _as_text(talk.system),
        "tools": _as_text(talk.tools),
        "images": _list_shown(number, talk, "images") + _list_shown(number, talk, "videos", frames=True),
        "videos": _list_shown(number, talk, "videos"),
        "audios": _list_shown(number, talk, "audios"),
        "findings": codes,
        "raw": json.dumps(raw, ensure_ascii=False, default=_describe)[:20_000] if not messages else None,
    }


def _list_loosely(mapping: Mapping, raw: dict[str, Any]) -> list[dict[str, Any]]:
    messages = raw.get(mapping.messages or "")
    return [
        {"role": message.get(mapping.role_tag or ""), "content": message.get(mapping.content_tag or "")}
        for message in (messages if isinstance(messages, list) else [])
        if isinstance(message, dict)
    ]


def _list_shown(number: int, talk: Conversation, kind: str, *, frames: bool = False) -> list[Any]:
    """Return paths as they are, and where to ask for what the row holds itself; of videos, those that are `frames`."""
    shown: list[Any] = []
    place = 0
    for item in getattr(talk, kind) or []:
        for one in list_items([item]):
            if isinstance(item, list) == frames or kind == "images":
                held = get_bytes(one) is not None
                path = one.get("path") if isinstance(one, dict) else one
                shown.append({"row": number, "kind": kind, "place": place} if held else path)
            place += 1
    return [one for one in shown if isinstance(one, str | dict)]


def read_embedded(
    folder: Path, info: dict[str, Any], number: int, kind: str, place: int
) -> tuple[str, bytes] | None:
    """Return the media type and the bytes of what a row holds itself; None where there is none."""
    try:
        mapping = parse_mapping(info)
        files = list_data_files(folder, mapping.file_name)
    except (BadMapping, Unreadable):
        return None
    for _, _, raw in _read_at(folder, files, [number]):
        items = list_items(getattr(convert_row(mapping, raw), kind) or [])
        data = get_bytes(next(islice(items, place, None), None))
        return None if data is None else (find_kind(data)[1], data)
    return None


def _describe(value: Any) -> str:
    """Say what JSON cannot hold; bytes by their number only."""
    return f"<{len(value)} bytes>" if isinstance(value, bytes) else str(value)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=_describe)


def _read_on(folder: Path, files: list[DataFile], offset: int) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield (number, line, row) from row `offset` on."""
    base = 0
    for file in files:
        index = find_index(folder, file)
        if offset < base + index.count:
            start = max(0, offset - base)
            for number, line, row in read_from(file, index, start):
                yield base + number, line, row
        base += index.count


def _search(
    folder: Path, files: list[DataFile], query: str, offset: int, limit: int
) -> tuple[list[tuple[int, int, dict[str, Any]]], int | None]:
    """Search until the page is full; the total is known only where the end was reached."""
    found, seen, sought = [], 0, query.casefold()
    for number, line, row in _read_on(folder, files, 0):
        if sought not in json.dumps(row, ensure_ascii=False, default=_describe).casefold():
            continue
        seen += 1
        if seen > offset:
            found.append((number, line, row))
        if len(found) >= limit:
            return found, None
    return found, seen


def list_rows_with(log: Path, code: str) -> list[int]:
    """Return the numbers of the rows that have a finding, in order."""
    mark = f'"code": "{code}"'
    numbers = dict.fromkeys(
        entry["row"] for entry in _read_log(log, mark) if entry["row"] is not None and entry["code"] == code
    )
    return list(numbers)


def _read_log(log: Path, mark: str) -> Iterator[dict[str, Any]]:
    try:
        with log.open(encoding="utf-8") as lines:
            for text in lines:
                if mark in text:
                    yield json.loads(text)
    except (OSError, ValueError):
        return


def _list_codes(log: Path, numbers: set[int]) -> dict[int, list[str]]:
    codes: dict[int, list[str]] = {}
    if not numbers:
        return codes
    first, last = min(numbers), max(numbers)
    for entry in read_log_from(log, first - _DISORDER):
        row = entry["row"]
        if row in numbers and entry["code"] not in codes.setdefault(row, []):
            codes[row].append(entry["code"])
        if row is not None and row > last + _DISORDER:
            break
    return codes


def read_log_from(log: Path, row: int) -> Iterator[dict[str, Any]]:
    """Yield the findings of `row` and later rows, and a few before: rows ascend in the log, so halving finds them."""
    try:
        with log.open("rb") as file:
            low, high = 0, log.stat().st_size
            while high - low > 1 << 16:
                middle = (low + high) // 2
                file.seek(middle)
                file.readline()
                found = next(
                    (entry["row"] for entry in map(json.loads, file) if entry["row"] is not None), None
                )
                low, high = (middle, high) if found is not None and found < row else (low, middle)
            file.seek(low)
            if low:
                file.readline()
            yield from map(json.loads, file)
    except (OSError, ValueError):
        return
