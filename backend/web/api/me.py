"""One's own account: password, language, and the SwanLab key."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import Field

from backend.domain.pricing import format_money
from backend.domain.spec import Body, PlainText
from backend.services import billing, swanlab_access, users
from backend.tables.user import User
from backend.web.api import shapes
from backend.web.api.users import Password
from backend.web.deps import SESSION_COOKIE, DatabaseSession, SignedIn, SignedInId, get_address

router = APIRouter(tags=["me"])


def _show(session: DatabaseSession, user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "username": user.username,
        "role": user.role,
        "language": user.language,
        "balance": format_money(user.balance_e4, billing.get_currency()),
        "swanlab": swanlab_access.describe(swanlab_access.find_access(session, user)),
        "created_at": shapes.show_time(user.created_at),
    }


@router.get("/me")
def get_me(user: SignedIn, session: DatabaseSession) -> dict[str, Any]:
    """Return who is asking."""
    return _show(session, user)


class MeChange(Body):
    """What of one's account can be changed; a null language follows the browser."""

    language: Literal["zh", "en"] | None


@router.patch("/me")
def change_me(body: MeChange, user: SignedIn, session: DatabaseSession) -> dict[str, Any]:
    """Choose a language."""
    users.set_language(session, user, body.language)
    return _show(session, user)


class PasswordChange(Body):
    """The present password and the new one."""

    current_password: Password
    new_password: Password


@router.post("/me/password", status_code=204)
def change_password(body: PasswordChange, request: Request, user_id: SignedInId) -> None:
    """Change one's password; all other browsers are signed out."""
    keep, address = request.cookies.get(SESSION_COOKIE), get_address(request)
    users.change_password(user_id, body.current_password, body.new_password, address, keep_session=keep)


class SwanlabKey(Body):
    """A SwanLab key, and where its SwanLab is when self-hosted."""

    api_key: Annotated[PlainText, Field(min_length=1, max_length=200, repr=False)]
    host: Annotated[str, Field(max_length=300)] | None = None
    web_host: Annotated[str, Field(max_length=300)] | None = None
    workspace: Annotated[PlainText, Field(min_length=1, max_length=100)] | None = None


@router.put("/me/swanlab")
def set_swanlab_key(body: SwanlabKey, request: Request, user_id: SignedInId) -> dict[str, Any]:
    """Check a key and keep it, sealed; a rejected one is not kept."""
    return swanlab_access.set_key(
        user_id, body.api_key, body.host, body.web_host, body.workspace, address=get_address(request)
    )


@router.delete("/me/swanlab", status_code=204)
def forget_swanlab_key(user: SignedIn, session: DatabaseSession) -> None:
    """Forget the key."""
    swanlab_access.forget_key(session, user)


@router.post("/me/swanlab/verify")
def verify_swanlab_key(user_id: SignedInId) -> dict[str, Any]:
    """Check the kept key again."""
    return swanlab_access.verify_key(user_id)
