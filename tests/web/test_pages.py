"""Pages: in both languages, for whom they are, and with nothing in them that a stranger wrote."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from backend.web.pages import rendering
from backend.web.pages.rendering import LANGUAGE_COOKIE, parse_accept_language
from tests.factories import Person, make_user, submit_job
from tests.web.browsing import Markup, open_page, sign_in_by_form

PAGES = ["/", "/train", "/evaluate", "/jobs", "/compare", "/account"]
CHINESE = re.compile(r"[\u4e00-\u9fff]+")
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture
def member(web_client: TestClient) -> TestClient:
    """A browser in which the user ann has signed in."""
    make_user("ann")
    sign_in_by_form(web_client, "ann")
    return web_client


@pytest.fixture
def chief(web_client: TestClient) -> TestClient:
    """A browser in which an administrator has signed in."""
    make_user("chief", role="administrator")
    sign_in_by_form(web_client, "chief")
    return web_client


# -- for whom ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PAGES, "/admin", "/jobs/abcdefgh12", "/jobs/abcdefgh12/board/"])
def test_strangers_are_sent_to_sign_in_and_back(web_client: TestClient, path: str) -> None:
    answer = open_page(web_client, f"{path}?a=b&c=d")
    assert answer.status_code == 303
    wanted = path.replace("/", "%2F")
    assert answer.headers["location"] == f"/login?next={wanted}%3Fa%3Db%26c%3Dd"


def test_the_front_page_needs_no_way_back(web_client: TestClient) -> None:
    assert open_page(web_client, "/").headers["location"] == "/login"


def test_the_administrators_page_is_for_administrators(member: TestClient) -> None:
    refused = open_page(member, "/admin?lang=zh")
    assert refused.status_code == 403
    assert "仅限管理员" in refused.text
    assert 'href="/admin"' not in open_page(member, "/").text


def test_an_administrator_finds_the_page(chief: TestClient) -> None:
    assert 'href="/admin"' in open_page(chief, "/").text
    assert open_page(chief, "/admin").status_code == 200


def test_anothers_job_has_no_page(member: TestClient) -> None:
    job_id = submit_job(make_user("bea"))
    answer = open_page(member, f"/jobs/{job_id}")
    assert answer.status_code == 404
    assert "not yours to see" in answer.text


# -- languages ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PAGES, "/admin"])
def test_pages_speak_both_languages(chief: TestClient, path: str) -> None:
    english, chinese = open_page(chief, f"{path}?lang=en"), open_page(chief, f"{path}?lang=zh")
    assert (english.status_code, chinese.status_code) == (200, 200)
    assert '<html lang="en">' in english.text
    assert '<html lang="zh-CN">' in chinese.text
    left = {found for text in Markup(english.text).texts for found in CHINESE.findall(text)}
    assert left <= {"中文"}, "the English page has Chinese left in it"
    assert len("".join(CHINESE.findall(" ".join(Markup(chinese.text).texts)))) > 30


@pytest.mark.parametrize("path", ["/login", "/register", "/nowhere"])
def test_pages_for_strangers_speak_both_languages(web_client: TestClient, path: str) -> None:
    english, chinese = open_page(web_client, path, "en"), open_page(web_client, f"{path}?lang=zh", "en")
    left = {found for text in Markup(english.text).texts for found in CHINESE.findall(text)}
    assert left <= {"中文"}
    assert CHINESE.search(Markup(chinese.text).texts[-1] + chinese.text.split("<main")[1])


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("en-GB,en;q=0.9,zh;q=0.8", "en"),
        ("fr,zh;q=0.3,en;q=0.2", "zh"),
        ("zh;q=0,en;q=0.1", "en"),
        ("fr", "en"),
        ("zh;q=9,;;,=,\x7f", "zh"),
        ("", "en"),
    ],
)
def test_the_browsers_language_is_read(header: str, language: str) -> None:
    assert parse_accept_language(header) == language


def test_the_address_goes_before_the_setting_before_the_cookie_before_the_browser(member: TestClient) -> None:
    def seen(path: str, browser: str) -> str:
        return open_page(member, path, browser).headers["content-language"]

    assert seen("/jobs", "zh") == "zh"
    assert LANGUAGE_COOKIE not in member.cookies, "what the browser asks is not a choice"
    assert seen("/jobs?lang=zh", "en") == "zh"
    assert seen("/jobs", "en") == "zh", "the cookie goes before the browser"
    assert seen("/jobs?lang=auto", "en") == "en"
    assert LANGUAGE_COOKIE not in member.cookies
    assert seen("/jobs?lang=zh", "en") == "zh"
    csrf = re.search(r'name="csrf-token" content="([^"]+)"', open_page(member, "/jobs").text)
    assert csrf
    changed = member.patch("/api/v1/me", json={"language": "en"}, headers={"x-csrf-token": csrf[1]})
    assert changed.status_code == 200
    assert seen("/jobs", "zh") == "en", "the setting goes before the cookie"
    assert seen("/jobs?lang=zh", "en") == "zh"
    assert seen("/jobs?lang=xx", "zh") == "en", "an unknown language is passed over"


def test_the_switch_keeps_the_rest_of_the_address(member: TestClient) -> None:
    html = open_page(member, "/jobs?kind=evaluate&q=%22%3E%3Cb%3E&lang=zh").text
    assert 'href="/jobs?kind=evaluate&amp;q=%22%3E%3Cb%3E&amp;lang=en"' in html


# -- what is in them ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PAGES, "/admin", "/nowhere"])
def test_nothing_inline(chief: TestClient, path: str) -> None:
    answer = open_page(chief, path)
    page = Markup(answer.text)
    assert page.forbidden == []
    assert page.scripts
    assert all(source.startswith("/static/") for source in page.scripts)
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy


def test_hostile_names_are_texts(member: TestClient) -> None:
    with_name = submit_job(_find_id(member), name=HOSTILE)
    html = open_page(member, f"/jobs/{with_name}").text
    assert "<script>alert" not in html
    assert "<img" not in html
    assert Markup(html).forbidden == []


@pytest.mark.parametrize("path", ["/login", "/register"])
def test_hostile_addresses_are_texts(web_client: TestClient, path: str) -> None:
    html = open_page(web_client, f'{path}?next=/x"><script>alert(1)</script>').text
    assert "<script>alert" not in html
    assert Markup(html).forbidden == []


def test_what_pages_ask_for_is_there_and_kept(member: TestClient) -> None:
    html = open_page(member, "/jobs").text
    for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', html):
        answer = member.get(address)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-type"].startswith(("text/javascript", "text/css"))


@pytest.mark.parametrize(
    "path", ["/static/../build.js", "/static/%2e%2e/package.json", "/static//etc/passwd"]
)
def test_static_files_are_only_the_builds(web_client: TestClient, path: str) -> None:
    assert web_client.get(path).status_code == 404


def test_pages_are_not_kept_by_browsers(member: TestClient) -> None:
    assert open_page(member, "/jobs").headers["cache-control"] == "no-store"


def test_without_a_build_pages_say_what_to_do(
    member: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendering, "DIST", tmp_path)
    answer = open_page(member, "/jobs")
    assert answer.status_code == 503
    assert "make setup" in answer.text
    assert member.get("/api/v1/jobs").status_code == 200, "the REST interface works without pages"


# -- errors ------------------------------------------------------------------------------------------------


def test_a_broken_page_gives_a_number_to_tell(member: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("backend.web.pages.overview.render_page", fail)
    client = TestClient(member.app, raise_server_exceptions=False, cookies=dict(member.cookies))
    answer = open_page(client, "/", "zh")
    assert answer.status_code == 500
    assert "平台出错了" in answer.text
    assert re.search(r"编号告诉管理员：[0-9a-f]{12}", answer.text)
    assert re.search(r"this number: [0-9a-f]{12}", open_page(client, "/?lang=en").text)
    assert "secret detail" not in answer.text


def test_programs_get_problems_instead_of_pages(owner: Person, web_client: TestClient) -> None:
    answer = web_client.get("/jobs/abcdefgh12", headers=owner.headers)
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def _find_id(client: TestClient) -> str:
    return str(client.get("/api/v1/me").json()["id"])
