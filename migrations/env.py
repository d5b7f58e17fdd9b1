"""Runs migrations online, on the URL given by the caller or by DATABASE_URL; one process at a time."""

from __future__ import annotations

import os

from alembic import context
from sqlalchemy import create_engine, text

from backend.tables import Base

_LOCK = 0x616C_656D


def get_url() -> str:
    """Return the database's URL with this project's driver."""
    url = context.config.attributes.get("url") or os.environ["DATABASE_URL"]
    for prefix in ("postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return str(url)


def run_migrations() -> None:
    """Migrate inside one transaction, holding a lock so that two starts do not collide."""
    with create_engine(get_url()).begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        context.configure(connection=connection, target_metadata=Base.metadata, compare_server_default=True)
        with context.begin_transaction():
            context.run_migrations()


run_migrations()
