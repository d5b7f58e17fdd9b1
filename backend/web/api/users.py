"""Accounts: registering, where that is open."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from backend.domain.spec import Body
from backend.services import users
from backend.web.deps import DatabaseSession

router = APIRouter(tags=["users"])

Username = Annotated[str, Field(min_length=1, max_length=64)]
Password = Annotated[str, Field(min_length=1, max_length=users.MAX_PASSWORD_LENGTH)]


class Registration(Body):
    """A new account."""

    username: Username
    password: Password


@router.post("/users", status_code=201)
def register(body: Registration, session: DatabaseSession) -> dict[str, Any]:
    """Make an account, where registration is open."""
    user = users.register(session, body.username, body.password)
    return {"id": user.id, "username": user.username, "role": user.role}
