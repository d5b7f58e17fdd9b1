"""JSON and JSON-lines files, read as `datasets` 4.0.0 reads them: pyarrow's reader on parts of 10 MiB, and where
that fails, pandas' reader on the whole file, which takes one list and gives one table.

Here a list is read row by row instead, never whole; whether it would become one table is found from its rows' types.
"""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.json as pyarrow_json

from backend.dataset_files.arrow_types import (
    Fields,
    TypesDiffer,
    get_schema_fields,
    holds_times,
    merge_fields,
)
from backend.dataset_files.encodings import Encoding, find_encoding
from backend.dataset_files.reading import DataFile, FileProblem, Part
from backend.dataset_files.shapes import find_odd_rows

_PART_BYTES = 10 << 20
_BLOCK_BYTES = 10 << 15
_ROWS = 1000
_READ = 1 << 18
_BIGGEST_ROW = 256 << 20
_NULL_LINE = re.compile(rb"^[ \t]*null[ \t]*\r?$", re.MULTILINE)
_SPACE = re.compile(r"[ \t\n\r]*")
_SPACE_OR_COMMA = re.compile(r"[ \t\n\r,]*")


def read_json(file: DataFile) -> Iterator[Part]:
    """Yield the rows of a JSON file in parts; a part's problems stop the load of the whole."""
    with file.path.open("rb") as raw:
        head = raw.read(1 << 16).lstrip(b" \t\r\n")
    if head.lstrip(codecs.BOM_UTF8).lstrip()[:1] == b"[" or head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        yield from _read_list(file, find_encoding(file.path))
    else:
        yield from _read_lines(file)


# -- one object a line -------------------------------------------------------------------------------------


def _read_lines(file: DataFile) -> Iterator[Part]:
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
    table = None
    if batch.lstrip()[:4] == b"null":
        # pyarrow crashes on a null at the start of a block; so would the run.
        _add(part, "row_not_object", line, None, "The row is null.", "该行为 null。")
    else:
        table = _parse_table(_NULL_LINE.sub(b"{}", batch))
    if isinstance(table, pa.Table):
        part.fields = get_schema_fields(table.schema)
    text = _decode_batch(batch, line, part)
    _parse_rows(text, line, part)
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
        _add_encoding(part, "gb18030", bad)
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
            _add_broken(part, "json_truncated" if cut else "json_broken", line, str(error))
            continue
        if isinstance(row, dict) or row is None:
            part.rows.append(row)
            part.lines.append(line)
        else:
            _add(part, "row_not_object", line, None, "The line holds no object.", "该行不是对象。")
        line += text.count("\n", start, place)


def _is_cut(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[") and text.rstrip()[-1:] not in ("}", "]")


def _guess_fields(part: Part) -> None:
    """Of a part that does not load, too, the columns are told, so that none is called missing that is there."""
    part.rows = [row if isinstance(row, dict) else {} for row in part.rows]
    part.fields = {}
    for row in part.rows:
        with suppress(TypesDiffer):
            part.fields = merge_fields(part.fields, infer_fields([row]))


def _explain(why: str, part: Part, line: int) -> None:
    """pyarrow refused rows that are JSON: say which, as far as it can be found."""
    if "specified twice" in why:
        where = re.search(r"Column\(/?([^)]*)\)", why)
        number = re.search(r"row (\d+)", why)
        row = int(number.group(1)) if number else 0
        at = part.lines[row] if row < len(part.lines) else line
        name = where.group(1) if where else ""
        _add(part, "duplicate_key", at, name, f"The key {name!r} stands twice.", f"键 {name!r} 出现两次。")
        return
    add_odd_rows(part.rows, part.lines, part)
    if not part.problems:
        number = re.search(r"row (\d+)", why)
        row = int(number.group(1)) if number else 0
        at = part.lines[row] if row < len(part.lines) else line
        _add_broken(part, "json_broken", at, why.removeprefix("JSON parse error: "))


def add_odd_rows(rows: list[Any], lines: list[int], part: Part) -> None:
    """Report the rows whose types do not go with the others'."""
    for position, path, kind, usual in find_odd_rows(rows):
        _add(
            part,
            "types_differ",
            lines[position],
            path,
            f"{path} is {kind} here, {usual} elsewhere.",
            f"{path} 在此处是 {kind}，其他行是 {usual}。",
            row=position,
        )


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


# -- one list ----------------------------------------------------------------------------------------------


def _read_list(file: DataFile, encoding: Encoding) -> Iterator[Part]:
    problems = Part()
    if not encoding.is_utf8:
        _add_encoding(problems, encoding.name, encoding.line)
    elif encoding.name == "utf-8-sig":
        _add(
            problems,
            "byte_order_mark",
            1,
            None,
            "A list after a byte order mark is not read.",
            "BOM 之后的 JSON 列表无法读取。",
        )
    if problems.problems:
        yield problems
    size = max(1, file.path.stat().st_size)
    fields: Fields = {}
    with file.path.open("rb") as raw:
        for part in _parse_list(raw, encoding.name):
            fields = _settle(part, fields)
            part.fraction = raw.tell() / size
            yield part


def _settle(part: Part, fields: Fields) -> Fields:
    """Return the fields so far with those of the part; rows that do not go with them are the part's problems."""
    odd = [position for position, row in enumerate(part.rows) if not isinstance(row, dict)]
    for position in odd:
        line = part.lines[position]
        _add(part, "row_not_object", line, None, "The row is not an object.", "该行不是对象。", row=position)
    kept = [(row, line) for row, line in zip(part.rows, part.lines, strict=True) if isinstance(row, dict)]
    part.rows, part.lines = [row for row, _ in kept], [line for _, line in kept]
    try:
        part.fields = merge_fields(fields, infer_fields(part.rows))
    except TypesDiffer as error:
        found = len(part.problems)
        add_odd_rows(part.rows, part.lines, part)
        if len(part.problems) == found:
            line = part.lines[0]
            _add(part, "types_differ", line, error.path, f"{error.detail}", f"{error.detail}", row=0)
        part.fields = fields
    return part.fields


def infer_fields(rows: list[dict[str, Any]]) -> Fields:
    """Return the columns of these rows with the types that pyarrow infers from their values."""
    columns: dict[str, list[Any]] = {}
    for row in rows:
        for name in row:
            columns.setdefault(name, [])
    fields = {}
    for name in columns:
        values = [row.get(name) for row in rows]
        try:
            fields[name] = pa.array(values, from_pandas=True).type
        except UnicodeEncodeError:
            fields[name] = pa.array(clean_surrogates(values), from_pandas=True).type
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise TypesDiffer(name, str(error)) from None
    return fields


def clean_surrogates(value: Any) -> Any:
    """Return the value without halves of surrogate pairs, which are no characters."""
    if isinstance(value, str):
        return value.encode("utf-8", "ignore").decode("utf-8")
    if isinstance(value, list):
        return [clean_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {clean_surrogates(name): clean_surrogates(item) for name, item in value.items()}
    return value


class _Window:
    """The text of a file from some place on, of which what is done with is let go."""

    def __init__(self, raw: BinaryIO, encoding: str) -> None:
        self._raw = raw
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        self.text, self.place, self.line, self.ended = "", 0, 1, False
        self._asked = 0

    def fill(self, size: int = _READ) -> bool:
        """Read on; whether there was more."""
        block = self._raw.read(size)
        self.ended = not block
        self.text = self.text[self.place :] + self._decoder.decode(block, final=self.ended)
        self.place = 0
        return not self.ended

    def go(self, place: int) -> None:
        """Move on, counting lines."""
        self.line += self.text.count("\n", self.place, place)
        self.place = place

    def find_byte(self) -> int | None:
        """Return the byte of the file at which the window stands, every so often, as it takes a while; else None."""
        self._asked += 1
        if self._asked % _ROWS != 1:
            return None
        left = len(self.text[self.place :].encode("utf-8", "surrogatepass"))
        return self._raw.tell() - left - len(self._decoder.getstate()[0])

    def skip(self, pattern: re.Pattern[str]) -> str:
        """Skip what matches, and return the next character, '' at the end."""
        while True:
            match = pattern.match(self.text, self.place)
            self.go(match.end() if match else self.place)
            if self.place < len(self.text) or not self.fill():
                return self.text[self.place : self.place + 1]


def _parse_list(raw: BinaryIO, encoding: str) -> Iterator[Part]:
    window, part = _Window(raw, encoding), Part()
    window.skip(_SPACE)
    window.go(window.place + 1)  # the opening bracket
    expects_row = False
    while True:
        sign = window.skip(_SPACE)
        if sign == "]":
            window.go(window.place + 1)
            if expects_row:
                _add_broken(part, "json_broken", window.line, "a comma before the end of the list")
            if window.skip(_SPACE):
                _add_broken(part, "json_broken", window.line, "more text after the end of the list")
            break
        if sign == "":
            _add_broken(part, "json_truncated", window.line, "the list is not closed")
            break
        line = window.line
        if not _take_row(window, part, line):
            break
        expects_row = window.skip(_SPACE) == ","
        if expects_row:
            window.go(window.place + 1)
        elif window.skip(_SPACE) not in ("]", ""):
            _add_broken(part, "json_broken", window.line, "a comma is missing between two rows")
        if len(part.rows) >= _ROWS:
            yield part
            part = Part()
    yield part


def read_list_from(file: DataFile, place: int, line: int) -> Iterator[tuple[int, int | None, Any]]:
    """Yield (line, byte, row) of a list, from a byte on at which a row begins, 0 for its start."""
    encoding = find_encoding(file.path).name if place == 0 else "utf-8"
    with file.path.open("rb") as raw:
        raw.seek(place)
        window = _Window(raw, encoding)
        window.line = line
        window.skip(_SPACE)
        if place == 0:
            window.go(window.place + 1)
        while True:
            if window.skip(_SPACE_OR_COMMA) in ("]", ""):
                return
            part, number = Part(), window.line
            start = window.find_byte() if encoding == "utf-8" else None
            if not _take_row(window, part, number):
                return
            for row in part.rows:
                yield number, start, row


def _take_row(window: _Window, part: Part, line: int) -> bool:
    """Parse one row; whether one can go on."""
    decoder = json.JSONDecoder(strict=False)
    size = _READ
    while True:
        try:
            row, end = decoder.raw_decode(window.text, window.place)
            if end < len(window.text) or window.ended:
                break
        except (ValueError, RecursionError) as error:
            if window.ended or len(window.text) - window.place > _BIGGEST_ROW:
                return _skip_broken(window, part, line, str(error))
            if len(window.text) - window.place > 4 * _READ and _starts_anew(window):
                return _skip_broken(window, part, line, str(error))
        window.fill(size)
        size *= 2
    window.go(end)
    part.rows.append(row)
    part.lines.append(line)
    return True


_NEXT_ROW = re.compile(r"\n[ \t]*\{")


def _starts_anew(window: _Window) -> bool:
    return _NEXT_ROW.search(window.text, window.place + 1) is not None


def _skip_broken(window: _Window, part: Part, line: int, why: str) -> bool:
    """Report a broken row and go to the next line that begins like a row; whether there is one."""
    found = re.search(r"line (\d+)", why)
    inner = (int(found.group(1)) - 1) if found else 0
    shift = window.text.count("\n", 0, window.place)
    match = _NEXT_ROW.search(window.text, window.place + 1)
    cut = match is None and window.text.rstrip()[-1:] != "]"
    at = window.line + max(0, inner - shift)
    _add_broken(part, "json_truncated" if cut else "json_broken", at, re.sub(r": line .*", "", why))
    if match is None:
        window.go(len(window.text))
        return False
    window.go(match.start() + 1)
    return True


def _add(
    part: Part, code: str, line: int | None, where: str | None, detail: str, zh: str, row: int | None = None
) -> None:
    part.problems.append(FileProblem(code, line, row, where, detail, zh))


def _add_broken(part: Part, code: str, line: int, why: str) -> None:
    _add(part, code, line, None, f"{why}.", f"JSON 解析失败：{why}。")


def _add_encoding(part: Part, name: str, line: int | None) -> None:
    title = {"gb18030": "GBK", "latin-1": "Latin-1"}.get(name, "UTF-16")
    _add(part, "encoding_wrong", line, None, f"It looks like {title}.", f"看起来是 {title} 编码。")
