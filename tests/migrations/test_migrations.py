"""From empty and from every revision, with rows in the tables, to what the program's tables say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, create_engine

from backend.database import build_url, migrate

_MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"


def _configure(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["url"] = build_url(url)
    return config


REVISIONS = [script.revision for script in ScriptDirectory(str(_MIGRATIONS)).walk_revisions()][::-1]


@pytest.fixture
def empty_database(postgres_url: str) -> Iterator[str]:
    """A database of its own, without tables."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS migrated WITH (FORCE)")
        connection.execute("CREATE DATABASE migrated")
    yield postgres_url.rpartition("/")[0] + "/migrated"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE migrated WITH (FORCE)")


def _read_schema(url: str) -> dict[str, list[str]]:
    engine = create_engine(build_url(url))
    try:
        found = MetaData()
        found.reflect(engine)
        return {
            name: sorted(
                [f"{column.name} {column.type!r} {column.nullable}" for column in table.columns]
                + [f"index {index.name}" for index in table.indexes]
                + [f"constraint {constraint.name}" for constraint in table.constraints]
            )
            for name, table in found.tables.items()
        }
    finally:
        engine.dispose()


def test_revisions_are_one_line(empty_database: str) -> None:
    scripts = ScriptDirectory(str(_MIGRATIONS))
    assert len(scripts.get_heads()) == len(scripts.get_bases()) == 1
    assert sorted(REVISIONS) == REVISIONS


def test_from_empty_to_what_the_tables_say(empty_database: str) -> None:
    migrate(empty_database)
    command.check(_configure(empty_database))
    migrate(empty_database)


def test_by_several_processes_at_once(empty_database: str, tuneforge_home: Path) -> None:
    environment = os.environ | {"DATABASE_URL": empty_database}
    program = [sys.executable, "-m", "backend.cli", "migrate"]
    started = [subprocess.Popen(program, env=environment, cwd=_MIGRATIONS.parent) for _ in range(2)]
    assert [process.wait(60) for process in started] == [0, 0]
    command.check(_configure(empty_database))


@pytest.mark.parametrize("revision", REVISIONS)
def test_from_every_revision_with_rows_in_it(empty_database: str, revision: str) -> None:
    command.upgrade(_configure(empty_database), revision)
    with psycopg.connect(empty_database) as connection:
        _fill(connection)
    migrate(empty_database)
    command.check(_configure(empty_database))
    upgraded = _read_schema(empty_database)
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT username, balance_e4 FROM users").fetchall() == [("ann", -5)]
        assert connection.execute("SELECT name, status FROM jobs").fetchall() == [("old job", "queued")]
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    migrate(empty_database)
    assert _read_schema(empty_database) == upgraded


def _fill(connection: psycopg.Connection) -> None:
    """Enter a user and a job as the first revision holds them; later columns have to bring their own values."""
    connection.execute(
        "INSERT INTO users (id, username, username_key, password_hash, role, is_active, balance_e4, created_at) "
        "VALUES ('u', 'ann', 'ann', 'x', 'user', true, -5, now())"
    )
    connection.execute(
        "INSERT INTO jobs (id, owner_id, name, kind, status, tier, spec, config_yaml, launch, estimate, gpu_kind, "
        "gpu_count, attempt, faults, devices, queued_at, phase, step, log_bytes, tracking_mode, results, actual, "
        "cost_e4, created_at) VALUES ('j', 'u', 'old job', 'train', 'queued', 'express', '{}', '', '{}', '{}', 'cpu', "
        "1, 1, 0, '[]', now(), 'queued', 0, 0, 'off', '{}', '{}', 0, now())"
    )
