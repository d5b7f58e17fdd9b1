"""Real PostgreSQL and Redis from the wheels, a home, and a real browser, for every test that asks."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from fastapi.testclient import TestClient
from hypothesis import settings
from sqlalchemy import text

from backend.database import get_engine, migrate
from backend.launch.places import get_postgres_account
from backend.launch.postgres import Postgres
from backend.launch.redis import Redis
from backend.queue import get_celery
from backend.settings import get_settings
from backend.tables import Base
from tests.factories import Person, make_person

# The same examples in every run: what is green on one machine is green on all. `HYPOTHESIS_PROFILE=default` searches on.
settings.register_profile("repeatable", derandomize=True, database=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

_ROOT = Path(__file__).resolve().parent.parent
CHROMIUM_FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
"""What a Chromium without a screen and without a network is started with."""


_LONG_FILES = [
    "demonstration/test_learning.py",
    "domain/test_argument_verdicts.py",
    "chaos/test_short_suite.py",
    "e2e/test_main_job.py",
    "worker/test_real_runs.py",
    "worker/test_several_nodes.py",
    "domain/test_llamafactory.py",
    "e2e/test_restart.py",
    "librarian/test_datasets.py",
    "worker/test_pace.py",
]
"""Files that take a minute or more, mostly by training on all cores."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the long files over the run: two side by side get into each other's way, and none may end alone."""
    long = {str(_ROOT / "tests" / name): place for place, name in enumerate(_LONG_FILES)}
    short = list(dict.fromkeys(str(item.path) for item in items if str(item.path) not in long))
    # All long ones have begun after three quarters of the short ones.
    ranks: dict[str, float] = {path: rank / (0.75 * len(short)) for rank, path in enumerate(short)}
    ranks |= {path: place / len(long) for path, place in long.items()}
    items.sort(key=lambda item: ranks[str(item.path)])


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
    # Rows of their own that tests of other things would have to count; tests/services/test_presets.py turns them on.
    _export("TUNEFORGE_PRESETS", "off")
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
def migrated_database(postgres_url: str, redis_url: str, tuneforge_home: Path) -> str:
    """The database of this test process with its tables; engine and Celery of this process speak to it."""
    get_engine.cache_clear()
    get_celery.cache_clear()
    migrate(postgres_url)
    return postgres_url


@pytest.fixture
def database(migrated_database: str, redis_url: str, tuneforge_home: Path) -> Iterator[None]:
    """Tables, queues and the home's models, datasets and jobs, emptied again after the test."""
    yield
    emptied = "; ".join(f"DELETE FROM {table.name}" for table in reversed(Base.metadata.sorted_tables))
    with get_engine().begin() as connection:
        connection.execute(text(emptied))
    with redis.from_url(redis_url) as client:
        client.flushdb()
    for name in ("models", "datasets", "jobs", "uploads", "users"):
        shutil.rmtree(tuneforge_home / name, ignore_errors=True)


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Sets an environment variable that the settings read, until the end of the test."""

    def set_variable(name: str, value: str) -> None:
        monkeypatch.setenv(name, value)
        get_settings.cache_clear()

    yield set_variable
    monkeypatch.undo()
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def running_app(migrated_database: str) -> Iterator[TestClient]:
    """The web application, started once for this test process."""
    from backend.app import app

    with TestClient(app) as client:
        yield client


@pytest.fixture
def web_client(running_app: TestClient, database: None) -> TestClient:
    """A client of the web application that nobody has signed in with."""
    running_app.cookies.clear()
    return running_app


@pytest.fixture
def sign_in(web_client: TestClient) -> Callable[..., Person]:
    """Makes somebody with an account and a client that speaks for them: `sign_in("ann")`."""
    return lambda username, role="user": make_person(web_client, username, role=role)


@pytest.fixture
def owner(sign_in: Callable[..., Person]) -> Person:
    """Who owns what the test is about."""
    return sign_in("owner")


@pytest.fixture
def colleague(sign_in: Callable[..., Person]) -> Person:
    """Another user of the platform; what is the owner's does not exist for them."""
    return sign_in("colleague")


@pytest.fixture
def administrator(sign_in: Callable[..., Person]) -> Person:
    """Who sees everything."""
    return sign_in("chief", "administrator")


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
