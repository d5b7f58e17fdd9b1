"""Creating calls that may come twice: the same key and body give the same object, another body is a conflict."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from backend.domain.errors import Conflict
from backend.tables.idempotency import IdempotencyKey


def create_once(
    session: Session, user_id: str, key: str | None, call: str, body: str, create: Callable[[], str]
) -> str:
    """Return the id of the object that `create` makes, or of the one it made before under this key.

    Two calls at the same moment are served one after the other; what a failing call began is rolled back with
    its key.
    """
    if key is None:
        return create()
    body_hash = hashlib.sha256(f"{call}\n{body}".encode()).hexdigest()
    lock = int.from_bytes(hashlib.sha256(f"{user_id}\n{key}".encode()).digest()[:8], "big", signed=True)
    session.execute(select(func.pg_advisory_xact_lock(lock)))
    known = session.get(IdempotencyKey, (user_id, key))
    if known is not None:
        if known.body_hash != body_hash:
            raise Conflict(
                "This Idempotency-Key was used with another body; use a new one.",
                zh="同一请求已用不同内容提交过，请刷新页面后重试。",
                code="idempotency_key_reused",
            )
        return known.object_id
    object_id = create()
    session.add(IdempotencyKey(user_id=user_id, key=key, body_hash=body_hash, object_id=object_id))
    session.flush()
    return object_id
