"""Real PostgreSQL and Redis from the wheels, a home, and a real browser, for every test that asks."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.launch.places import get_postgres_account
from backend.launch.postgres import Postgres
from backend.launch.redis import Redis
from backend.settings import get_settings

_ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def session_folder() -> Iterator[Path]:
    """A folder of this test process that PostgreSQL's own user can reach too, when we are root."""
    folder = Path(tempfile.mkdtemp(prefix="tuneforge-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def tuneforge_home(session_folder: Path) -> Path:
    """The home of this test process, exported as TUNEFORGE_HOME."""
    home = session_folder / "home"
    home.mkdir()
    _export("TUNEFORGE_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def postgres_url(session_folder: Path) -> Iterator[str]:
    """An empty database on a PostgreSQL of this test process, exported as DATABASE_URL."""
    server = Postgres(
        folder=session_folder / "postgres",
        password="test-password",
        port=find_free_port(),
        log=session_folder / "postgres.log",
        account=get_postgres_account(),
        settings={"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"},
    )
    server.start()
    _export("DATABASE_URL", server.url)
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def redis_url(session_folder: Path) -> Iterator[str]:
    """A Redis of this test process, exported as REDIS_URL."""
    server = Redis(
        folder=session_folder / "redis",
        password="test-password",
        port=find_free_port(),
        log=session_folder / "redis.log",
    )
    server.start()
    _export("REDIS_URL", server.url)
    yield server.url
    server.stop()


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The program of a real browser; its absence is a failure, as `make test` installs it."""
    candidates = [os.environ.get("CHROMIUM"), str(_ROOT / ".tools/bin/chromium"), shutil.which("chromium")]
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    pytest.fail("there is no Chromium: run `make test`, which installs it, or set CHROMIUM")


def find_free_port() -> int:
    """Return a loopback port that nothing listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _export(name: str, value: str) -> None:
    os.environ[name] = value
    get_settings.cache_clear()
