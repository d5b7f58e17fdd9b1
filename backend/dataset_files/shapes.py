"""Which rows of a part of a file have types that do not go with the others, found only once a load has failed."""

from __future__ import annotations

from collections import Counter
from typing import Any

_KINDS = {type(None): "null", bool: "truth value", int: "number", float: "number", str: "text"}


def find_odd_rows(rows: list[Any]) -> list[tuple[int, str, str, str]]:
    """Return (position, field, its type there, the usual type) for each row that differs from most."""
    counts: dict[str, Counter[str]] = {}
    shapes = [list_kinds(row) for row in rows]
    for shape in shapes:
        for path, kind in set(shape):
            counts.setdefault(path, Counter())[kind] += 1
    usual = {path: counter.most_common(1)[0][0] for path, counter in counts.items()}
    odd = []
    for position, shape in enumerate(shapes):
        for path, kind in shape:
            if kind != usual[path]:
                odd.append((position, path, kind, usual[path]))
                break
    # Within one row, too, a list may mix types: then no type is usual, and the row itself is the odd one.
    known = {position for position, *_ in odd}
    for position, shape in enumerate(shapes):
        kinds: dict[str, str] = {}
        for path, kind in shape:
            if kinds.setdefault(path, kind) != kind and position not in known:
                odd.append((position, path, kind, kinds[path]))
                known.add(position)
    return sorted(odd)


def list_kinds(value: Any, path: str = "") -> list[tuple[str, str]]:
    """Return (path, kind) of all that a value holds, nulls left out."""
    if isinstance(value, dict):
        found = [(path, "object")]
        for name, item in value.items():
            found += list_kinds(item, f"{path}.{name}" if path else str(name))
        return found
    if isinstance(value, list):
        found = [(path, "list")]
        for item in value:
            found += list_kinds(item, f"{path}[…]")
        return found
    kind = _KINDS.get(type(value), type(value).__name__)
    return [] if kind == "null" else [(path, kind)]
