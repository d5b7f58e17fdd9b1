"""Who may speak as a node: tokens that an administrator issues, replaces and revokes, one for each node."""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.domain.audit import Action
from backend.domain.errors import Invalid, NotAllowed, NotFound, NotSignedIn, Problem
from backend.services import audit
from backend.services.pages import Page, PageWish, read_page
from backend.services.users import hash_secret
from backend.settings import get_settings
from backend.tables.base import utc_now
from backend.tables.node import NodeToken
from backend.tables.user import User

TOKEN_PREFIX = "tfn_"  # noqa: S105 (what tokens begin with, no secret)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True)
class NodeIdentity:
    """Who speaks: the node of this name, or any node of the platform's own machine when `name` is None."""

    name: str | None

    def require(self, node_name: str) -> None:
        """Refuse a node that speaks in another's name."""
        if self.name not in (None, node_name):
            raise NotAllowed(
                f"This token is of the node {self.name!r} and not of {node_name!r}; set TUNEFORGE_NODE_NAME to it.",
                code="other_node",
            )


def is_platform_token(token: str) -> bool:
    """Whether `token` is the home's own node token, which any node of this machine shows."""
    return hmac.compare_digest(token.encode(), get_settings().node_token.encode())


def identify(session: Session, token: str) -> NodeIdentity:
    """Return which node shows `token`, one that an administrator issued."""
    found = session.scalars(select(NodeToken).where(NodeToken.token_hash == hash_secret(token))).first()
    if found is None:
        raise NotSignedIn(
            "This node token is not good; ask an administrator for a new one.", code="bad_token"
        )
    now = utc_now()
    if found.last_used_at is None or now - found.last_used_at > timedelta(minutes=1):
        found.last_used_at = now
    return NodeIdentity(found.node_name)


def issue_token(session: Session, administrator: User, node_name: str) -> tuple[NodeToken, str]:
    """Make the token of the node `node_name`; an earlier one is good no more. Its text is returned this once."""
    if not _NAME.fullmatch(node_name):
        raise Invalid(
            [
                Problem(
                    ("name",),
                    "use small letters, digits, dots and hyphens, a letter or digit first, 63 at most",
                    "请用小写字母、数字、点和短横线，以字母或数字开头，最多 63 个字符",
                )
            ]
        )
    text = TOKEN_PREFIX + secrets.token_urlsafe(30)
    values = {
        "token_hash": hash_secret(text),
        "prefix": text[:10],
        "created_at": utc_now(),
        "last_used_at": None,
    }
    session.execute(
        insert(NodeToken)
        .values(node_name=node_name, **values)
        .on_conflict_do_update(index_elements=["node_name"], set_=values)
    )
    audit.record(session, Action.NODE_TOKEN_ISSUED, administrator, target=(node_name, node_name))
    return session.get_one(NodeToken, node_name, populate_existing=True), text


def list_tokens(session: Session, page: PageWish) -> Page[NodeToken]:
    """Return a page of the tokens, by node."""
    return read_page(session, select(NodeToken), page, NodeToken.node_name, ascending=True)


def revoke_token(session: Session, administrator: User, node_name: str) -> None:
    """Shut a node out: it can report nothing any more, and ends what it runs after `fence_seconds`."""
    done = session.execute(
        delete(NodeToken).where(NodeToken.node_name == node_name).returning(NodeToken.node_name)
    )
    if done.first() is None:
        raise NotFound("No token was issued for this node.", zh="没有为该节点签发过令牌。")
    audit.record(session, Action.NODE_TOKEN_REVOKED, administrator, target=(node_name, node_name))
