"""JSON-lines files, read as `datasets` 4.0.0 reads them: with pyarrow's reader, in parts of 10 MiB."""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.json as pyarrow_json

from backend.dataset_files.arrow_types import Fields, get_schema_fields, holds_times
from backend.dataset_files.encodings import report_encoding
from backend.dataset_files.json_parts import add_broken, add_odd_rows, add_problem, merge_loosely
from backend.dataset_files.reading import DataFile, Part

_PART_BYTES = 10 << 20
_BLOCK_BYTES = 10 << 15
_NULL_LINE = re.compile(rb"^[ \t]*null[ \t]*\r?$", re.MULTILINE)
_SPACE = re.compile(r"[ \t\n\r]*")


def read_lines(file: DataFile) -> Iterator[Part]:
    """Yield the rows of a JSON-lines file in parts; a part's problems stop the load of the whole."""
    size = max(1, file.path.stat().st_size)
    line = 1
    with file.path.open("rb") as raw:
        while batch := raw.read(_PART_BYTES):
            batch += raw.readline()
            part = _read_batch(batch, line, first=line == 1)
            part.fraction = raw.tell() / size
            line += batch.count(b"\n")
            yield part


def _read_batch(batch: bytes, line: int, *, first: bool) -> Part:
    part = Part()
    if first and batch.startswith(codecs.BOM_UTF8):
        batch = batch[3:]
    table: pa.Table | str = ""
    text = _decode_batch(batch, line, part)
    _parse_rows(text, line, part)
    if batch.lstrip()[:4] == b"null":
        # pyarrow crashes on a null at the start of a block; so would the run.
        add_problem(part, "row_not_object", line, None, "The row is null.", "该行为 null。")
    elif all(problem.code == "encoding_wrong" for problem in part.problems):
        # What is broken, or nested so deep that it would crash pyarrow, does not come to it.
        table = _parse_table(_NULL_LINE.sub(b"{}", batch) if b"null" in batch else batch)
    if isinstance(table, pa.Table):
        part.fields = get_schema_fields(table.schema)
    if isinstance(table, pa.Table) and len(part.rows) == table.num_rows:
        if holds_times(part.fields or {}):
            part.rows = table.to_pylist()
        else:
            part.rows = [row if isinstance(row, dict) else {} for row in part.rows]
    else:
        _guess_fields(part)
        if not part.problems:
            _explain(str(table), part, line)
    return part


def infer_line_fields(batch: bytes) -> Fields:
    """Return the columns of some whole lines with the types that pyarrow gives them."""
    table = _parse_table(batch)
    return get_schema_fields(table.schema) if isinstance(table, pa.Table) else {}


def _parse_table(batch: bytes) -> pa.Table | str:
    """Return the table that `datasets` gets of this part, or pyarrow's word on why there is none."""
    block = _BLOCK_BYTES
    while True:
        try:
            options = pyarrow_json.ReadOptions(block_size=block)
            return pyarrow_json.read_json(io.BytesIO(batch), read_options=options)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            if "straddling" not in str(error) or block > len(batch):
                return str(error)
            block *= 2


def _decode_batch(batch: bytes, line: int, part: Part) -> str:
    try:
        return batch.decode("utf-8")
    except UnicodeDecodeError as error:
        bad = line + batch[: error.start].count(b"\n")
        part.problems.append(report_encoding("gb18030", bad))
        return batch.decode("gb18030", errors="replace")


def _parse_rows(text: str, line: int, part: Part) -> None:
    """Parse object after object; after one that is broken, go on with the next line."""
    decode, place, end = json.JSONDecoder(strict=False).raw_decode, 0, len(text)
    find_space = _SPACE.match
    while True:
        space = find_space(text, place)
        start = space.end() if space else place
        line += text.count("\n", place, start)
        if start >= end:
            return
        try:
            row, place = decode(text, start)
        except (ValueError, RecursionError) as error:
            stop = text.find("\n", start)
            place = stop if stop >= 0 else end
            cut = stop < 0 and not _SPACE.fullmatch(text, start) and _is_cut(text[start:])
            add_broken(part, "json_truncated" if cut else "json_broken", line, str(error))
            continue
        if isinstance(row, dict) or row is None:
            part.rows.append(row)
            part.lines.append(line)
        else:
            add_problem(part, "row_not_object", line, None, "The line holds no object.", "该行不是对象。")
        line += text.count("\n", start, place)


def _is_cut(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[") and text.rstrip()[-1:] not in ("}", "]")


def _guess_fields(part: Part) -> None:
    """Of a part that does not load, too, the columns are told, so that none is called missing that is there."""
    part.rows = [row if isinstance(row, dict) else {} for row in part.rows]
    part.fields = merge_loosely({}, part.rows)


def _explain(why: str, part: Part, line: int) -> None:
    """pyarrow refused rows that are JSON: say which, as far as it can be found."""
    if "specified twice" in why:
        where = re.search(r"Column\(/?([^)]*)\)", why)
        number = re.search(r"row (\d+)", why)
        row = int(number.group(1)) if number else 0
        at = part.lines[row] if row < len(part.lines) else line
        name = where.group(1) if where else ""
        add_problem(
            part, "duplicate_key", at, name, f"The key {name!r} stands twice.", f"键 {name!r} 出现两次。"
        )
        return
    add_odd_rows(part.rows, part.lines, part)
    if not part.problems:
        number = re.search(r"row (\d+)", why)
        row = int(number.group(1)) if number else 0
        at = part.lines[row] if row < len(part.lines) else line
        add_broken(part, "json_broken", at, why.removeprefix("JSON parse error: "))


def read_lines_from(file: DataFile, place: int, line: int) -> Iterator[tuple[int, int | None, Any]]:
    """Yield (line, byte, row) from a byte on at which a row begins."""
    with file.path.open("rb") as raw:
        raw.seek(place)
        while batch := raw.read(1 << 20):
            batch += raw.readline()
            part = Part()
            text = batch.decode("utf-8", "replace").lstrip("\ufeff")
            _parse_rows(text, line, part)
            for number, row in enumerate(part.rows):
                yield part.lines[number], place if number == 0 else None, row
            place += len(batch)
            line += batch.count(b"\n")
