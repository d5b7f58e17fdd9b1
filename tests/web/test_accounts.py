"""Accounts over HTTP: registering, tokens, sessions with their CSRF token, the throttle's answer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update
from sqlalchemy.orm import Session as DatabaseSession

from backend.database import transaction
from backend.services import throttling, users
from backend.tables.base import utc_now
from backend.tables.user import ApiToken, User
from backend.tables.user import Session as BrowserSession
from backend.web.deps import CSRF_HEADER, SESSION_COOKIE
from tests.factories import PASSWORD, Person, make_user

Body = dict[str, Any]


def _check_problem(answer: Any, status: int, code: str) -> Body:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: Body = answer.json()
    assert set(body) >= {"type", "title", "status", "detail", "code", "errors"}
    assert (body["status"], body["code"]) == (status, code)
    assert body["detail"]
    return body


# -- registering -------------------------------------------------------------------------------------------


def test_a_stranger_registers_gets_a_token_and_is_known(web_client: TestClient) -> None:
    account = {"username": "Ann", "password": PASSWORD}
    made = web_client.post("/api/v1/users", json=account)
    assert made.status_code == 201
    assert made.json()["username"] == "Ann"
    token = web_client.post("/api/v1/tokens", json=account | {"name": "laptop"})
    assert token.status_code == 201
    assert set(token.json()) >= {"id", "name", "prefix", "token"}
    me = web_client.get("/api/v1/me", headers={"Authorization": f"Bearer {token.json()['token']}"})
    assert me.status_code == 200
    body = me.json()
    assert (body["id"], body["username"], body["role"]) == (made.json()["id"], "Ann", "user")
    assert body["balance"] == {"currency": "CNY", "amount": "0.0000"}
    assert body["swanlab"]["status"] == "unset"


def test_a_name_is_taken_once_however_it_is_written(web_client: TestClient) -> None:
    make_user("ann")
    answer = web_client.post("/api/v1/users", json={"username": "ＡＮＮ", "password": PASSWORD})
    _check_problem(answer, 409, "username_taken")


def test_every_fault_of_a_registration_is_named(web_client: TestClient) -> None:
    answer = web_client.post("/api/v1/users", json={"username": "!", "password": "short"})
    body = _check_problem(answer, 422, "invalid")
    assert [error["loc"] for error in body["errors"]] == [["username"], ["password"]]


def test_registration_can_be_closed(web_client: TestClient, configure: Callable[[str, str], None]) -> None:
    configure("TUNEFORGE_REGISTRATION", "closed")
    answer = web_client.post("/api/v1/users", json={"username": "ann", "password": PASSWORD})
    _check_problem(answer, 403, "registration_closed")
    with transaction() as session:
        assert session.scalars(select(User).where(User.username == "ann")).first() is None


# -- tokens ------------------------------------------------------------------------------------------------


def test_a_token_is_shown_once_and_deleted_for_good(owner: Person, colleague: Person) -> None:
    made = owner.post("/tokens", json={"name": "ci", "expires_at": "2099-01-01T00:00:00+08:00"}).json()
    assert made["expires_at"] == "2098-12-31T16:00:00.000Z"
    listed = owner.get("/tokens")
    assert made["token"] not in listed.text
    assert {token["name"] for token in listed.json()["data"]} == {"test", "ci"}
    use = {"Authorization": f"Bearer {made['token']}"}
    assert owner.client.get("/api/v1/me", headers=use).status_code == 200
    assert colleague.request("DELETE", f"/tokens/{made['id']}").status_code == 404
    assert owner.request("DELETE", f"/tokens/{made['id']}").status_code == 204
    assert owner.request("DELETE", f"/tokens/{made['id']}").status_code == 404
    _check_problem(owner.client.get("/api/v1/me", headers=use), 401, "bad_token")


def test_a_token_asked_for_twice_is_made_once_and_its_text_shown_once(owner: Person) -> None:
    use = {"Idempotency-Key": "wish-1"}
    made = owner.post("/tokens", json={"name": "ci"}, headers=use).json()
    again = owner.post("/tokens", json={"name": "ci"}, headers=use)
    assert again.status_code == 201
    assert made["token"] not in again.text
    body = again.json()
    assert (body["id"], body["prefix"], body["token"]) == (made["id"], made["prefix"], None)
    assert "cannot be shown again" in body["detail"]
    assert "无法再次显示" in body["detail_zh"]
    assert len(owner.get("/tokens").json()["data"]) == 2
    other = owner.post("/tokens", json={"name": "cd"}, headers=use)
    _check_problem(other, 409, "idempotency_key_reused")
    assert owner.request("DELETE", f"/tokens/{made['id']}").status_code == 204
    _check_problem(owner.post("/tokens", json={"name": "ci"}, headers=use), 404, "not_found")


def test_keys_of_two_people_are_two_keys_and_a_password_is_part_of_none(
    owner: Person, colleague: Person
) -> None:
    use = {"Idempotency-Key": "wish-1"}
    ids = {
        person.post("/tokens", json={"name": "ci"}, headers=use).json()["id"] for person in (owner, colleague)
    }
    assert len(ids) == 2
    # By name and password it is the same wish: what is hashed and kept holds neither.
    account = {"username": "owner", "password": PASSWORD}
    by_name = owner.client.post("/api/v1/tokens", json=account | {"name": "ci"}, headers=use).json()
    assert by_name["id"] in ids
    wrong = account | {"name": "ci", "password": "wrong password"}
    assert owner.client.post("/api/v1/tokens", json=wrong, headers=use).status_code == 401


@pytest.mark.parametrize("key", ["", "x" * 201])
def test_odd_keys_are_refused(owner: Person, key: str) -> None:
    answer = owner.post("/tokens", json={"name": "ci"}, headers={"Idempotency-Key": key})
    _check_problem(answer, 422, "invalid")


def test_an_expired_token_and_one_of_an_inactive_person_are_refused(owner: Person) -> None:
    with transaction() as session:
        session.execute(update(User).where(User.id == owner.id).values(is_active=False))
    assert owner.get("/me").status_code == 401
    with transaction() as session:
        session.execute(update(User).where(User.id == owner.id).values(is_active=True))
    assert owner.get("/me").status_code == 200
    with transaction() as session:
        session.execute(update(ApiToken).values(expires_at=utc_now()))
    assert owner.get("/me").status_code == 401


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Bearer nonsense", "Basic YTpi", "bearer tf_" + "x" * 5000, "Bearer \xe9"],
)
def test_what_is_no_token_is_refused_and_not_ignored(owner: Person, header: str) -> None:
    answer = owner.client.get("/api/v1/me", headers={"Authorization": header.encode("latin-1")})
    _check_problem(answer, 401, "bad_token")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "expires_at",
    [
        "2001-01-01T00:00:00Z",
        "2030-01-01T00:00:00",
        "9999-12-31T23:59:59-14:00",
        "10000-01-01T00:00:00Z",
        "soon",
        5e300,
    ],
)
def test_a_token_expires_at_a_moment_that_comes(owner: Person, expires_at: object) -> None:
    _check_problem(owner.post("/tokens", json={"name": "ci", "expires_at": expires_at}), 422, "invalid")
    assert owner.get("/tokens").status_code == 200


def test_a_token_may_last_as_long_as_there_are_dates(owner: Person) -> None:
    moment = "9999-12-31T23:59:59Z"
    assert owner.post("/tokens", json={"name": "ci", "expires_at": moment}).status_code == 201
    assert owner.get("/tokens").json()["data"][0]["expires_at"] == "9999-12-31T23:59:59.000Z"


def test_a_name_without_its_password_makes_no_token(owner: Person) -> None:
    body = _check_problem(owner.post("/tokens", json={"name": "x", "username": "owner"}), 422, "invalid")
    assert body["errors"]
    nobody = owner.client.post("/api/v1/tokens", json={"name": "x"})
    _check_problem(nobody, 401, "not_signed_in")


def test_the_throttle_says_when_to_come_back(web_client: TestClient) -> None:
    make_user("ann")
    wrong = {"username": "ann", "password": "wrong password", "name": "x"}
    for _ in range(throttling.MAX_FAILURES_PER_ACCOUNT):
        _check_problem(web_client.post("/api/v1/tokens", json=wrong), 401, "wrong_credentials")
    answer = web_client.post("/api/v1/tokens", json=wrong | {"password": PASSWORD})
    _check_problem(answer, 429, "too_many_attempts")
    assert 0 < int(answer.headers["retry-after"]) <= throttling.THROTTLE_MINUTES * 60


# -- sessions ----------------------------------------------------------------------------------------------


class Browser:
    """A client with a session's cookie, and the CSRF token its pages hold."""

    def __init__(self, client: TestClient, user_id: str) -> None:
        with transaction() as session:
            self.cookie = users.start_session(session, user_id)
            self.csrf = session.scalars(
                select(BrowserSession.csrf_token).where(
                    BrowserSession.token_hash == users.hash_secret(self.cookie)
                )
            ).one()
        self.client = client

    def send(self, method: str, path: str, body: Body | None = None, **headers: str) -> Any:
        """Send a request with the cookie and these headers (`_` stands for `-`)."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        cookie = {"Cookie": f"{SESSION_COOKIE}={self.cookie}"}
        return self.client.request(method, f"/api/v1{path}", json=body, headers=cookie | named)


@pytest.fixture
def browser(web_client: TestClient) -> Browser:
    """Ann's browser."""
    return Browser(web_client, make_user("ann"))


def test_a_session_reads_by_its_cookie_alone_and_writes_with_its_csrf_token(browser: Browser) -> None:
    assert browser.send("GET", "/me").json()["username"] == "ann"
    change = {"language": "zh"}
    assert browser.send("PATCH", "/me", change, **{CSRF_HEADER: browser.csrf}).status_code == 200
    same_site = {CSRF_HEADER: browser.csrf, "origin": "http://testserver", "sec_fetch_site": "same-origin"}
    assert browser.send("PATCH", "/me", change, **same_site).json()["language"] == "zh"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {CSRF_HEADER: ""},
        {CSRF_HEADER: "wrong"},
        {CSRF_HEADER: "\xe9"},
        {CSRF_HEADER: "right", "origin": "https://evil.example"},
        {CSRF_HEADER: "right", "origin": "null"},
        {CSRF_HEADER: "right", "origin": "http://testserver.evil.example"},
        {CSRF_HEADER: "right", "origin": "http://testserver:81"},
        {CSRF_HEADER: "right", "origin": "http://[::1"},
        {CSRF_HEADER: "right", "sec_fetch_site": "cross-site"},
        {CSRF_HEADER: "right", "sec_fetch_site": "same-site"},
    ],
)
def test_what_another_site_could_send_changes_nothing(browser: Browser, headers: dict[str, str]) -> None:
    if headers.get(CSRF_HEADER) == "right":
        headers = headers | {CSRF_HEADER: browser.csrf}
    encoded: Any = {name: value.encode("latin-1") for name, value in headers.items()}
    _check_problem(browser.send("PATCH", "/me", {"language": "zh"}, **encoded), 403, "csrf")
    assert browser.send("GET", "/me").json()["language"] is None


def test_the_csrf_token_of_another_session_is_worth_nothing(browser: Browser) -> None:
    other = Browser(browser.client, make_user("bob"))
    answer = browser.send("PATCH", "/me", {"language": "zh"}, **{CSRF_HEADER: other.csrf})
    _check_problem(answer, 403, "csrf")


def test_a_dead_session_is_nobody(browser: Browser) -> None:
    with transaction() as session:
        session.execute(update(BrowserSession).values(expires_at=utc_now() - timedelta(seconds=1)))
    _check_problem(browser.send("GET", "/me"), 401, "not_signed_in")
    browser.cookie = "made-up"
    _check_problem(browser.send("GET", "/me"), 401, "not_signed_in")


def test_a_changed_password_leaves_this_browser_signed_in_alone(browser: Browser) -> None:
    with transaction() as session:
        user_id = session.scalars(select(User.id).where(User.username == "ann")).one()
    other = Browser(browser.client, user_id)
    change = {"current_password": "wrong password", "new_password": "another passphrase"}
    csrf = {CSRF_HEADER: browser.csrf}
    body = _check_problem(browser.send("POST", "/me/password", change, **csrf), 422, "invalid")
    assert body["errors"][0]["loc"] == ["current_password"]
    change["current_password"] = PASSWORD
    assert browser.send("POST", "/me/password", change, **csrf).status_code == 204
    assert browser.send("GET", "/me").status_code == 200
    assert other.send("GET", "/me").status_code == 401


def test_passwords_and_tokens_are_nowhere_in_an_answer(owner: Person) -> None:
    with transaction() as session:
        user = session.get_one(User, owner.id)
        secrets = [user.password_hash, users.hash_secret(owner.headers["Authorization"][7:])]
    said = [owner.get(path).text for path in ("/me", "/tokens")]
    assert not any(secret in text for secret in secrets for text in said)


# -- administrators ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/admin/nodes", "/admin/users", "/admin/jobs", "/admin/usage", "/admin/audit"]
)
def test_only_administrators_see_the_administrators_lists(
    owner: Person, administrator: Person, path: str
) -> None:
    _check_problem(owner.get(path), 403, "administrators_only")
    body = administrator.get(path).json()
    assert set(body) >= {"data", "has_more", "next"}


def test_an_administrator_shuts_a_person_out_and_lets_them_in_again(
    owner: Person, administrator: Person
) -> None:
    path = f"/admin/users/{owner.id}"
    _check_problem(owner.request("PATCH", path, json={"is_active": False}), 403, "administrators_only")
    assert administrator.request("PATCH", path, json={"is_active": False}).json()["is_active"] is False
    _check_problem(owner.get("/me"), 401, "bad_token")
    assert administrator.request("PATCH", path, json={"is_active": True}).json()["is_active"] is True
    assert owner.get("/me").status_code == 200
    himself = f"/admin/users/{administrator.id}"
    _check_problem(administrator.request("PATCH", himself, json={"is_active": False}), 409, "conflict")
    _check_problem(
        administrator.request("PATCH", "/admin/users/nosuch", json={"is_active": True}), 404, "not_found"
    )


def test_an_administrator_changes_a_persons_share_of_the_gpus(owner: Person, administrator: Person) -> None:
    path = f"/admin/users/{owner.id}"
    _check_problem(owner.request("PATCH", path, json={"share_weight": 9}), 403, "administrators_only")
    changed = administrator.request("PATCH", path, json={"share_weight": 2.5}).json()
    assert (changed["share_weight"], changed["is_active"]) == (2.5, True)
    for wrong in (0, 11, "much"):
        assert administrator.request("PATCH", path, json={"share_weight": wrong}).status_code == 422


def test_two_changes_that_collide_are_a_conflict_and_no_fault(
    owner: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should a race have been overlooked, the database's refusal is told as what it is."""
    monkeypatch.setattr(users, "create_token", _insert_twice)
    _check_problem(owner.post("/tokens", json={"name": "ci"}), 409, "conflict")


def _insert_twice(session: DatabaseSession, user_id: str, *_: object) -> None:
    for _number in range(2):
        session.add(ApiToken(user_id=user_id, name="same", prefix="x", token_hash="same"))
        session.flush()


def test_times_are_in_utc_with_a_z(owner: Person) -> None:
    created_at = owner.get("/me").json()["created_at"]
    assert created_at.endswith("Z")
    assert datetime.now(UTC) - datetime.fromisoformat(created_at) < timedelta(minutes=5)
