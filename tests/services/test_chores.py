"""Chores: one open one per subject and kind, claimed once, taken over only from who fell silent."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

import pytest
from sqlalchemy.orm import Session

from backend.database import transaction
from backend.services import chores
from backend.tables.base import utc_now
from backend.tables.chore import Chore

pytestmark = pytest.mark.usefixtures("database")

KIND = "import_dataset"
Value = TypeVar("Value")


def _do(work: Callable[[Session], Value]) -> Value:
    with transaction() as session:
        return work(session)


def _enqueue(subject_id: str = "s", kind: str = KIND) -> str:
    return _do(lambda session: chores.enqueue(session, kind, None, subject_id, {"a": 1}).id)


def _claim() -> Chore | None:
    return _do(lambda session: chores.claim_next(session, [KIND]))


def _age(chore_id: str) -> None:
    with transaction() as session:
        chore = session.get_one(Chore, chore_id)
        chore.heartbeat_at = utc_now() - timedelta(seconds=chores.STALE_SECONDS + 1)


def test_asked_for_by_many_at_once_there_is_one() -> None:
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lambda _: _enqueue(), range(8)))) == 1
    assert _enqueue("other") != _enqueue()
    assert _enqueue(kind="check_dataset") != _enqueue()


def test_claimed_by_many_at_once_each_is_claimed_once() -> None:
    wanted = {_enqueue(f"s{number}") for number in range(5)}
    with ThreadPoolExecutor(4) as pool:
        claimed = [chore.id for chore in pool.map(lambda _: _claim(), range(12)) if chore]
    assert sorted(claimed) == sorted(wanted)


def test_a_kind_that_nobody_here_does_waits() -> None:
    _enqueue(kind="of_another_version")
    assert _claim() is None


def test_who_fell_silent_loses_the_chore_and_may_not_write_any_more() -> None:
    chore_id = _enqueue()
    first = _claim()
    assert first is not None
    assert first.claim is not None
    assert _claim() is None, "its heartbeat is fresh"
    _age(chore_id)
    second = _claim()
    assert second is not None
    assert second.claim is not None
    assert (second.id, second.attempt) == (chore_id, 2)
    for late in (
        lambda session: chores.beat(session, chore_id, str(first.claim), {}),
        lambda session: chores.finish(session, chore_id, str(first.claim), "done", None),
        lambda session: chores.give_back(session, chore_id, str(first.claim), crashed=True),
    ):
        with pytest.raises(chores.ChoreLost):
            _do(late)
    assert _do(lambda session: chores.beat(session, chore_id, str(second.claim), {"stage": "x"})) is False
    done = _do(lambda session: chores.finish(session, chore_id, str(second.claim), "done", None))
    assert (done.status, done.progress) == ("done", {"stage": "x"})
    assert _enqueue() != chore_id, "a chore that has ended is not open"


def test_cancelling_ends_a_queued_one_at_once_and_tells_a_running_one() -> None:
    queued = _enqueue("waits")
    assert _do(lambda session: chores.cancel(session, "waits"))
    assert _do(lambda session: session.get_one(Chore, queued)).status == "cancelled"
    running = _enqueue()
    claimed = _claim()
    assert claimed is not None
    assert claimed.id == running
    assert _do(lambda session: chores.cancel(session, "s"))
    assert _do(lambda session: chores.beat(session, running, str(claimed.claim), None)) is True
    again = _enqueue()
    assert again != running, "asked for anew, the cancelled one is not the answer"
    with pytest.raises(chores.ChoreLost):
        _do(lambda session: chores.beat(session, running, str(claimed.claim), None))
    assert not _do(lambda session: chores.cancel(session, "nobody"))


def test_a_process_that_keeps_dying_is_not_started_for_ever() -> None:
    chore_id = _enqueue()
    for crash in range(chores.MOST_CRASHES):
        claimed = _claim()
        assert claimed is not None
        claim = str(claimed.claim)
        is_queued = _do(lambda session, claim=claim: chores.give_back(session, chore_id, claim, crashed=True))
        assert is_queued == (crash + 1 < chores.MOST_CRASHES)


def test_progress_is_shown_while_it_is_open() -> None:
    def show() -> dict[str, object] | None:
        return _do(lambda session: chores.show_progress(chores.find_last(session, "s")))

    assert show() is None
    chore_id = _enqueue()
    assert show() == {"stage": "queued", "fraction": None}
    claimed = _claim()
    assert claimed is not None
    claim = str(claimed.claim)
    _do(
        lambda session: chores.beat(
            session, chore_id, claim, {"stage": "checking", "fraction": 0.5, "rows": 7}
        )
    )
    assert show() == {"stage": "checking", "fraction": 0.5, "rows": 7}
    _do(lambda session: chores.finish(session, chore_id, claim, "failed", {"code": "x"}))
    assert show() is None
