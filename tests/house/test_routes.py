"""Every route refuses strangers, but for the few that the contract names."""

from __future__ import annotations

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from backend.app import app

PUBLIC = {
    "/healthz",
    "/readyz",
    "/metrics",
    "/api/v1/openapi.json",
    "/login",
    "/register",
}
PUBLIC_WRITES = {
    ("POST", "/api/v1/users"),
    ("POST", "/api/v1/tokens"),
    ("POST", "/login"),
    ("POST", "/register"),
}


def list_routes() -> list[tuple[str, str]]:
    """Return (method, path) of every route, its parameters filled with something harmless."""
    found = []
    for route in app.routes:
        if isinstance(route, APIRoute):
            path = route.path
            for name in route.param_convertors:
                path = path.replace(f"{{{name}:path}}", "x").replace(f"{{{name}}}", "abcdefgh12")
            found += [(method, path) for method in sorted(route.methods)]
    return found


@pytest.mark.parametrize(("method", "path"), list_routes())
def test_strangers_are_refused(web_client: TestClient, method: str, path: str) -> None:
    if path in PUBLIC or (method, path) in PUBLIC_WRITES:
        return
    answer = web_client.request(method, path, follow_redirects=False)
    if path.startswith(("/api/", "/internal/")) or method != "GET":
        assert answer.status_code in (401, 403), (answer.status_code, answer.text[:200])
    else:
        sent_to_sign_in = answer.status_code in (302, 303, 307) and "/login" in answer.headers["location"]
        assert sent_to_sign_in or answer.status_code == 401, answer.status_code
