"""The bundled PostgreSQL and Redis: behind passwords, private, and never initialised over somebody's data."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import psycopg
import pytest
import redis

from backend.launch.places import LaunchError, get_postgres_account
from backend.launch.postgres import Postgres
from tests.conftest import find_free_port


def _build_server(folder: Path) -> Postgres:
    return Postgres(folder, "pass word/1", find_free_port(), folder.parent / "pg.log", get_postgres_account())


def test_postgres_speaks_utf8_and_wants_its_password(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        row = connection.execute("select current_setting('server_encoding'), upper('é你好')").fetchone()
        rules = connection.execute("select distinct auth_method from pg_hba_file_rules").fetchall()
    assert row == ("UTF8", "é你好")
    assert rules == [("scram-sha-256",)]
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(postgres_url.replace("test-password", "wrong"))


def test_redis_wants_its_password_and_keeps_everything(redis_url: str) -> None:
    client = redis.from_url(redis_url)
    assert client.config_get("appendonly") == {"appendonly": "yes"}
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    with pytest.raises(redis.AuthenticationError):
        redis.from_url(redis_url.replace("test-password", "wrong")).ping()


def test_redis_configuration_is_private(redis_url: str, session_folder: Path) -> None:
    assert stat.S_IMODE((session_folder / "redis" / "redis.conf").stat().st_mode) == 0o600


def test_a_folder_of_another_postgres_version_is_left_alone(session_folder: Path) -> None:
    folder = session_folder / "old-cluster"
    folder.mkdir()
    (folder / "PG_VERSION").write_text("15\n")
    with pytest.raises(LaunchError, match=r"PostgreSQL 15.*Nothing was changed"):
        _build_server(folder).start()
    assert [path.name for path in folder.iterdir()] == ["PG_VERSION"]


def test_a_folder_of_something_else_is_left_alone(session_folder: Path) -> None:
    folder = session_folder / "no-cluster"
    folder.mkdir()
    (folder / "base").mkdir()
    with pytest.raises(LaunchError, match="not empty"):
        _build_server(folder).start()
    assert [path.name for path in folder.iterdir()] == ["base"]


def test_data_outlive_a_restart_a_killed_server_and_a_reused_pid(session_folder: Path) -> None:
    folder = session_folder / "kept-cluster"
    first = _build_server(folder)
    first.start()
    with psycopg.connect(first.url) as connection:
        connection.execute("create table kept (word text)")
        connection.execute("insert into kept values ('好')")
    # The launcher died, the server did not: the next start ends it and takes over.
    second = _build_server(folder)
    second.start()
    assert first.process is not None
    assert first.process.wait(5) == 0
    assert second.process is not None
    second.process.kill()
    second.process.wait()
    # Its pid is now that of a process that has nothing to do with it, of the very same user.
    account = get_postgres_account()
    identity = {} if account is None else {"user": account.uid, "group": account.gid, "extra_groups": []}
    stranger = subprocess.Popen(["/bin/sleep", "600"], cwd="/", **identity)
    lock = folder / "postmaster.pid"
    lines = lock.read_text().splitlines()
    lock.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
    if account is not None:
        os.chown(lock, account.uid, account.gid)
    third = _build_server(folder)
    third.start()
    with psycopg.connect(third.url) as connection:
        assert connection.execute("select word from kept").fetchall() == [("好",)]
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()
    third.stop()
    assert third.process is not None
    assert third.process.poll() == 0
