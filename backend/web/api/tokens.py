"""API tokens: shown once, stored as hashes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import Field, model_validator

from backend.domain.errors import NotSignedIn
from backend.domain.spec import Body, Moment, PlainText
from backend.services import users
from backend.tables.user import ApiToken
from backend.web.api import shapes
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
            raise ValueError("send both username and password, or neither when signed in")
        return self


@router.post("/tokens", status_code=201)
def create_token(
    body: TokenRequest, request: Request, visitor: Visitor, session: DatabaseSession
) -> dict[str, Any]:
    """Make a token; its text is in this answer and never again."""
    if body.username is not None and body.password is not None:
        user_id = users.authenticate(body.username, body.password, get_address(request))
    elif visitor is not None:
        user_id = visitor.id
    else:
        raise NotSignedIn("Sign in, or send username and password.")
    token, text = users.create_token(session, user_id, body.name, body.expires_at)
    return _show(token) | {"token": text}


@router.get("/tokens")
def list_tokens(user: SignedIn, session: DatabaseSession, paging: Paging) -> dict[str, Any]:
    """Return one's own tokens, without their texts."""
    return show_page([_show(token) for token in users.list_tokens(session, user)], paging)


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
