"""What can be had but is not here: estimated as if it were, and refused when a job is to run with it."""

from __future__ import annotations

from collections.abc import Sequence

from backend.domain.errors import Conflict
from backend.domain.spec import Unfetched
from backend.tables.base_model import BaseModel
from backend.tables.dataset import Dataset

AVAILABLE = "available"
_ON_ITS_WAY = frozenset({AVAILABLE, "downloading", "paused", "importing", "checking", "failed"})


def is_on_its_way(thing: BaseModel | Dataset) -> bool:
    """Whether its facts are known and its files are not all here: a preset that is, or can be, fetched."""
    facts = thing.facts.get("tuneforge", {}) if isinstance(thing, BaseModel) else thing.facts
    return thing.status in _ON_ITS_WAY and facts.get("source") == "preset"


def require_fetched(unfetched: Sequence[Unfetched]) -> None:
    """Refuse a job whose model or datasets are not here yet, and say how to get them."""
    if not unfetched:
        return
    calls = "; ".join(f"POST /api/v1/{one.place}/{one.id}/download" for one in unfetched)
    names = ", ".join(repr(one.name) for one in unfetched)
    names_zh = "、".join(f"“{one.name}”" for one in unfetched)
    raise Conflict(
        f"{names}: not fetched yet. Fetch it first (the button “Fetch”, or {calls}) and submit again when it is ready.",
        zh=f"{names_zh}尚未下载。请先点击“获取”（或调用 {calls}），就绪后再提交。",
        code="not_fetched",
    )
