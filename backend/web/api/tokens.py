"""API tokens: shown once, stored as hashes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from backend.domain.errors import NotSignedIn
from backend.domain.spec import Body, Moment, PlainText
from backend.services import idempotency, users
from backend.tables.user import ApiToken
from backend.web.api import shapes
from backend.web.api.idempotency import Key
from backend.web.api.paging import Paging, show_page
from backend.web.api.users import Password, Username
from backend.web.deps import DatabaseSession, SignedIn, Visitor, get_address

router = APIRouter(tags=["tokens"])


class TokenRequest(Body):
    """Who wants a token: by name and password, or whoever is signed in."""

    username: Username | None = None
    password: Password | None = None
    name: Annotated[PlainText, Field(min_length=1, max_length=80)]
    expires_at: Moment | None = None

    @model_validator(mode="after")
    def _require_both(self) -> TokenRequest:
        if (self.username is None) != (self.password is None):
            message = "send both username and password, or neither when signed in"
            raise PydanticCustomError("half_an_account", message)
        return self


_MADE_BEFORE: dict[str, Any] = {
    "token": None,
    "detail": "This token was made by an earlier call with this key. Its text was in that answer and cannot be "
    "shown again; if you lost it, delete the token and make another.",
    "detail_zh": "此令牌已由先前的同一请求创建，令牌文本只在当时返回，无法再次显示；如已丢失，请删除后重新创建。",
}


@router.post("/tokens", status_code=201)
def create_token(
    body: TokenRequest, request: Request, visitor: Visitor, session: DatabaseSession, key: Key = None
) -> dict[str, Any]:
    """Make a token; its text is in this answer and never again, whatever `Idempotency-Key` says."""
    if body.username is not None and body.password is not None:
        user_id = users.authenticate(body.username, body.password, get_address(request))
    elif visitor is not None:
        user_id = visitor.id
    else:
        raise NotSignedIn("Sign in, or send username and password.")
    shown_once: list[str] = []

    def create() -> str:
        token, text = users.create_token(session, user_id, body.name, body.expires_at)
        shown_once.append(text)
        return token.id

    # A password must not be known by the hash of a body that holds it.
    wanted = body.model_dump_json(exclude={"username", "password"})
    token_id = idempotency.create_once(session, user_id, key, "tokens", wanted, create)
    token = _show(users.get_token(session, user_id, token_id))
    return token | ({"token": shown_once[0]} if shown_once else _MADE_BEFORE)


@router.get("/tokens")
def list_tokens(user: SignedIn, session: DatabaseSession, paging: Paging) -> dict[str, Any]:
    """Return one's own tokens, without their texts."""
    return show_page(users.list_tokens(session, user, paging), _show)


@router.delete("/tokens/{token_id}", status_code=204)
def delete_token(
    token_id: Annotated[str, Path(max_length=40)], user: SignedIn, session: DatabaseSession
) -> None:
    """Delete a token; who uses it is let in no more."""
    users.delete_token(session, user, token_id)


def _show(token: ApiToken) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "prefix": token.prefix,
        "created_at": shapes.show_time(token.created_at),
        "expires_at": shapes.show_time(token.expires_at),
        "last_used_at": shapes.show_time(token.last_used_at),
    }
