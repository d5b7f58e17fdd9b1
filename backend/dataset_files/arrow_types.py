"""How types of columns come together in the readers of `datasets` 4.0.0, which decide whether a file loads at all."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

Fields = dict[str, pa.DataType]


class TypesDiffer(Exception):
    """Two parts of a file cannot be one table; `path` is the field, `new_column` whether it is a new one."""

    def __init__(self, path: str, detail: str, *, new_column: bool = False) -> None:
        super().__init__(detail)
        self.path, self.detail, self.new_column = path, detail, new_column


def merge_types(first: pa.DataType, second: pa.DataType, path: str = "") -> pa.DataType:
    """Return the type of a column of which two parts were inferred apart, as if inferred from the whole."""
    if first == second or pa.types.is_null(second):
        return first
    if pa.types.is_null(first):
        return second
    if pa.types.is_struct(first) and pa.types.is_struct(second):
        return pa.struct(list(merge_fields(_get_fields(first), _get_fields(second), path).items()))
    if pa.types.is_list(first) and pa.types.is_list(second):
        return pa.list_(merge_types(first.value_type, second.value_type, f"{path}[…]"))
    if all(pa.types.is_integer(one) or pa.types.is_floating(one) for one in (first, second)):
        return pa.float64()
    raise TypesDiffer(path, f"{describe_type(first)} / {describe_type(second)}")


def merge_fields(first: Fields, second: Fields, path: str = "") -> Fields:
    """Merge two sets of fields; what only one has is null in the other."""
    merged = dict(first)
    for name, kind in second.items():
        where = f"{path}.{name}" if path else name
        merged[name] = merge_types(merged[name], kind, where) if name in merged else kind
    return merged


def check_cast(later: Fields, settled: Fields) -> None:
    """Check that a later part of a file fits the types that the first part settled.

    Raises TypesDiffer where `datasets` raises a CastError or TypeError.
    """
    for name in later:
        if name not in settled:
            raise TypesDiffer(name, "a column that the first rows lack", new_column=True)
    for name, kind in later.items():
        _check_type(kind, settled[name], name)


def _check_type(kind: pa.DataType, settled: pa.DataType, path: str) -> None:
    if kind == settled or pa.types.is_null(kind):
        return
    if pa.types.is_struct(kind) and pa.types.is_struct(settled):
        fields, wanted = _get_fields(kind), _get_fields(settled)
        for name in fields:
            if name not in wanted:
                raise TypesDiffer(f"{path}.{name}", "a field that the first rows lack", new_column=True)
        for name, one in fields.items():
            _check_type(one, wanted[name], f"{path}.{name}")
        return
    if pa.types.is_list(kind) and pa.types.is_list(settled):
        _check_type(kind.value_type, settled.value_type, f"{path}[…]")
        return
    nested = pa.types.is_nested(kind) or pa.types.is_nested(settled)
    if not nested and not pa.types.is_null(settled):
        # Numbers and times become text where the first rows hold text; text becomes what can be parsed as it.
        if pa.types.is_string(settled) or not pa.types.is_string(kind):
            return
        raise TypesDiffer(path, f"{describe_type(settled)} / {describe_type(kind)}")
    raise TypesDiffer(path, f"{describe_type(settled)} / {describe_type(kind)}")


def _get_fields(kind: Any) -> Fields:
    return {kind.field(number).name: kind.field(number).type for number in range(kind.num_fields)}


def get_schema_fields(schema: pa.Schema) -> Fields:
    """Return the columns of a table with their types."""
    return {field.name: field.type for field in schema}


def holds_times(fields: Fields) -> bool:
    """Whether any value was taken for a time, as pyarrow takes text that looks like one."""
    return any(_holds_time(kind) for kind in fields.values())


def _holds_time(kind: Any) -> bool:
    if pa.types.is_list(kind):
        return _holds_time(kind.value_type)
    if pa.types.is_struct(kind):
        return holds_times(_get_fields(kind))
    return bool(pa.types.is_temporal(kind))


def find_field(fields: Fields, path: list[str]) -> pa.DataType | None:
    """Return the type at a path of names, through lists; None where there is none."""
    kind: Any = fields.get(path[0])
    for name in path[1:]:
        while kind is not None and pa.types.is_list(kind):
            kind = kind.value_type
        if kind is None or not pa.types.is_struct(kind):
            return None
        kind = _get_fields(kind).get(name)
    return kind


def describe_type(kind: pa.DataType) -> str:
    """Return a type in a word."""
    for name, is_kind in _NAMES.items():
        if is_kind(kind):
            return name
    return str(kind)


_NAMES: dict[str, Any] = {
    "text": pa.types.is_string,
    "truth value": pa.types.is_boolean,
    "number": lambda kind: pa.types.is_integer(kind) or pa.types.is_floating(kind),
    "list": pa.types.is_list,
    "object": pa.types.is_struct,
    "time": pa.types.is_temporal,
    "null": pa.types.is_null,
}
