"""A browser without a window for tests of pages: it follows forms with their tokens and reads what came back."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import httpx
from fastapi.testclient import TestClient

from tests.factories import PASSWORD

ACCEPT = {"accept": "text/html,application/xhtml+xml"}


class Markup(HTMLParser):
    """What a page is made of: `texts` people read, and whatever its policy would forbid in `forbidden`."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.forbidden: list[str] = []
        self.scripts: list[str] = []
        self._open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self._open.append(tag)
        for name, value in attrs:
            if name == "style" or name.startswith("on") or (value or "").startswith("javascript:"):
                self.forbidden.append(f"<{tag} {name}={value!r}>")
            if tag == "script" and name == "src":
                self.scripts.append(value or "")
            if name in ("placeholder", "title", "aria-label"):
                self.texts.append(value or "")
        if tag == "style":
            self.forbidden.append("<style>")

    def handle_data(self, data: str) -> None:
        """Note a text; inside a script there must be none."""
        if data.strip() and self._open and self._open[-1] == "script":
            self.forbidden.append(f"<script>{data}")
        self.texts.append(data)

    def handle_endtag(self, tag: str) -> None:
        """Note an end."""
        if tag in self._open:
            while self._open.pop() != tag:
                pass


def open_page(client: TestClient, path: str, language: str = "en", **headers: str) -> httpx.Response:
    """GET a page as a browser of this language does, without following where it leads."""
    wanted = ACCEPT | {"accept-language": language} | headers
    return client.get(path, headers=wanted, follow_redirects=False)


def read_form_token(html: str) -> str:
    """Return the token in a form of the page."""
    found = re.search(r'name="form_token"\s+value="([^"]+)"', html)
    assert found, "the page has no form token"
    return found[1]


def send_form(client: TestClient, path: str, language: str = "en", **fields: str) -> httpx.Response:
    """Open the page with the form, fill it in and send it."""
    page = open_page(client, path, language)
    filled = {"form_token": read_form_token(page.text)} | fields
    wanted = ACCEPT | {"accept-language": language, "origin": "http://testserver"}
    return client.post(path, data=filled, headers=wanted, follow_redirects=False)


def sign_in_by_form(client: TestClient, username: str) -> None:
    """Sign the client in with the password of everybody made by the factories."""
    answer = send_form(client, "/login", username=username, password=PASSWORD)
    assert answer.status_code == 303, answer.text
