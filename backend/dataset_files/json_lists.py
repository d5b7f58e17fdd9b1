"""JSON files that are one list, which `datasets` 4.0.0 leaves to pandas, to become one table.

Here a list is read row by row, never whole; whether it would become one table is found from its rows' types.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from backend.dataset_files.arrow_types import Fields, TypesDiffer, merge_fields
from backend.dataset_files.encodings import find_encoding, report_encoding
from backend.dataset_files.json_parts import (
    add_broken,
    add_odd_rows,
    add_problem,
    infer_fields,
    merge_loosely,
)
from backend.dataset_files.reading import DataFile, Part

_ROWS = 1000
_READ = 1 << 18
_BIGGEST_ROW = 256 << 20
_SPACE = re.compile(r"[ \t\n\r]*")
_SPACE_OR_COMMA = re.compile(r"[ \t\n\r,]*")


def read_list(file: DataFile) -> Iterator[Part]:
    """Yield the rows of a list in parts; a part's problems stop the load of the whole."""
    encoding = find_encoding(file.path)
    problems = Part()
    if not encoding.is_utf8:
        problems.problems.append(report_encoding(encoding.name, encoding.line))
    elif encoding.name == "utf-8-sig":
        add_problem(
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
        add_problem(
            part, "row_not_object", line, None, "The row is not an object.", "该行不是对象。", row=position
        )
    kept = [(row, line) for row, line in zip(part.rows, part.lines, strict=True) if isinstance(row, dict)]
    part.rows, part.lines = [row for row, _ in kept], [line for _, line in kept]
    try:
        part.fields = merge_fields(fields, infer_fields(part.rows))
    except TypesDiffer as error:
        found = len(part.problems)
        add_odd_rows(part.rows, part.lines, part)
        if len(part.problems) == found:
            _add_unfit(part, error)
        part.fields = merge_loosely(fields, part.rows)
    return part.fields


def _add_unfit(part: Part, error: TypesDiffer) -> None:
    """Report the row with a value that no column can hold, as a number that is too big, or else the first row."""
    for position, row in enumerate(part.rows):
        try:
            infer_fields([row])
        except TypesDiffer as alone:
            line = part.lines[position]
            add_problem(part, "value_unfit", line, alone.path, alone.detail, alone.detail, row=position)
            return
    add_problem(part, "types_differ", part.lines[0], error.path, error.detail, error.detail, row=0)


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
                add_broken(part, "json_broken", window.line, "a comma before the end of the list")
            if window.skip(_SPACE):
                add_broken(part, "json_broken", window.line, "more text after the end of the list")
            break
        if sign == "":
            add_broken(part, "json_truncated", window.line, "the list is not closed")
            break
        line = window.line
        if not _take_row(window, part, line):
            break
        expects_row = window.skip(_SPACE) == ","
        if expects_row:
            window.go(window.place + 1)
        elif window.skip(_SPACE) not in ("]", ""):
            add_broken(part, "json_broken", window.line, "a comma is missing between two rows")
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
    add_broken(part, "json_truncated" if cut else "json_broken", at, re.sub(r": line .*", "", why))
    if match is None:
        window.go(len(window.text))
        return False
    window.go(match.start() + 1)
    return True
