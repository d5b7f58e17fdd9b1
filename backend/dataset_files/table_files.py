"""CSV, Parquet, Arrow and text files, read in parts as `datasets` 4.0.0 reads them."""

from __future__ import annotations

import csv
import math
import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from backend.dataset_files.arrow_types import Fields, get_schema_fields
from backend.dataset_files.encodings import find_encoding, report_encoding
from backend.dataset_files.reading import DataFile, FileProblem, Part
from backend.dataset_files.table_pages import choose_row_count, open_parquet

_CSV_ROWS = 10_000
_ROWS = 1000
_EMPTY = {"", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>"}
_EMPTY |= {"N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"}
"""What pandas reads as no value."""
_INTEGER = re.compile(r"\s*[+-]?\d+\s*")
_TRUTHS = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}


def read_text(file: DataFile) -> Iterator[Part]:
    """Yield the lines of a text file as rows with one column, `text`."""
    encoding = find_encoding(file.path)
    part = Part(fields={"text": pa.string()})
    name = "utf-8" if encoding.is_utf8 else encoding.name
    if not encoding.is_utf8:
        part.problems.append(report_encoding(encoding.name, encoding.line))
    size, read = max(1, file.path.stat().st_size), 0
    with file.path.open(encoding=name, errors="replace") as lines:
        for number, text in enumerate(lines, start=1):
            part.rows.append({"text": text.rstrip("\n")})
            part.lines.append(number)
            read += len(text)
            if len(part.rows) >= _ROWS:
                part.fraction = min(1.0, read / size)
                yield part
                part = Part(fields={"text": pa.string()})
    yield part


# -- CSV ---------------------------------------------------------------------------------------------------


def read_csv(file: DataFile) -> Iterator[Part]:
    """Yield the rows of a CSV file with a header, in parts of 10,000 rows whose columns get one type each."""
    encoding = find_encoding(file.path)
    problems = [] if encoding.is_utf8 else [report_encoding(encoding.name, encoding.line)]
    csv.field_size_limit(sys.maxsize)
    name = "utf-8-sig" if encoding.is_utf8 else encoding.name
    size, part = max(1, file.path.stat().st_size), Part(problems=problems)
    with file.path.open(encoding=name, errors="replace", newline="") as text:
        counter = _LineCounter(text)
        reader = csv.reader(counter)
        header = next((row for row in reader if _is_filled(row)), None)
        if header is None:
            yield part
            return
        names = _name_columns(header)
        for cells, line in _read_cells(reader, counter, part, len(names)):
            if not part.rows and len(cells) > len(names):
                # pandas takes what the first row has too much, at its beginning, for an index.
                names = [f"__index_level_{at}__" for at in range(len(cells) - len(names))] + names
            part.rows.append(dict(zip(names, cells + [None] * (len(names) - len(cells)), strict=True)))
            part.lines.append(line)
            if len(part.rows) >= _CSV_ROWS:
                yield _type_columns(part, names, counter.read / size)
                part = Part()
    yield _type_columns(part, names, 1.0)


class _LineCounter:
    """Lines as they are read; after a row, `last` is its last line. An open quote at the end is to be told."""

    def __init__(self, text: Any) -> None:
        self._text, self.last, self.read = text, 0, 0
        self.record: list[str] = []

    def __iter__(self) -> _LineCounter:
        return self

    def __next__(self) -> str:
        line: str = next(self._text)
        if "\0" in line:
            line = line.replace("\0", "")
        self.last += 1
        self.read += len(line)
        self.record.append(line)
        return line


def _is_filled(row: list[str]) -> bool:
    return bool(row) and not (len(row) == 1 and not row[0].strip())


def _name_columns(header: list[str]) -> list[str]:
    names: list[str] = []
    for number, name in enumerate(header):
        name = name or f"Unnamed: {number}"
        again, base = 0, name
        while name in names:
            again += 1
            name = f"{base}.{again}"
        names.append(name)
    return names


def _read_cells(
    reader: Any, counter: _LineCounter, part: Part, width: int
) -> Iterator[tuple[list[str | None], int]]:
    """Yield the cells of each row with its first line; one with more than the first row and the header has is broken."""
    first = True
    while True:
        line = counter.last + 1
        counter.record = []
        try:
            cells = next(reader, None)
        except csv.Error as error:
            part.problems.append(
                FileProblem("csv_broken", line, None, None, f"{error}.", f"CSV 解析失败：{error}。")
            )
            return
        if cells is None:
            return
        if counter.record and _is_open(counter.record):
            part.problems.append(
                FileProblem("csv_broken", line, None, None, "A quote is not closed.", "引号没有闭合。")
            )
            return
        if not _is_filled(cells):
            continue
        width, first = max(width, len(cells)) if first else width, False
        if len(cells) > width:
            part.problems.append(
                FileProblem(
                    "csv_broken",
                    line,
                    None,
                    None,
                    f"{len(cells)} fields where there should be {width}.",
                    f"该行有 {len(cells)} 个字段，而应为 {width} 个。",
                )
            )
            continue
        yield list(cells), line


def _is_open(record: list[str]) -> bool:
    """Whether a row ends with the file, in the middle of quotes."""
    if '"' not in record[0]:
        return False
    try:
        list(csv.reader(record, strict=True))
    except csv.Error as error:
        return "unexpected end" in str(error)
    return False


def _type_columns(part: Part, names: list[str], fraction: float) -> Part:
    """Give each column the type that pandas infers for it: whole numbers, numbers, truth values or text."""
    part.fields, part.fraction = {}, min(1.0, fraction)
    for name in names:
        cells = [row[name] for row in part.rows]
        values = [None if cell is None or cell in _EMPTY else cell for cell in cells]
        kind, convert = _infer_column([value for value in values if value is not None])
        part.fields[name] = kind
        for row, value in zip(part.rows, values, strict=True):
            row[name] = None if value is None else convert(value)
    return part


def _infer_column(values: list[str]) -> tuple[pa.DataType, Callable[[str], Any]]:
    if not values:
        return pa.float64(), str
    if all(_INTEGER.fullmatch(value) for value in values):
        return pa.int64(), int
    if all(value in _TRUTHS for value in values):
        return pa.bool_(), _TRUTHS.__getitem__
    if all(_is_number(value) for value in values):
        return pa.float64(), float
    return pa.string(), str


def _is_number(value: str) -> bool:
    try:
        return not math.isnan(float(value)) and "_" not in value
    except ValueError:
        return False


# -- Parquet and Arrow -------------------------------------------------------------------------------------


def read_parquet(file: DataFile) -> Iterator[Part]:
    """Yield the rows of a Parquet file; lines count its rows from 1."""
    try:
        source = open_parquet(file.path)
        fields = get_schema_fields(source.schema_arrow)
        total, first = max(1, source.metadata.num_rows), 0
        for group in range(source.num_row_groups):
            facts = source.metadata.row_group(group)
            rows = choose_row_count(facts.total_byte_size, facts.num_rows, _ROWS)
            for batch in source.iter_batches(batch_size=rows, row_groups=[group]):
                yield _make_part(batch, fields, first, total)
                first += batch.num_rows
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        yield _report_damage(error)


def read_arrow(file: DataFile) -> Iterator[Part]:
    """Yield the rows of an Arrow file, a stream or a file of batches; lines count its rows from 1."""
    try:
        with pa.memory_map(str(file.path)) as raw:
            try:
                reader = pa.ipc.open_stream(raw)
                batches: Iterator[Any] = iter(reader)
            except (OSError, pa.ArrowInvalid):
                reader = pa.ipc.open_file(raw)
                batches = (reader.get_batch(number) for number in range(reader.num_record_batches))
            fields, first = get_schema_fields(reader.schema), 0
            for batch in batches:
                rows = choose_row_count(batch.nbytes, batch.num_rows, _ROWS)
                for start in range(0, batch.num_rows, rows):
                    yield _make_part(batch.slice(start, rows), fields, first, 0)
                    first += min(rows, batch.num_rows - start)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        yield _report_damage(error)


def _make_part(batch: Any, fields: Fields, first: int, total: int) -> Part:
    part = Part(fields=fields, fraction=(first + batch.num_rows) / total if total else 0.5)
    part.lines = list(range(first + 1, first + batch.num_rows + 1))
    try:
        part.rows = batch.to_pylist()
    except UnicodeDecodeError as error:
        part.rows = [{} for _ in part.lines]
        part.problems.append(
            FileProblem("value_unfit", first + 1, None, None, f"{error}", f"文本不是 UTF-8：{error}")
        )
    return part


def _report_damage(error: Exception) -> Part:
    text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return Part(problems=[FileProblem("table_broken", None, None, None, text, f"无法读取：{text}")])
