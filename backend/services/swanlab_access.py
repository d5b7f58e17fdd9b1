"""A person's SwanLab key: entered, checked, kept sealed, and handed to their runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from backend import swanlab
from backend.database import transaction
from backend.domain.audit import Action
from backend.domain.errors import NotFound
from backend.services import audit
from backend.settings import get_settings
from backend.swanlab import KeyCheck
from backend.tables.base import utc_now
from backend.tables.user import SwanlabAccess, User


@dataclass(frozen=True)
class Credentials:
    """What a run needs to be tracked in the cloud."""

    api_key: str = field(repr=False)
    host: str
    web_host: str
    workspace: str | None


def set_key(
    user_id: str,
    api_key: str,
    host: str | None,
    web_host: str | None,
    workspace: str | None,
    *,
    address: str | None = None,
) -> dict[str, Any]:
    """Check a key and keep it; a rejected one is not kept. The network is asked outside any transaction."""
    host = swanlab.normalize_host(host or swanlab.DEFAULT_HOST, "host")
    web_host = swanlab.normalize_host(web_host, "web_host") if web_host else _guess_web_host(host)
    check = swanlab.check_key(api_key, host, web_host)
    if check.status == "rejected":
        return describe(None) | {
            "status": "rejected",
            "host": host,
            "web_host": web_host,
            "detail": check.detail,
            "detail_zh": check.detail_zh,
        }
    with transaction() as session:
        # Two keys entered at once are written one after the other.
        user = session.get_one(User, user_id, with_for_update={"key_share": True})
        access = session.get(SwanlabAccess, user_id) or SwanlabAccess(user_id=user_id)
        access.sealed_key = swanlab.seal_key(_get_secret(), user_id, api_key)
        access.masked_key = swanlab.mask_key(api_key)
        access.host, access.web_host, access.workspace = host, web_host, workspace
        _note_check(access, check)
        session.add(access)
        session.flush()
        audit.record(session, Action.SWANLAB_KEY_SET, user, address=address, host=host, status=check.status)
        return describe(access, check)


def _guess_web_host(host: str) -> str:
    """A self-hosted SwanLab serves pages and interface at one address; the cloud has two."""
    return swanlab.DEFAULT_WEB_HOST if host == swanlab.DEFAULT_HOST else host


def verify_key(user_id: str) -> dict[str, Any]:
    """Check the kept key again; one that is rejected now is kept, marked, and not used."""
    with transaction() as session:
        access = session.get(SwanlabAccess, user_id)
        if access is None:
            raise NotFound(
                "You have no SwanLab key here; enter one first.", zh="尚未配置 SwanLab 密钥，请先填写。"
            )
        credentials = _open(access)
    check = swanlab.check_key(credentials.api_key, credentials.host, credentials.web_host)
    with transaction() as session:
        access = session.get(SwanlabAccess, user_id)
        if access is None:
            raise NotFound("The key was forgotten meanwhile.", zh="密钥刚刚已被移除。")
        _note_check(access, check)
        return describe(access, check)


def forget_key(session: Session, user: User) -> None:
    """Forget a person's key."""
    access = session.get(SwanlabAccess, user.id)
    if access is not None:
        session.delete(access)
        audit.record(session, Action.SWANLAB_KEY_FORGOTTEN, user)


def describe(access: SwanlabAccess | None, check: KeyCheck | None = None) -> dict[str, Any]:
    """Return the `swanlab` object of the contract; the key itself is never in it.

    `detail` and `detail_zh` say what came of a `check` made just now.
    """
    if access is None:
        return {
            "status": "unset",
            "masked_key": None,
            "host": None,
            "web_host": None,
            "workspace": None,
            "username": None,
            "checked_at": None,
            "detail": None,
            "detail_zh": None,
        }
    return {
        "status": access.status,
        "masked_key": access.masked_key,
        "host": access.host,
        "web_host": access.web_host,
        "workspace": access.workspace,
        "username": access.username,
        "checked_at": access.checked_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "detail": check.detail if check else None,
        "detail_zh": check.detail_zh if check else None,
    }


def find_access(session: Session, user: User) -> SwanlabAccess | None:
    """Return a person's SwanLab access, if they entered any."""
    return session.get(SwanlabAccess, user.id)


def choose_mode(session: Session, user: User) -> str:
    """Return how a person's next train job is tracked: `cloud` with a key that may be good, else `local`.

    An unverified key of an unreachable host counts: the run itself asks again and falls back by itself.
    """
    access = session.get(SwanlabAccess, user.id)
    return "cloud" if access is not None and access.status in ("verified", "unreachable") else "local"


def find_credentials(session: Session, user: User) -> Credentials | None:
    """Return a person's key for a run, or None when there is none to use."""
    access = session.get(SwanlabAccess, user.id)
    if access is None or access.status == "rejected":
        return None
    try:
        return _open(access)
    except swanlab.SealBroken:
        return None


def _open(access: SwanlabAccess) -> Credentials:
    api_key = swanlab.open_key(_get_secret(), access.user_id, access.sealed_key)
    return Credentials(api_key, access.host, access.web_host, access.workspace)


def _note_check(access: SwanlabAccess, check: KeyCheck) -> None:
    access.status = check.status
    access.username = check.username or access.username
    access.checked_at = utc_now()


def _get_secret() -> bytes:
    return get_settings().secret_key.encode()
