"""A person's SwanLab key over HTTP: checked, masked, sealed at rest, and forgotten."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select, text

from backend import swanlab
from backend.database import get_engine, transaction
from backend.services import swanlab_access
from backend.settings import get_settings
from backend.tables import Base
from backend.tables.user import SwanlabAccess, User
from tests.conftest import find_free_port
from tests.factories import Person
from tests.fakes.swanlab_cloud import DEFAULT_KEY, USERNAME
from tests.swanlab.conftest import FakeCloud

UNKNOWN_KEY = "x" * swanlab.KEY_LENGTH

StartCloud = Callable[..., FakeCloud]


def _enter(person: Person, host: str, key: str = DEFAULT_KEY) -> dict[str, Any]:
    answer = person.request("PUT", "/me/swanlab", json={"api_key": key, "host": host})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    assert key not in answer.text
    return body


def _read(person: Person) -> dict[str, Any]:
    shown: dict[str, Any] = person.get("/me").json()["swanlab"]
    return shown


def _find_credentials(person: Person) -> swanlab_access.Credentials | None:
    with transaction() as session:
        return swanlab_access.find_credentials(session, session.get_one(User, person.id))


def _choose_mode(person: Person) -> str:
    with transaction() as session:
        return swanlab_access.choose_mode(session, session.get_one(User, person.id))


def test_a_good_key_is_verified_masked_and_sealed(
    owner: Person, colleague: Person, start_cloud: StartCloud
) -> None:
    cloud = start_cloud()
    shown = _enter(owner, cloud.url)
    assert (shown["status"], shown["username"], shown["host"]) == ("verified", USERNAME, cloud.url)
    assert shown["masked_key"] == swanlab.mask_key(DEFAULT_KEY)
    assert shown["checked_at"].endswith("Z")
    kept = _read(owner)
    assert all(
        kept[name] == shown[name] for name in ("status", "masked_key", "host", "username", "checked_at")
    )
    assert _read(colleague)["status"] == "unset"
    assert _choose_mode(owner) == "cloud"
    credentials = _find_credentials(owner)
    assert credentials is not None
    assert (credentials.api_key, credentials.web_host) == (DEFAULT_KEY, cloud.url)
    assert DEFAULT_KEY not in repr(credentials)


def test_the_key_is_nowhere_in_the_database_in_clear(owner: Person, start_cloud: StartCloud) -> None:
    _enter(owner, start_cloud().url)
    with get_engine().connect() as connection:
        for table in Base.metadata.sorted_tables:
            rows = connection.execute(text(f"SELECT t::text FROM {table.name} t")).scalars().all()
            assert not any(DEFAULT_KEY in row for row in rows), table.name


def test_a_rejected_key_is_not_kept(owner: Person, start_cloud: StartCloud) -> None:
    cloud = start_cloud()
    shown = _enter(owner, cloud.url, UNKNOWN_KEY)
    assert (shown["status"], shown["masked_key"]) == ("rejected", None)
    assert shown["detail"]
    assert _read(owner)["status"] == "unset"
    assert _choose_mode(owner) == "local"
    # One that was good before stays.
    _enter(owner, cloud.url)
    assert _enter(owner, cloud.url, UNKNOWN_KEY)["status"] == "rejected"
    assert _read(owner)["status"] == "verified"


def test_a_key_of_an_unreachable_host_is_kept_unverified_and_checked_later(
    owner: Person, start_cloud: StartCloud
) -> None:
    cloud = start_cloud("error")
    assert _enter(owner, cloud.url)["status"] == "unreachable"
    assert (_read(owner)["status"], _choose_mode(owner)) == ("unreachable", "cloud")
    cloud.set_mode("ok")
    assert owner.post("/me/swanlab/verify").json()["status"] == "verified"
    assert _read(owner)["status"] == "verified"


def test_a_key_that_is_rejected_later_is_used_no_more(owner: Person, start_cloud: StartCloud) -> None:
    cloud = start_cloud()
    _enter(owner, cloud.url)
    cloud.set_mode("reject")
    assert owner.post("/me/swanlab/verify").json()["status"] == "rejected"
    assert _read(owner)["masked_key"] is not None
    assert (_choose_mode(owner), _find_credentials(owner)) == ("local", None)


def test_nobody_there_is_unreachable(owner: Person) -> None:
    assert _enter(owner, f"http://127.0.0.1:{find_free_port()}")["status"] == "unreachable"


def test_a_forgotten_key_is_gone(owner: Person, start_cloud: StartCloud) -> None:
    _enter(owner, start_cloud().url)
    for _ in range(2):
        assert owner.request("DELETE", "/me/swanlab").status_code == 204
    assert _read(owner)["status"] == "unset"
    assert owner.post("/me/swanlab/verify").status_code == 404
    with transaction() as session:
        assert session.scalars(select(SwanlabAccess)).all() == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("host", "ftp://swanlab.example"),
        ("host", "http://user:secret@swanlab.example"),
        ("host", "http://swanlab.example/path"),
        ("host", "http://[::1]"),
        ("host", "not a host"),
        ("host", "x" * 301),
        ("web_host", "javascript:alert(1)"),
        ("workspace", "line\nbreak"),
        ("workspace", ""),
        ("api_key", ""),
        ("api_key", "x" * 201),
        ("api_key", None),
        ("api_kei", "x"),
    ],
)
def test_what_is_no_address_or_key_is_refused(owner: Person, field: str, value: Any) -> None:
    body = {"api_key": UNKNOWN_KEY, "host": "http://127.0.0.1:1"} | {field: value}
    answer = owner.request("PUT", "/me/swanlab", json=body)
    assert answer.status_code == 422
    assert [error["loc"] for error in answer.json()["errors"]] == [[field]]


def test_a_seal_of_another_secret_key_is_said_and_costs_no_run(
    owner: Person, start_cloud: StartCloud, configure: Callable[[str, str], None]
) -> None:
    _enter(owner, start_cloud().url)
    configure("TUNEFORGE_SECRET_KEY", "another secret key of 32 characters")
    assert get_settings().secret_key.startswith("another")
    answer = owner.post("/me/swanlab/verify")
    assert (answer.status_code, answer.json()["code"]) == (409, "swanlab_seal_broken")
    assert _find_credentials(owner) is None
    assert _read(owner)["status"] == "verified"


def test_many_keys_at_once_leave_one(owner: Person, start_cloud: StartCloud) -> None:
    cloud = start_cloud()
    with ThreadPoolExecutor(4) as pool:
        shown = list(pool.map(lambda _: _enter(owner, cloud.url), range(4)))
    assert {answer["status"] for answer in shown} == {"verified"}


def test_no_database_connection_waits_for_swanlab(owner: Person, start_cloud: StartCloud) -> None:
    cloud = start_cloud("hang")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(_enter, owner, cloud.url)
        while not cloud.requests:
            assert not waiting.done()
            time.sleep(0.01)
        # The process's own pulse may hold one for a moment.
        held = [get_engine().pool.checkedout() for _ in range(20) if time.sleep(0.01) is None]  # type: ignore[attr-defined]
        cloud.set_mode("ok")
        assert waiting.result()["status"] == "unreachable"
    assert min(held) == 0
