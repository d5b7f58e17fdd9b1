"""People: registering, signing in and out, sessions and API tokens. Secrets are stored as hashes only."""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from datetime import datetime, timedelta
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.database import transaction
from backend.domain.audit import Action
from backend.domain.errors import (
    Conflict,
    Invalid,
    NotAllowed,
    NotFound,
    NotSignedIn,
    Problem,
)
from backend.domain.usernames import normalize_username
from backend.services import audit, throttling
from backend.services.pages import Page, PageWish, read_page
from backend.settings import get_settings
from backend.tables.base import new_id, utc_now
from backend.tables.user import ApiToken, FailedLogin, User
from backend.tables.user import Session as BrowserSession

ADMINISTRATOR_NAME = "admin"
SESSION_DAYS = 14
TOKEN_PREFIX = "tf_"  # noqa: S105 (what tokens begin with, no secret)
MIN_PASSWORD_LENGTH = 10
MAX_PASSWORD_LENGTH = 256
MAX_TOKENS = 50

_USERNAME = re.compile(r"[\w][\w.-]{1,30}[\w]")
_hasher = PasswordHasher()
# Each takes 64 MB for its while: strangers who log in all at once must not use up the machine's memory.
_verifications = threading.BoundedSemaphore(8)
# Verified when there is no such user, so that the answer takes as long as for one who exists.
_NOBODYS_HASH = _hasher.hash(secrets.token_urlsafe(16))


# -- accounts ----------------------------------------------------------------------------------------------


def register(session: Session, username: str, password: str) -> User:
    """Make an account, where registration is open."""
    if get_settings().registration != "open":
        raise NotAllowed(
            "Registration is closed here; ask an administrator for an account.",
            zh="此平台未开放注册，请联系管理员获取账号。",
            code="registration_closed",
        )
    shown, key = normalize_username(username)
    problems = []
    if not _USERNAME.fullmatch(shown):
        problems.append(
            Problem(
                ("username",),
                "use 3 to 32 letters, digits, dots, hyphens or underscores, a letter or digit first",
                "请使用 3–32 个字母、数字、点、短横线或下划线，并以字母或数字开头",
            )
        )
    problems += _find_password_problems(password, key)
    if problems:
        raise Invalid(problems)
    user = _create(session, shown, key, password, role="user")
    audit.record(session, Action.USER_REGISTERED, user, target=(user.id, user.username))
    return user


def _create(session: Session, shown: str, key: str, password: str, *, role: str) -> User:
    user_id = new_id()
    made = session.scalar(
        insert(User)
        .values(
            id=user_id,
            username=shown,
            username_key=key,
            password_hash=_hasher.hash(password),
            role=role,
            is_active=True,
            balance_e4=0,
            created_at=utc_now(),
        )
        .on_conflict_do_nothing(index_elements=["username_key"])
        .returning(User.id)
    )
    if made is None:
        raise Conflict(
            "This name is taken; choose another.", zh="这个用户名已被使用，请换一个。", code="username_taken"
        )
    return session.get_one(User, user_id)


def _find_password_problems(password: str, username_key: str, field: str = "password") -> list[Problem]:
    if len(password) < MIN_PASSWORD_LENGTH:
        return [
            Problem(
                (field,),
                f"use at least {MIN_PASSWORD_LENGTH} characters",
                f"至少需要 {MIN_PASSWORD_LENGTH} 个字符",
            )
        ]
    if len(password) > MAX_PASSWORD_LENGTH:
        return [
            Problem(
                (field,),
                f"use at most {MAX_PASSWORD_LENGTH} characters",
                f"最多 {MAX_PASSWORD_LENGTH} 个字符",
            )
        ]
    if password.casefold() == username_key or len(set(password)) < 4:
        return [Problem((field,), "this is too easy to guess", "这个密码太容易被猜到")]
    return []


def ensure_admin(session: Session, password: str) -> None:
    """Make the administrator on a fresh installation; an existing one keeps the password it has."""
    existing = session.scalars(select(User).where(User.username_key == ADMINISTRATOR_NAME)).first()
    if existing is None:
        try:
            _create(session, ADMINISTRATOR_NAME, ADMINISTRATOR_NAME, password, role="administrator")
        except Conflict:
            return  # another process was first


def reset_password(session: Session, username: str, password: str) -> None:
    """Set a password without knowing the old one: for administrators at the machine. Ends all sessions."""
    _, key = normalize_username(username)
    user = session.scalars(select(User).where(User.username_key == key)).first()
    if user is None:
        raise NotFound(f"There is no user {username!r}.")
    problems = _find_password_problems(password, key)
    if problems:
        raise Invalid(problems)
    user.password_hash = _hasher.hash(password)
    audit.record(session, Action.USER_PASSWORD_CHANGED, None, target=(user.id, user.username))
    end_sessions(session, user)


def change_password(user_id: str, current: str, new: str, address: str, *, keep_session: str | None) -> None:
    """Change one's own password; every other browser is signed out.

    Opens transactions of its own: a wrong present password counts as a failed log-in and is throttled like one.
    """
    with transaction() as session:
        user = session.get_one(User, user_id)
    try:
        authenticate(user.username, current, address)
    except NotSignedIn:
        raise Invalid(
            [Problem(("current_password",), "this is not your present password", "当前密码不正确")]
        ) from None
    problems = _find_password_problems(new, user.username_key, "new_password")
    if problems:
        raise Invalid(problems)
    password_hash = _hasher.hash(new)
    with transaction() as session:
        user = session.get_one(User, user_id)
        user.password_hash = password_hash
        audit.record(
            session, Action.USER_PASSWORD_CHANGED, user, target=(user.id, user.username), address=address
        )
        end_sessions(session, user, but=keep_session)


def set_language(session: Session, user: User, language: str | None) -> None:
    """Remember the language a person reads; None follows the browser."""
    user.language = language


def list_users(session: Session, page: PageWish) -> Page[User]:
    """Return a page of everybody, newest first."""
    return read_page(session, select(User), page, User.id)


def change_user(
    session: Session,
    administrator: User,
    user_id: str,
    *,
    is_active: bool | None = None,
    share_weight: float | None = None,
) -> User:
    """Shut a person out (which ends their sessions), let them in again, or change their share of the GPUs."""
    user = session.get(User, user_id, with_for_update={"key_share": True})
    if user is None:
        raise NotFound("There is no such user.", zh="没有这个用户。")
    if user.role == "administrator" and is_active is False:
        raise Conflict("An administrator cannot be shut out.", zh="不能停用管理员。")
    if share_weight is not None:
        user.share_weight = share_weight
    if is_active is not None:
        user.is_active = is_active
    if is_active is False:
        end_sessions(session, user)
    asked = {"is_active": is_active, "share_weight": share_weight}
    changed: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    if changed:
        audit.record(session, Action.USER_CHANGED, administrator, target=(user.id, user.username), **changed)
    return user


# -- signing in --------------------------------------------------------------------------------------------


def authenticate(username: str, password: str, address: str) -> str:
    """Return the id of the person with this name and password.

    Opens transactions of its own, so that a failure is counted although the request that fails rolls back.
    Raises NotSignedIn, or TooManyAttempts after too many failures of the account or the address.
    """
    _, key = normalize_username(username)
    now = utc_now()
    with transaction() as session:
        throttling.refuse_if_throttled(session, key, address, now)
        user = session.scalars(select(User).where(User.username_key == key)).first()
        user_id = user.id if user and user.is_active else None
        password_hash = user.password_hash if user and user.is_active else _NOBODYS_HASH
    # Outside any transaction: hashing takes its time on purpose.
    right = _verify(password_hash, password[:MAX_PASSWORD_LENGTH])
    with transaction() as session:
        # Again, one after the other: of guesses made at the same moment no more are answered.
        throttling.take_turns(session, key, address)
        throttling.refuse_if_throttled(session, key, address, now)
        if right and user_id is not None:
            session.execute(
                delete(FailedLogin).where(FailedLogin.username_key == key, FailedLogin.address == address)
            )
            if _hasher.check_needs_rehash(password_hash):
                session.execute(
                    update(User).where(User.id == user_id).values(password_hash=_hasher.hash(password))
                )
            return user_id
        session.add(FailedLogin(username_key=key[:64], address=address))
        _record_refusal(session, key, address)
    raise NotSignedIn(
        "The name or the password is not right.", zh="用户名或密码不正确。", code="wrong_credentials"
    )


def _record_refusal(session: Session, key: str, address: str) -> None:
    """A name that nobody has is not noted: people type passwords into the wrong field.

    Attempts that are throttled leave no entry, so that guessing cannot fill the trail.
    """
    user = session.scalars(select(User).where(User.username_key == key)).first()
    audit.record(session, Action.SESSION_REFUSED, user, address=address)


def _verify(password_hash: str, password: str) -> bool:
    try:
        with _verifications:
            return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


def hash_secret(secret: str) -> str:
    """Return what is stored of a session's cookie or an API token; both are long and random."""
    return hashlib.sha256(secret.encode()).hexdigest()


# -- browser sessions --------------------------------------------------------------------------------------


def start_session(session: Session, user_id: str) -> str:
    """Start a session and return the cookie's value, which is not stored."""
    cookie = secrets.token_urlsafe(32)
    session.add(
        BrowserSession(
            token_hash=hash_secret(cookie),
            user_id=user_id,
            csrf_token=secrets.token_urlsafe(32),
            expires_at=utc_now() + timedelta(days=SESSION_DAYS),
        )
    )
    session.flush()
    audit.record(session, Action.SESSION_STARTED, session.get_one(User, user_id))
    return cookie


def find_session(session: Session, cookie: str) -> BrowserSession | None:
    """Return the live session of a cookie; one in use lives on."""
    found = session.get(BrowserSession, hash_secret(cookie))
    now = utc_now()
    if found is None or found.expires_at <= now or not found.user.is_active:
        return None
    if found.expires_at - now < timedelta(days=SESSION_DAYS - 1):
        found.expires_at = now + timedelta(days=SESSION_DAYS)
    return found


def end_session(session: Session, cookie: str) -> None:
    """Sign one browser out."""
    ended = delete(BrowserSession).where(BrowserSession.token_hash == hash_secret(cookie))
    user_id = session.scalar(ended.returning(BrowserSession.user_id))
    if user_id is not None:
        audit.record(session, Action.SESSION_ENDED, session.get_one(User, user_id))


def end_sessions(session: Session, user: User, *, but: str | None = None) -> None:
    """Sign all browsers of a person out, but the one with this cookie."""
    query = delete(BrowserSession).where(BrowserSession.user_id == user.id)
    if but is not None:
        query = query.where(BrowserSession.token_hash != hash_secret(but))
    session.execute(query)


# -- API tokens --------------------------------------------------------------------------------------------


def create_token(
    session: Session, user_id: str, name: str, expires_at: datetime | None
) -> tuple[ApiToken, str]:
    """Make an API token; its text is returned this once and never stored."""
    if expires_at is not None and expires_at <= utc_now():
        raise Invalid([Problem(("expires_at",), "this moment has passed", "这个时间已经过去")])
    # Of two at once the second waits, and sees the first.
    user = session.get_one(User, user_id, with_for_update={"key_share": True})
    count = session.scalar(select(func.count()).where(ApiToken.user_id == user_id)) or 0
    if count >= MAX_TOKENS:
        raise Conflict(
            f"You have {MAX_TOKENS} tokens; delete one you no longer use.",
            zh=f"您已有 {MAX_TOKENS} 个令牌，请先删除不再使用的。",
        )
    text = TOKEN_PREFIX + secrets.token_urlsafe(30)
    token = ApiToken(
        id=new_id(),
        user_id=user_id,
        name=name,
        prefix=text[:9],
        token_hash=hash_secret(text),
        expires_at=expires_at,
    )
    taken = select(ApiToken.id).where(ApiToken.user_id == user_id, ApiToken.name == name)
    if session.scalars(taken).first() is not None:
        raise Conflict(
            "You have a token of this name; choose another.",
            zh="您已有同名的令牌，请换一个名称。",
            code="token_name_taken",
        )
    session.add(token)
    session.flush()
    audit.record(session, Action.API_TOKEN_CREATED, user, target=(token.id, name))
    return token, text


def get_by_id(session: Session, user_id: str) -> User:
    """Return somebody who is known to be there."""
    return session.get_one(User, user_id)


def get_token(session: Session, user_id: str, token_id: str) -> ApiToken:
    """Return one of a person's own tokens."""
    token = session.get(ApiToken, token_id)
    if token is None or token.user_id != user_id:
        raise NotFound("There is no such token.", zh="没有这个令牌。")
    return token


def list_tokens(session: Session, user: User, page: PageWish) -> Page[ApiToken]:
    """Return a page of a person's tokens, newest first."""
    return read_page(session, select(ApiToken).where(ApiToken.user_id == user.id), page, ApiToken.id)


def delete_token(session: Session, user: User, token_id: str) -> None:
    """Delete one of a person's own tokens."""
    token = get_token(session, user.id, token_id)
    session.delete(token)
    audit.record(session, Action.API_TOKEN_DELETED, user, target=(token.id, token.name))


def find_token_user(session: Session, text: str) -> User | None:
    """Return whose token this is, if it is good."""
    token = session.scalars(select(ApiToken).where(ApiToken.token_hash == hash_secret(text))).first()
    now = utc_now()
    if (
        token is None
        or (token.expires_at is not None and token.expires_at <= now)
        or not token.user.is_active
    ):
        return None
    if token.last_used_at is None or now - token.last_used_at > timedelta(minutes=1):
        token.last_used_at = now
    return token.user
