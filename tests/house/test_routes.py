"""Every route refuses strangers, but for the few that the contract names; another's job does not exist."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from backend.app import app
from backend.database import transaction
from backend.services import users
from backend.web.deps import SESSION_COOKIE
from tests.factories import Person, submit_job

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


def _walk(routes: Iterable[Any]) -> Iterator[Any]:
    """Yield every route of ours; FastAPI keeps those of included routers in branches."""
    for route in routes:
        if hasattr(route, "effective_candidates"):
            yield from _walk(route.effective_candidates())
        elif isinstance(getattr(route, "original_route", route), APIRoute):
            yield route


def list_templates() -> list[tuple[str, str]]:
    """Return (method, path with its parameters in braces) of every route."""
    return [(method, route.path) for route in _walk(app.routes) for method in sorted(route.methods)]


def _fill(path: str, job_id: str = "abcdefgh12") -> str:
    """Fill a path's parameters with something harmless."""
    path = path.replace("{job_id}", job_id)
    return re.sub(r"\{[a-z_]+(:path)?\}", lambda found: "x" if found[1] else "abcdefgh12", path)


def test_the_list_of_routes_is_whole(web_client: TestClient) -> None:
    listed = {path for _, path in list_templates()}
    document = web_client.get("/api/v1/openapi.json").json()
    assert {re.sub(r":path\}", "}", path) for path in listed} >= set(document["paths"])
    assert {
        "/login",
        "/internal/v1/nodes/register",
        "/jobs/{job_id}",
        "/jobs/{job_id}/board/{path:path}",
    } <= listed


@pytest.mark.parametrize(("method", "template"), list_templates())
def test_strangers_are_refused(web_client: TestClient, method: str, template: str) -> None:
    path = _fill(template)
    if path in PUBLIC or (method, path) in PUBLIC_WRITES:
        return
    answer = web_client.request(method, path, follow_redirects=False)
    if path.startswith(("/api/", "/internal/")) or method not in ("GET", "HEAD"):
        assert answer.status_code in (401, 403), (answer.status_code, answer.text[:200])
    else:
        sent_to_sign_in = answer.status_code in (302, 303, 307) and "/login" in answer.headers["location"]
        assert sent_to_sign_in or answer.status_code == 401, answer.status_code


# Bodies without which a route would answer 422 before it looked for the job.
_BODIES: dict[tuple[str, str], dict[str, str]] = {("PATCH", "/api/v1/jobs/{job_id}"): {"name": "mine now"}}
_JOB_ROUTES = [
    (method, template)
    for method, template in list_templates()
    if "{job_id}" in template and not template.startswith("/internal/")
]


@pytest.mark.parametrize(("method", "template"), _JOB_ROUTES)
def test_another_users_job_does_not_exist(
    owner: Person, colleague: Person, method: str, template: str
) -> None:
    job_id = submit_job(owner.id)
    options: dict[str, Any] = {"json": _BODIES.get((method, template)), "follow_redirects": True}
    if template.startswith("/api/"):
        options["headers"] = colleague.headers
    else:
        with transaction() as session:
            colleague.client.cookies.set(SESSION_COOKIE, users.start_session(session, colleague.id))
    of_others = colleague.client.request(method, _fill(template, job_id), **options)
    of_nobody = colleague.client.request(method, _fill(template, "0" * 20), **options)
    assert of_others.status_code == of_nobody.status_code == 404
    assert of_others.text.replace(job_id, "") == of_nobody.text.replace("0" * 20, "")
