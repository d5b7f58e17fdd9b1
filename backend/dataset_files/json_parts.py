"""What the readers of JSON share: how they report what is broken, and the types of rows."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pyarrow as pa

from backend.dataset_files.arrow_types import Fields, TypesDiffer, merge_fields
from backend.dataset_files.reading import FileProblem, Part
from backend.dataset_files.shapes import find_odd_rows


def add_odd_rows(rows: list[Any], lines: list[int], part: Part) -> None:
    """Report the rows whose types do not go with the others'."""
    for position, path, kind, usual in find_odd_rows(rows):
        add_problem(
            part,
            "types_differ",
            lines[position],
            path,
            f"{path} is {kind} here, {usual} elsewhere.",
            f"{path} 在此处是 {kind}，其他行是 {usual}。",
            row=position,
        )


def merge_loosely(fields: Fields, rows: list[dict[str, Any]]) -> Fields:
    """Merge the columns of rows that do not go together, as far as they do."""
    for row in rows:
        for name, value in row.items():
            with suppress(TypesDiffer):
                fields = merge_fields(fields, infer_fields([{name: value}]))
            fields.setdefault(name, pa.null())
    return fields


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


def add_problem(
    part: Part, code: str, line: int | None, where: str | None, detail: str, zh: str, row: int | None = None
) -> None:
    """Report a problem of a part of a file."""
    part.problems.append(FileProblem(code, line, row, where, detail, zh))


def add_broken(part: Part, code: str, line: int, why: str) -> None:
    """Report broken JSON, with the parser's word on it."""
    add_problem(part, code, line, None, f"{why}.", f"JSON 解析失败：{why}。")
