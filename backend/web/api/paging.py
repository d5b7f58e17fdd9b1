"""Lists that are short enough to be read whole: given whole, or in the pages that the asker wants."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query


class _Wanted:
    """`limit` rows after the one called `after`; without a limit, all that follow."""

    def __init__(
        self,
        limit: Annotated[int | None, Query(ge=1, le=100)] = None,
        after: Annotated[str | None, Query(max_length=500)] = None,
    ) -> None:
        self.limit = limit
        self.after = after


Paging = Annotated[_Wanted, Depends()]


def show_page(rows: list[dict[str, Any]], wanted: _Wanted, key: str = "id") -> dict[str, Any]:
    """Return the wanted part of `rows` as the contract shows lists; `key` is what tells the rows apart."""
    start = 0
    if wanted.after is not None:
        found = (place for place, row in enumerate(rows, start=1) if row[key] == wanted.after)
        start = next(found, len(rows))
    end = len(rows) if wanted.limit is None else start + wanted.limit
    page, has_more = rows[start:end], end < len(rows)
    return {"data": page, "has_more": has_more, "next": page[-1][key] if has_more else None}
