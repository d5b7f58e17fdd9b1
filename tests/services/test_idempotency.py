"""A creating call that comes twice makes one object."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from backend.database import transaction
from backend.domain.errors import Conflict
from backend.services import pruning
from backend.services.idempotency import create_once
from backend.tables.base import utc_now
from backend.tables.idempotency import IdempotencyKey
from backend.tables.job import Job
from tests.factories import make_user, submit_job

pytestmark = pytest.mark.usefixtures("database")


def _create(user_id: str, key: str | None, body: str = "{}") -> str:
    with transaction() as session:
        return create_once(session, user_id, key, "jobs", body, lambda: submit_job(user_id))


def _count_jobs() -> int:
    with transaction() as session:
        return session.scalar(select(func.count(Job.id))) or 0


def test_the_same_key_and_body_give_the_same_object() -> None:
    ann, bob = make_user("ann"), make_user("bob")
    assert _create(ann, "k") == _create(ann, "k")
    assert _count_jobs() == 1
    with pytest.raises(Conflict) as caught:
        _create(ann, "k", '{"other": 1}')
    assert caught.value.code == "idempotency_key_reused"
    # Keys are a person's own, and a call without one is always new.
    assert _create(bob, "k") != _create(ann, "k")
    assert _create(ann, None) != _create(ann, None)
    assert _count_jobs() == 4


def test_many_at_once_make_one() -> None:
    user_id = make_user("ann")
    start = threading.Barrier(6)

    def call(_: int) -> str:
        start.wait()
        return _create(user_id, "k")

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(call, range(6)))) == 1
    assert _count_jobs() == 1


def test_a_call_that_failed_leaves_its_key_free() -> None:
    user_id = make_user("ann")

    def fail() -> str:
        raise Conflict("no")

    with pytest.raises(Conflict), transaction() as session:
        create_once(session, user_id, "k", "jobs", "{}", fail)
    assert _create(user_id, "k", '{"other": 1}')


def test_keys_are_forgotten_after_their_days() -> None:
    user_id = make_user("ann")
    first = _create(user_id, "k")
    with transaction() as session:
        past = utc_now() - timedelta(days=pruning.IDEMPOTENCY_DAYS, seconds=1)
        session.execute(update(IdempotencyKey).values(created_at=past))
        pruning.prune(session)
    assert _create(user_id, "k") != first
