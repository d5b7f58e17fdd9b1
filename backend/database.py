"""Engine and sessions: one request or one task is one transaction, and nothing else commits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session, sessionmaker

from backend.settings import get_settings

_MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def build_url(url: str) -> str:
    """Return `url` with the driver this project uses, whichever form an administrator wrote."""
    for prefix in ("postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url


@lru_cache(maxsize=1)
def get_engine() -> Engine:
    """Return this process's engine; a connection that died while idle is replaced unseen."""
    url = get_settings().database_url
    if not url:
        raise RuntimeError("DATABASE_URL is not set: start the platform with `tuneforge up`, or set it")
    return create_engine(
        build_url(url),
        pool_pre_ping=True,
        # Kept open, as opening one takes longer than most transactions; web.turns says how many are held at once.
        pool_size=20,
        max_overflow=20,
        pool_timeout=10,
        # Errors go to logs, which must hold no hash and no sealed key.
        hide_parameters=True,
    )


@contextmanager
def transaction() -> Iterator[Session]:
    """Open a session, commit when the block returns and roll back when it raises."""
    with sessionmaker(get_engine(), expire_on_commit=False)() as session, session.begin():
        yield session


def migrate(url: str) -> None:
    """Bring the database at `url` to the newest revision; safe to run twice and by two processes at once."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["url"] = build_url(url)
    command.upgrade(config, "head")
