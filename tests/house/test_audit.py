"""Every route that changes something leaves an entry in the audit trail, or is named here with the reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from backend.database import transaction
from backend.domain.audit import Action
from backend.domain.presets import list_dataset_presets
from backend.services import catalogue, users
from backend.services.presets import offer_dataset
from backend.tables.audit import AuditEntry
from backend.tables.dataset import Dataset
from backend.web.deps import CSRF_COOKIE, SESSION_COOKIE
from tests.conftest import find_free_port
from tests.factories import (
    PASSWORD,
    Person,
    finish_job,
    make_dataset,
    make_model,
    make_own_dataset,
    register_node,
    start_job,
    submit_job,
    write_attempt_file,
)
from tests.house.test_routes import list_templates
from tests.web.test_jobs import TRAIN

SAFE = {"GET", "HEAD", "OPTIONS"}

EXCEPTIONS = {
    (
        "POST",
        "/api/v1/estimates",
    ): "reckons; at most lengths are counted, which changes nothing of the dataset",
    (
        "POST",
        "/api/v1/datasets/{reference}/profile",
    ): "has lengths counted, which changes nothing of the dataset",
    ("POST", "/api/v1/configs"): "shows what a job would run, and changes nothing",
    (
        "PATCH",
        "/api/v1/uploads/{upload_id}",
    ): "the pieces of an upload whose begin was noted: one entry for each 8 MiB would bury all others",
    ("PATCH", "/api/v1/me"): "the language one reads: a preference that concerns nobody else",
    (
        "POST",
        "/api/v1/me/swanlab/verify",
    ): "asks again whether a key is good; key and access stay as they are",
}
"""What leaves no entry, and why."""
NODES_DOOR = "/internal/v1/"
"""Here nodes speak and no person: what they say of jobs is kept as the jobs' events."""


class World:
    """A platform with somebody in it, for one call that succeeds."""

    def __init__(self, client: TestClient, owner: Person, chief: Person) -> None:
        self.client, self.owner, self.chief = client, owner, chief

    def fill_form(self, path: str, **values: str) -> httpx.Response:
        """Send one of the forms that work before there is a session."""
        token = {CSRF_COOKIE: "t" * 32}
        self.client.cookies.update(token)
        answer = self.client.post(path, data=values | {"form_token": "t" * 32}, follow_redirects=False)
        self.client.cookies.clear()
        return answer

    def sign_out(self) -> httpx.Response:
        """Sign a browser out."""
        with transaction() as session:
            cookie = users.start_session(session, self.owner.id)
            found = users.find_session(session, cookie)
            assert found is not None
            headers = {"X-CSRF-Token": found.csrf_token}
        self.client.cookies.set(SESSION_COOKIE, cookie)
        answer = self.client.post("/logout", headers=headers)
        self.client.cookies.clear()
        return answer

    def set_key(self) -> httpx.Response:
        """Enter a SwanLab key whose host does not answer: it is kept, unverified."""
        body = {"api_key": "fake-swanlab-key-0001", "host": f"http://127.0.0.1:{find_free_port()}"}
        return self.owner.request("PUT", "/me/swanlab", json=body)

    def finish(self, end_reason: str = "completed") -> str:
        """Return the id of a job that has run, with a checkpoint."""
        order = start_job(self.owner.id)
        write_attempt_file(order.job_id, 1, "output/checkpoint-7/trainer_state.json", b"{}")
        finish_job(order, end_reason)
        return order.job_id

    def add_model(self) -> httpx.Response:
        """Add a model whose download waits for a librarian."""
        return self.owner.post("/models", json={"hub": {"hub": "huggingface", "repo_id": "acme/little"}})

    def offer_dataset(self) -> str:
        """Return the id of a preset that nobody has fetched."""
        preset = list_dataset_presets()[0]
        with transaction() as session:
            dataset = Dataset(id=preset.id, name=preset.id, report={})
            offer_dataset(dataset, preset)
            session.add(dataset)
        return preset.id

    def pause_model(self) -> str:
        """Return the id of a model whose download was stopped."""
        model_id = str(self.add_model().json()["id"])
        assert self.owner.post(f"/models/{model_id}/cancel").json()["status"] == "paused"
        return model_id

    def begin_upload(self) -> httpx.Response:
        """Begin an upload."""
        body = {"file_name": "a.json", "size_bytes": 3, "purpose": "file"}
        return self.owner.post("/uploads", json=body)

    def own_dataset(self) -> str:
        """Return the id of a dataset that is the owner's."""
        return make_own_dataset(self.owner.id)

    def importing_dataset(self) -> str:
        """Return the id of a dataset that is being imported."""
        made = self.owner.post("/datasets", files={"file": ("a.json", b"[]")})
        return str(made.json()["id"])

    def make_folder(self) -> httpx.Response:
        """Make a folder in the files space."""
        return self.owner.post("/files/folders", json={"path": "a"})

    def delete_token(self) -> httpx.Response:
        """Make a token and delete it."""
        token_id = self.owner.post("/tokens", json={"name": "short"}).json()["id"]
        return self.owner.request("DELETE", f"/tokens/{token_id}")

    def revoke(self) -> httpx.Response:
        """Issue a node token and revoke it."""
        assert self.chief.request("PUT", "/admin/node-tokens/gpu-7").status_code == 200
        return self.chief.request("DELETE", "/admin/node-tokens/gpu-7")

    def forget_key(self) -> httpx.Response:
        """Enter a key and forget it."""
        assert self.set_key().json()["status"] == "unreachable"
        return self.owner.request("DELETE", "/me/swanlab")


ACCOUNT = {"username": "newcomer", "password": PASSWORD}
PASSWORDS = {"current_password": PASSWORD, "new_password": "another long password"}
CALLS: dict[tuple[str, str], tuple[Action, Callable[[World], httpx.Response]]] = {
    ("POST", "/login"): (
        Action.SESSION_STARTED,
        lambda w: w.fill_form("/login", username=w.owner.username, password=PASSWORD),
    ),
    ("POST", "/register"): (
        Action.USER_REGISTERED,
        lambda w: w.fill_form("/register", repeated=PASSWORD, **ACCOUNT),
    ),
    ("POST", "/logout"): (Action.SESSION_ENDED, World.sign_out),
    ("POST", "/api/v1/users"): (
        Action.USER_REGISTERED,
        lambda w: w.client.post("/api/v1/users", json=ACCOUNT),
    ),
    ("POST", "/api/v1/tokens"): (
        Action.API_TOKEN_CREATED,
        lambda w: w.owner.post("/tokens", json={"name": "ci"}),
    ),
    ("DELETE", "/api/v1/tokens/{token_id}"): (Action.API_TOKEN_DELETED, World.delete_token),
    ("POST", "/api/v1/me/password"): (
        Action.USER_PASSWORD_CHANGED,
        lambda w: w.owner.post("/me/password", json=PASSWORDS),
    ),
    ("PUT", "/api/v1/me/swanlab"): (Action.SWANLAB_KEY_SET, World.set_key),
    ("DELETE", "/api/v1/me/swanlab"): (Action.SWANLAB_KEY_FORGOTTEN, World.forget_key),
    ("POST", "/api/v1/jobs"): (Action.JOB_SUBMITTED, lambda w: w.owner.post("/jobs", json=TRAIN)),
    ("PATCH", "/api/v1/jobs/{job_id}"): (
        Action.JOB_RENAMED,
        lambda w: w.owner.request("PATCH", f"/jobs/{submit_job(w.owner.id)}", json={"name": "other"}),
    ),
    ("DELETE", "/api/v1/jobs/{job_id}"): (
        Action.JOB_DELETED,
        lambda w: w.owner.request("DELETE", f"/jobs/{w.finish()}"),
    ),
    ("POST", "/api/v1/jobs/{job_id}/stop"): (
        Action.JOB_STOPPED,
        lambda w: w.chief.post(f"/jobs/{submit_job(w.owner.id)}/stop"),
    ),
    ("POST", "/api/v1/jobs/{job_id}/resume"): (
        Action.JOB_RESUMED,
        lambda w: w.owner.post(f"/jobs/{w.finish('crashed')}/resume"),
    ),
    ("POST", "/api/v1/uploads"): (Action.UPLOAD_BEGUN, lambda w: w.begin_upload()),
    ("DELETE", "/api/v1/uploads/{upload_id}"): (
        Action.UPLOAD_DELETED,
        lambda w: w.owner.request("DELETE", f"/uploads/{w.begin_upload().json()['id']}"),
    ),
    ("POST", "/api/v1/datasets"): (
        Action.DATASET_CREATED,
        lambda w: w.owner.post("/datasets", files={"file": ("a.json", b"[]")}),
    ),
    ("PATCH", "/api/v1/datasets/{reference}"): (
        Action.DATASET_CHANGED,
        lambda w: w.owner.request("PATCH", f"/datasets/{w.own_dataset()}", json={"name": "other"}),
    ),
    ("PUT", "/api/v1/datasets/{reference}/mapping"): (
        Action.DATASET_CHANGED,
        lambda w: w.owner.request(
            "PUT", f"/datasets/{w.own_dataset()}/mapping", json={"file_name": "a.json"}
        ),
    ),
    ("POST", "/api/v1/datasets/{reference}/clean"): (
        Action.DATASET_CREATED,
        lambda w: w.owner.post(f"/datasets/{w.own_dataset()}/clean"),
    ),
    ("POST", "/api/v1/datasets/{reference}/cancel"): (
        Action.DATASET_CHANGED,
        lambda w: w.owner.post(f"/datasets/{w.importing_dataset()}/cancel"),
    ),
    ("POST", "/api/v1/datasets/{reference}/download"): (
        Action.DATASET_FETCHED,
        lambda w: w.owner.post(f"/datasets/{w.offer_dataset()}/download"),
    ),
    ("DELETE", "/api/v1/datasets/{reference}"): (
        Action.DATASET_DELETED,
        lambda w: w.owner.request("DELETE", f"/datasets/{w.own_dataset()}"),
    ),
    ("POST", "/api/v1/files/folders"): (Action.FILE_CHANGED, lambda w: w.make_folder()),
    ("PATCH", "/api/v1/files"): (
        Action.FILE_CHANGED,
        lambda w: w.make_folder() and w.owner.request("PATCH", "/files", json={"path": "a", "new_path": "b"}),
    ),
    ("DELETE", "/api/v1/files"): (
        Action.FILE_DELETED,
        lambda w: w.make_folder() and w.owner.request("DELETE", "/files", params={"path": "a"}),
    ),
    ("POST", "/api/v1/models"): (Action.MODEL_ADDED, lambda w: w.add_model()),
    ("PATCH", "/api/v1/models/{reference}"): (
        Action.MODEL_RENAMED,
        lambda w: w.owner.request("PATCH", f"/models/{w.add_model().json()['id']}", json={"name": "other"}),
    ),
    ("DELETE", "/api/v1/models/{reference}"): (
        Action.MODEL_DELETED,
        lambda w: w.owner.request("DELETE", f"/models/{w.add_model().json()['id']}"),
    ),
    ("POST", "/api/v1/models/{reference}/download"): (
        Action.MODEL_FETCHED,
        lambda w: w.owner.post(f"/models/{w.pause_model()}/download"),
    ),
    ("POST", "/api/v1/models/{reference}/cancel"): (
        Action.MODEL_FETCH_STOPPED,
        lambda w: w.owner.post(f"/models/{w.add_model().json()['id']}/cancel"),
    ),
    ("PATCH", "/api/v1/admin/nodes/{node_id}"): (
        Action.NODE_DRAINED,
        lambda w: w.chief.request("PATCH", "/admin/nodes/node-1", json={"status": "draining"}),
    ),
    ("PUT", "/api/v1/admin/node-tokens/{node_name}"): (
        Action.NODE_TOKEN_ISSUED,
        lambda w: w.chief.request("PUT", "/admin/node-tokens/gpu-7"),
    ),
    ("DELETE", "/api/v1/admin/node-tokens/{node_name}"): (Action.NODE_TOKEN_REVOKED, World.revoke),
    ("PATCH", "/api/v1/admin/users/{user_id}"): (
        Action.USER_CHANGED,
        lambda w: w.chief.request("PATCH", f"/admin/users/{w.owner.id}", json={"share_weight": 2}),
    ),
}
"""For every other route: what it is called in the trail, and a call that succeeds."""


def _list_unsafe() -> set[tuple[str, str]]:
    return {
        (method, path)
        for method, path in list_templates()
        if method not in SAFE and not path.startswith(NODES_DOOR)
    }


def test_every_unsafe_route_is_tried_here_or_excepted_with_a_reason() -> None:
    assert _list_unsafe() == set(CALLS) | set(EXCEPTIONS)
    assert not set(CALLS) & set(EXCEPTIONS)


@pytest.fixture
def world(tuneforge_home: Path, owner: Person, administrator: Person) -> World:
    """A model, a dataset, a node, a user and an administrator."""
    make_model(tuneforge_home)
    make_dataset(tuneforge_home)
    register_node()
    with transaction() as session:
        catalogue.discover(session)
    return World(owner.client, owner, administrator)


@pytest.mark.parametrize("route", sorted(CALLS), ids=" ".join)
def test_a_call_that_succeeds_leaves_its_entry(world: World, route: tuple[str, str]) -> None:
    action, call = CALLS[route]
    answer = call(world)
    assert answer.status_code < 400, answer.text
    with transaction() as session:
        entries: list[AuditEntry] = list(
            session.scalars(select(AuditEntry).where(AuditEntry.action == action.value))
        )
    by_request: list[Any] = [entry for entry in entries if entry.address is not None]
    assert by_request, f"{route} left no {action.value} with the address that asked"
    assert all(entry.actor_id for entry in by_request)


def test_the_administrators_page_names_every_action_in_both_languages() -> None:
    script = (Path(__file__).resolve().parents[2] / "frontend/src/admin/audit.ts").read_text("utf-8")
    for action in Action:
        assert re.search(rf'"{re.escape(action.value)}": t\("[^"]+", "[^"]+"\)', script), action.value
