"""Signing in, registering and signing out by the pages' forms."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from backend.services import throttling
from backend.web.deps import CSRF_COOKIE, SESSION_COOKIE
from backend.web.pages.sign_in import choose_next
from tests.factories import PASSWORD, make_user
from tests.web.browsing import ACCEPT, open_page, read_form_token, send_form, sign_in_by_form


def test_signing_in_leads_to_where_one_wanted_to_go(web_client: TestClient) -> None:
    make_user("ann")
    answer = send_form(web_client, "/login", username="Ann", password=PASSWORD, next="/jobs?kind=train")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/jobs?kind=train"
    cookie = next(
        value for value in answer.headers.get_list("set-cookie") if value.startswith(SESSION_COOKIE)
    )
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert open_page(web_client, "/").status_code == 200
    assert open_page(web_client, "/login?next=/train").headers["location"] == "/train"


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "/jobs\r\nSet-Cookie: a=b",
        "/\t/evil.example",
        "jobs",
        "/login?next=/login",
        "/logout",
        "",
    ],
)
def test_only_pages_of_this_server_are_led_to(wanted: str) -> None:
    assert choose_next(wanted) == "/"


@pytest.mark.parametrize("wanted", ["/jobs", "/compare?jobs=a,b", "/jobs/abc/board/", "/train?from=abc#x"])
def test_pages_of_this_server_are_led_to(wanted: str) -> None:
    assert choose_next(wanted) == wanted


def test_a_wrong_password_is_said_kindly_and_the_name_kept(web_client: TestClient) -> None:
    make_user("ann")
    answer = send_form(web_client, "/login", "zh", username="ann", password="wrong wrong wrong")
    assert answer.status_code == 401
    assert "用户名或密码不正确" in answer.text
    assert 'value="ann"' in answer.text
    assert "wrong wrong" not in answer.text
    assert SESSION_COOKIE not in web_client.cookies


def test_a_hostile_name_comes_back_as_text(web_client: TestClient) -> None:
    answer = send_form(web_client, "/login", username='"><script>alert(1)</script>', password="x")
    assert answer.status_code == 401
    assert "<script>alert" not in answer.text


def test_guessing_is_slowed_and_says_for_how_long(web_client: TestClient) -> None:
    make_user("ann")
    for _ in range(throttling.MAX_FAILURES_PER_ACCOUNT):
        assert send_form(web_client, "/login", username="ann", password="not this one").status_code == 401
    answer = send_form(web_client, "/login", username="ann", password=PASSWORD)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert "Too many attempts" in answer.text


@pytest.mark.parametrize("path", ["/login", "/register"])
def test_a_form_from_elsewhere_is_refused(web_client: TestClient, path: str) -> None:
    fields = {"username": "carol", "password": PASSWORD, "repeated": PASSWORD}
    token = read_form_token(open_page(web_client, path).text)
    sent = [
        (fields, {}),
        (fields | {"form_token": "guessed"}, {}),
        (fields | {"form_token": token}, {"origin": "http://evil.example"}),
        (fields | {"form_token": token}, {"sec-fetch-site": "cross-site"}),
    ]
    for form, headers in sent:
        answer = web_client.post(path, data=form, headers=ACCEPT | headers, follow_redirects=False)
        assert answer.status_code == 403, form
        assert SESSION_COOKIE not in web_client.cookies
        assert "had expired" in answer.text


def test_a_session_does_not_survive_a_new_signing_in(web_client: TestClient) -> None:
    make_user("ann")
    make_user("bea")
    sign_in_by_form(web_client, "ann")
    first = web_client.cookies[SESSION_COOKIE]
    web_client.cookies.delete(SESSION_COOKIE)
    token = read_form_token(open_page(web_client, "/login").text)
    web_client.cookies.set(SESSION_COOKIE, first)
    form = {"form_token": token, "username": "bea", "password": PASSWORD}
    assert web_client.post("/login", data=form, follow_redirects=False).status_code == 303
    web_client.cookies.clear()
    web_client.cookies.set(SESSION_COOKIE, first)
    assert open_page(web_client, "/jobs").status_code == 303


# -- registering -------------------------------------------------------------------------------------------


def test_registering_signs_in(web_client: TestClient) -> None:
    form = {"username": "新用户-1", "password": "a long password", "repeated": "a long password"}
    answer = send_form(web_client, "/register", **form, next="/train")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/train"
    assert "新用户-1" in open_page(web_client, "/account").text
    assert CSRF_COOKIE not in web_client.cookies


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"username": "a"}, "3 to 32 letters"),
        ({"password": "short", "repeated": "short"}, "At least 10 characters"),
        ({"password": "carol-carol", "repeated": "carol"}, "differ"),
        ({"username": "taken"}, "taken; choose another"),
    ],
)
def test_what_is_wrong_stands_by_its_field(
    web_client: TestClient, changes: dict[str, str], words: str
) -> None:
    make_user("taken")
    form = {"username": "carol", "password": "a long password", "repeated": "a long password"} | changes
    answer = send_form(web_client, "/register", **form)
    assert answer.status_code in (409, 422)
    shown = re.findall(r'class="(?:field-error|banner bad)"[^>]*>\s*([^<]+)', answer.text)
    assert any(words in text for text in shown), shown
    assert SESSION_COOKIE not in web_client.cookies


def test_closed_registration_is_explained(
    web_client: TestClient, configure: Callable[[str, str], None]
) -> None:
    token = read_form_token(open_page(web_client, "/register").text)
    configure("TUNEFORGE_REGISTRATION", "closed")
    assert "未开放注册" in open_page(web_client, "/register?lang=zh").text
    assert 'href="/register' not in open_page(web_client, "/login?lang=en").text
    form = {"form_token": token, "username": "carol", "password": PASSWORD, "repeated": PASSWORD}
    answer = web_client.post("/register", data=form, headers=ACCEPT)
    assert answer.status_code == 403
    assert "Registration is closed" in answer.text


# -- signing out -------------------------------------------------------------------------------------------


def test_signing_out_ends_the_session(web_client: TestClient) -> None:
    make_user("ann")
    sign_in_by_form(web_client, "ann")
    cookie = web_client.cookies[SESSION_COOKIE]
    csrf = re.search(r'name="csrf-token" content="([^"]+)"', open_page(web_client, "/").text)
    assert csrf
    assert web_client.post("/logout").status_code == 403, "without the CSRF token"
    assert web_client.post("/logout", headers={"x-csrf-token": csrf[1]}).status_code == 204
    assert SESSION_COOKIE not in web_client.cookies
    web_client.cookies.set(SESSION_COOKIE, cookie)
    assert open_page(web_client, "/").status_code == 303
