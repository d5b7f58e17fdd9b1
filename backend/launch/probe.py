"""Asking a running platform whether it is alive and ready, by the standard library alone."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any


def build_address(host: str, port: int) -> str:
    """Return the address a person on this machine opens; a wildcard host is reached by loopback."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    if ":" in shown and not shown.startswith("["):
        shown = f"[{shown}]"
    return f"http://{shown}:{port}"


def fetch_health(address: str, path: str, timeout_seconds: float = 5.0) -> tuple[int, dict[str, Any]]:
    """Return status and body of a health route; status 0 when nothing answers."""
    # No proxy stands between this machine and itself.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address + path, timeout=timeout_seconds) as answer:
            return answer.status, _parse(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, _parse(error.read())
    except (OSError, http.client.HTTPException):
        return 0, {}


def describe_missing(body: dict[str, Any]) -> str:
    """Return in a few words what a `/readyz` that is not ready still waits for."""
    checks = body.get("checks")
    if isinstance(checks, dict):
        missing = [str(name) for name, value in checks.items() if value not in (True, "ok", "ready")]
        if missing:
            return ", ".join(missing)
    detail = body.get("detail") or body.get("status") or "the platform"
    return str(detail)


def _parse(content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
