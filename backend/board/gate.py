"""What may pass between a browser and a board, and how a board is made to live behind a prefix.

swanboard trusts whoever reaches it: its media route reads any file, some GETs stop a run, PATCH and DELETE change and
remove experiments. So only what is listed here passes, and everything else does not exist.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote

_NUMBER = r"[0-9]{1,9}"
_PAGES = re.compile(
    rf"(|404|help|charts|experiment/{_NUMBER}(/(index|chart|log|env(/(hardware|requirements))?))?)"
)
_ASSETS = re.compile(r"assets/[A-Za-z0-9_-]{1,100}\.(js|css|ttf|png|ico)")
_DATA = re.compile(
    r"api/v1/(project(/(summaries|charts))?"
    rf"|experiment/{_NUMBER}(/(status|summary|recent_log|chart|requirements|tag/.{{1,512}}))?)"
)
_HOSTILE = re.compile(r"[\x00-\x1f\x7f\\]|(^|/)\.{1,2}(/|$)|//|%(2[ef]|5c|00)", re.IGNORECASE)

# Scripts from us alone. The board's translations are compiled in the browser, which needs unsafe-eval; its
# chart library writes style attributes. Nothing may be fetched from, or sent to, anywhere else.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'unsafe-eval'",
        "worker-src 'self' blob:",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "base-uri 'self'",
        "form-action 'none'",
        "frame-ancestors 'self'",
        "object-src 'none'",
    )
)


@dataclass(frozen=True)
class BoardAnswer:
    """What the browser gets: `body` is empty for HEAD."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def find_target(path: str) -> str | None:
    """Return the address to ask a board for, for the decoded `path` after the prefix; None when it may not pass."""
    path = path.removeprefix("/")
    if _HOSTILE.search(path):
        return None
    if _PAGES.fullmatch(path):
        return "/"
    if _ASSETS.fullmatch(path) or _DATA.fullmatch(path):
        return "/" + quote(path, safe="/")
    return None


def rewrite_body(path: str, content_type: str, body: bytes, prefix: str) -> bytes:
    """Return `body` with its addresses moved under `prefix` (`/jobs/<id>/board/`, slashes at both ends).

    Five edits: the page's base (from which the board's router starts), its links and scripts, the fonts' `url(`,
    the address its requests go to, and the one its later scripts are loaded from.
    """
    place = prefix.encode()
    if content_type.startswith("text/html"):
        body = body.replace(b"<head>", b'<head>\n    <base href="' + place + b'" />', 1)
        return body.replace(b'"/assets/', b'"' + place + b"assets/")
    if content_type.startswith("text/css"):
        return body.replace(b"url(/assets/", b"url(" + place + b"assets/")
    if path.endswith(".js"):
        body = body.replace(b'baseURL:"/api/v1"', b'baseURL:"' + place + b'api/v1"')
        body = body.replace(b'return"/"+', b'return"' + place + b'"+')
        return body.replace(b'"/assets/', b'"' + place + b"assets/")
    return body


def build_headers(content_type: str, *, keep_seconds: int = 0) -> dict[str, str]:
    """Return the only headers a board's answer leaves with."""
    return {
        "Content-Type": content_type,
        "Cache-Control": f"private, max-age={keep_seconds}" if keep_seconds else "no-store",
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def refuse(status: int, english: str, chinese: str) -> BoardAnswer:
    """Return a page of one sentence in both languages."""
    body = (
        f"<!doctype html><meta charset=utf-8><title>SwanLab</title><p>{chinese}</p><p lang=en>{english}</p>"
    )
    headers = build_headers("text/html; charset=utf-8")
    return BoardAnswer(status, headers | ({"Allow": "GET, HEAD"} if status == 405 else {}), body.encode())
