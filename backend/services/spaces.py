"""How much a person stores, and may: uploads on their way, datasets and files count together."""

from __future__ import annotations

import time
from datetime import timedelta

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from backend import storage_files, storage_uploads
from backend.domain.audit import Action
from backend.domain.errors import NoRoom, TooLarge
from backend.services import audit
from backend.settings import get_settings
from backend.tables.base import utc_now
from backend.tables.base_model import BaseModel
from backend.tables.dataset import Dataset
from backend.tables.upload import Upload
from backend.tables.user import User

_ORPHAN_SECONDS = 3600.0


def get_quota(user: User) -> int:
    """Return how many bytes a person may store: as an administrator set for them, else as the setting says."""
    own = user.storage_quota_bytes
    return own if own is not None else get_settings().storage_quota_bytes


def set_quota(session: Session, administrator: User, user: User, quota_bytes: int | None) -> None:
    """Set how many bytes a person may store; None: as the setting says. What they have already is left alone."""
    user.storage_quota_bytes = quota_bytes
    audit.record(
        session,
        Action.USER_CHANGED,
        administrator,
        target=(user.id, user.username),
        storage_quota_bytes=quota_bytes,
    )


def measure_used(session: Session, user: User) -> int:
    """Return how many bytes count against a person's quota; an upload counts with its whole size from its start."""
    datasets = select(func.coalesce(func.sum(Dataset.size_bytes), 0)).where(Dataset.owner_id == user.id)
    on_their_way = select(func.coalesce(func.sum(Upload.size_bytes), 0)).where(
        Upload.owner_id == user.id, or_(Upload.purpose == "dataset", Upload.status == "receiving")
    )
    # What a job left is a model too, but its files are the job's.
    models = select(func.coalesce(func.sum(BaseModel.size_bytes), 0)).where(
        BaseModel.owner_id == user.id, BaseModel.source != "job"
    )
    counted = sum(session.scalar(query) or 0 for query in (datasets, on_their_way, models))
    return int(counted) + storage_files.measure_space(user.id)


def require_room(session: Session, user: User, size_bytes: int, had_bytes: int = 0) -> None:
    """Refuse at once what would not fit: TooLarge for the person's quota, NoRoom for the disk.

    Two calls of one person at the same moment are answered one after the other. `had_bytes` of it are on the disk.
    """
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"space {user.id}", 0))))
    left = max(0, get_quota(user) - measure_used(session, user))
    if size_bytes > left:
        raise TooLarge(
            f"This needs {size_bytes} bytes and {left} of your space are left. Delete what you do not need, "
            "or ask an administrator for more.",
            zh=f"需要 {size_bytes} 字节，而您的空间只剩 {left} 字节。请删除不需要的内容，或联系管理员增加配额。",
            code="quota_exceeded",
        )
    require_disk(session, max(0, size_bytes - had_bytes))


def require_disk(session: Session, size_bytes: int) -> None:
    """Refuse what the disk has no room for, beside what uploads on their way were promised."""
    promised = sum(
        max(0, upload.size_bytes - storage_uploads.measure_received(upload.id))
        for upload in session.scalars(select(Upload).where(Upload.status == "receiving"))
    )
    if size_bytes > storage_uploads.measure_free_bytes() - promised:
        raise NoRoom(
            "The platform's disk has no room for this at the moment. Ask an administrator.",
            zh="平台磁盘空间不足，请联系管理员。",
        )


def sweep_uploads(session: Session) -> int:
    """Drop uploads that expired, and bytes that belong to none; return how many files went."""
    expired = select(Upload.id).where(Upload.expires_at < utc_now(), Upload.status != "used")
    gone = list(session.scalars(expired))
    session.execute(delete(Upload).where(Upload.id.in_(gone)))
    known = {row.id: row for row in session.scalars(select(Upload))}
    dropped = 0
    for upload_id, grew_at in storage_uploads.list_uploads():
        row = known.get(upload_id)
        is_taken_in = row is not None and row.purpose == "file" and row.status == "complete"
        is_orphan = row is None and (upload_id in gone or grew_at < time.time() - _ORPHAN_SECONDS)
        if is_orphan or is_taken_in:
            storage_uploads.delete_upload(upload_id)
            dropped += 1
    return dropped


def get_expiry_delta() -> timedelta:
    """Return for how long an upload that does not go on is kept."""
    return timedelta(hours=get_settings().upload_hours)
