"""Lists in pages: each page begins after a row that the asker names, found by an index and not by counting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, tuple_
from sqlalchemy.orm import Session

DEFAULT_LIMIT = 20
Row = TypeVar("Row")


@dataclass(frozen=True)
class PageWish:
    """Up to `limit` rows after the one called `after`; without one, the first."""

    limit: int = DEFAULT_LIMIT
    after: str | None = None


@dataclass(frozen=True)
class Page(Generic[Row]):
    """Rows of a list, and whether more follow."""

    rows: Sequence[Row]
    has_more: bool


def read_page(
    session: Session,
    query: Select[Row],
    page: PageWish,
    *key: Any,
    place: Sequence[Any] | None = None,
    ascending: bool = False,
) -> Page[Row]:
    """Return a page of `query`, ordered by the columns `key`, greatest first unless `ascending`.

    The key tells rows apart, and its last column is what `after` names. Of a key of several columns `place` has
    the values that row has in them.
    """
    if page.after is not None:
        there = tuple_(*(place or (page.after,)))
        query = query.where(tuple_(*key) > there if ascending else tuple_(*key) < there)
    order = [column.asc() if ascending else column.desc() for column in key]
    found = session.scalars(query.order_by(*order).limit(page.limit + 1)).all()
    return Page(found[: page.limit], len(found) > page.limit)


def read_page_by_time(
    session: Session, query: Select[Row], table: type[Row], page: PageWish, *, oldest_first: bool = False
) -> Page[Row]:
    """Return a page of a table whose ids do not tell the order of its rows well enough: by moment, then by id."""
    place = None
    if page.after is not None:
        before: Any = session.get(table, page.after)
        if before is None:
            return Page([], has_more=False)
        place = (before.created_at, before.id)
    columns: Any = table
    return read_page(
        session, query, page, columns.created_at, columns.id, place=place, ascending=oldest_first
    )
