"""Lists as the contract shows them: `limit` rows after the one called `after`, 20 when nothing is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Query

from backend.services.pages import DEFAULT_LIMIT, Page, PageWish

Row = TypeVar("Row")


def _read_wish(
    limit: Annotated[int, Query(ge=1, le=100)] = DEFAULT_LIMIT,
    after: Annotated[str | None, Query(max_length=500)] = None,
) -> PageWish:
    return PageWish(limit, after)


Paging = Annotated[PageWish, Depends(_read_wish)]


def show_page(page: Page[Row], show: Callable[[Row], dict[str, Any]], key: str = "id") -> dict[str, Any]:
    """Return a page as JSON; `key` of its last row is where the next one begins."""
    data = [show(row) for row in page.rows]
    return {"data": data, "has_more": page.has_more, "next": data[-1][key] if page.has_more else None}


def cut_page(rows: Sequence[dict[str, Any]], wanted: PageWish, key: str = "id") -> Page[dict[str, Any]]:
    """Return the wanted page of rows that are all at hand; `key` tells them apart."""
    start = 0
    if wanted.after is not None:
        found = (place for place, row in enumerate(rows, start=1) if row[key] == wanted.after)
        start = next(found, len(rows))
    end = start + wanted.limit
    return Page(rows[start:end], end < len(rows))
