"""The gate by itself: what passes, what does not exist, and the five edits."""

from __future__ import annotations

import pytest

from backend.board.gate import CONTENT_SECURITY_POLICY, find_target, rewrite_body

PREFIX = "/jobs/abc123/board/"


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("", "/"),
        ("charts", "/"),
        ("experiment/1", "/"),
        ("experiment/12/chart", "/"),
        ("experiment/1/env/requirements", "/"),
        ("assets/index-Ddq0Tbiq.js", "/assets/index-Ddq0Tbiq.js"),
        ("api/v1/project", "/api/v1/project"),
        ("api/v1/project/charts", "/api/v1/project/charts"),
        ("api/v1/experiment/1/status", "/api/v1/experiment/1/status"),
        ("api/v1/experiment/1/tag/train/loss", "/api/v1/experiment/1/tag/train/loss"),
        (
            "api/v1/experiment/1/tag/训练 loss%?#",
            "/api/v1/experiment/1/tag/%E8%AE%AD%E7%BB%83%20loss%25%3F%23",
        ),
    ],
)
def test_what_is_listed_passes(path: str, target: str) -> None:
    assert find_target(path) == target


@pytest.mark.parametrize(
    "path",
    [
        "api/v1/media//etc/passwd",
        "api/v1/media/etc/passwd",
        "api/v1/media/../../../etc/passwd",
        "api/v1/experiment/1/stop",
        "api/v1/experiment/1/show",
        "api/v1/experiment/1/stop/",
        "api/v1/experiment/-1/status",
        "api/v1/experiment/1/tag/../stop",
        "api/v1/experiment/1/tag/./../../1/stop",
        "api/v1/experiment/1/tag/..",
        "api/v1/experiment/1/tag/a//b",
        "api/v1/experiment/1/tag/%2e%2e%2fstop",
        "api/v1/experiment/1/tag/..\\stop",
        "api/v1/experiment/1/tag/a\nb",
        "api/v1/experiment/1/tag/a\x00",
        "api/v1/experiment/١/status",
        "api/v1/project/update",
        "api/v1/namespace/1/opened",
        "api/v1/chart/1/status",
        "api/v2/project",
        "api",
        "openapi.json",
        "docs",
        "assets/../api/v1/media//etc/passwd",
        "assets/..%2f..%2fetc/passwd",
        "assets/",
        "assets/.env",
        "assets/a/b.js",
        "//etc/passwd",
        "/",
        "experiment/1/../../api/v1/media/x",
        "charts\n",
    ],
)
def test_everything_else_does_not_exist(path: str) -> None:
    if path == "/":
        assert find_target(path) == "/"  # the prefix with one slash too many is still the board's first page
        return
    assert find_target(path) is None


def test_the_page_starts_from_the_prefix() -> None:
    page = b'<html><head><script src="/assets/i.js"></script><link href="/assets/i.css"></head></html>'
    moved = rewrite_body("/", "text/html; charset=utf-8", page, PREFIX).decode()
    assert f'<base href="{PREFIX}" />' in moved
    assert f'src="{PREFIX}assets/i.js"' in moved
    assert '"/assets/' not in moved


def test_scripts_and_styles_ask_below_the_prefix() -> None:
    script = b'x={baseURL:"/api/v1",timeout:6e4};f=function(e){return"/"+e}'
    moved = rewrite_body("/assets/index-x.js", "application/javascript", script, PREFIX).decode()
    assert moved == f'x={{baseURL:"{PREFIX}api/v1",timeout:6e4}};f=function(e){{return"{PREFIX}"+e}}'
    style = rewrite_body("/assets/index-x.css", "text/css; charset=utf-8", b"src:url(/assets/f.ttf)", PREFIX)
    assert style.decode() == f"src:url({PREFIX}assets/f.ttf)"


def test_data_is_passed_on_as_it_is() -> None:
    data = b'{"name": "\\"/assets/ baseURL:\\"/api/v1\\""}'
    assert rewrite_body("/api/v1/project", "application/json", data, PREFIX) == data


def test_the_policy_lets_no_script_in_from_elsewhere() -> None:
    policy = dict(part.split(" ", 1) for part in CONTENT_SECURITY_POLICY.split("; "))
    assert policy["default-src"] == "'none'"
    assert "http" not in CONTENT_SECURITY_POLICY
    assert "unsafe-inline" not in policy["script-src"]
