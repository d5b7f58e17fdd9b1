"""Models by REST: who may add, fetch, publish and delete them, and what of LLaMA-Factory's table fits here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend.database import transaction
from backend.services import catalogue, chores
from backend.tables.base_model import BaseModel
from backend.tables.job import Job
from tests.factories import (
    Person,
    build_devices,
    make_dataset,
    make_model,
    register_node,
    start_job,
    write_attempt_file,
)
from tests.factories import finish_job as say_last_word
from tests.hubs.conftest import build_weights

HUB = {"hub": "huggingface", "repo_id": "Qwen/Qwen2.5-7B-Instruct"}
PRESET = "qwen2.5-0.5b-instruct"


@pytest.fixture(autouse=True)
def _presets(database: None, configure: Callable[[str, str], None]) -> None:
    configure("TUNEFORGE_PRESETS", "on")
    _discover()


def _discover() -> None:
    with transaction() as session:
        catalogue.discover(session)


def _add(person: Person, **more: Any) -> dict[str, Any]:
    answer = person.post("/models", json={"hub": HUB, **more})
    assert answer.status_code == 201, answer.text
    model: dict[str, Any] = answer.json()
    return model


def _mark_ready(model_id: str) -> None:
    with transaction() as session:
        session.get_one(BaseModel, model_id).status = "ready"


def test_a_model_of_ones_own_is_nobody_elses(owner: Person, colleague: Person, administrator: Person) -> None:
    model = _add(owner)
    assert (model["status"], model["owner"], model["visibility"]) == ("downloading", "owner", "private")
    assert model["template"] == "qwen"
    assert model["progress"] == {"stage": "queued", "fraction": None}
    path = f"/models/{model['id']}"
    assert owner.get(path).status_code == 200
    for method, place in [("GET", ""), ("DELETE", ""), ("POST", "/download"), ("POST", "/cancel")]:
        assert colleague.request(method, path + place).status_code == 404
    assert colleague.request("PATCH", path, json={"name": "mine"}).status_code == 404
    assert administrator.get(path).status_code == 200
    assert model["id"] not in [row["id"] for row in colleague.list_all("/models")]
    assert owner.client.get(f"/api/v1{path}").status_code == 401


def test_administrators_publish(owner: Person, colleague: Person, administrator: Person) -> None:
    path = f"/models/{_add(owner)['id']}"
    assert owner.request("PATCH", path, json={"visibility": "public"}).status_code == 403
    assert (
        administrator.request("PATCH", path, json={"visibility": "public"}).json()["visibility"] == "public"
    )
    assert colleague.get(path).status_code == 200
    assert colleague.request("DELETE", path).status_code == 403
    assert colleague.request("PATCH", path, json={"name": "mine"}).status_code == 403
    assert administrator.request("PATCH", path, json={"visibility": "private"}).status_code == 200
    assert colleague.get(path).status_code == 404
    assert (
        administrator.request("PATCH", f"/models/{PRESET}", json={"visibility": "private"}).status_code == 409
    )


def test_anyone_fetches_a_preset_and_who_began_it_or_an_administrator_stops_it(
    owner: Person, colleague: Person, administrator: Person
) -> None:
    path = f"/models/{PRESET}"
    first = owner.post(f"{path}/download")
    assert (first.status_code, first.json()["status"]) == (202, "downloading")
    assert colleague.post(f"{path}/download").status_code == 202, "twice is as good as once"
    with transaction() as session:
        chore = chores.find_open(session, PRESET)
        assert chore is not None
        assert chore.owner_id == owner.id
    assert colleague.post(f"{path}/cancel").status_code == 403
    assert owner.post(f"{path}/cancel").json()["status"] == "paused"
    assert owner.post(f"{path}/cancel").status_code == 409
    assert colleague.post(f"{path}/download").json()["status"] == "downloading"
    assert administrator.post(f"{path}/cancel").json()["status"] == "paused"
    assert owner.request("DELETE", path).status_code == 403
    assert administrator.request("DELETE", path).status_code == 204
    assert owner.get(path).json()["status"] == "available"
    _mark_ready(PRESET)
    assert owner.post(f"{path}/download").status_code == 409


def test_the_same_call_twice_adds_one_and_names_are_kept_apart(owner: Person, colleague: Person) -> None:
    headers = {"Idempotency-Key": "once"}
    body = {"hub": HUB, "name": "mine"}
    ids = {owner.post("/models", json=body, headers=headers).json()["id"] for _ in range(2)}
    assert len(ids) == 1
    assert owner.post("/models", json=body).status_code == 409
    assert _add(owner)["name"] == "Qwen2.5-7B-Instruct"
    assert _add(owner)["name"] == "Qwen2.5-7B-Instruct-2"
    assert _add(colleague, name="mine")["name"] == "mine"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"hub": HUB, "path": "/srv/models/x"},
        {"hub": {"hub": "elsewhere", "repo_id": "a/b"}},
        *({"hub": HUB | {"repo_id": name}} for name in ("../x", "a/b/c", "a b/c", "", "a/..", "/a", "a\n")),
        *({"hub": HUB | {"revision": name}} for name in ("../x", "a b", "?x=1", "")),
        *({"hub": HUB, "name": name} for name in ("../x", "a/b", ".hidden", "x\x00", "")),
        *({"path": path} for path in ("/etc", "../..", "relative", "/proc/self", "x\x00y", "/" * 900)),
    ],
    ids=str,
)  # fmt: skip
def test_hostile_wishes_are_refused_with_reasons(owner: Person, body: dict[str, Any]) -> None:
    answer = owner.post("/models", json=body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"]


def test_a_path_below_an_allowed_root_is_taken(
    owner: Person, configure: Callable[[str, str], None], tmp_path: Path
) -> None:
    (tmp_path / "allowed" / "little").mkdir(parents=True)
    (tmp_path / "allowed" / "out").symlink_to(tmp_path)
    configure("TUNEFORGE_IMPORT_ROOTS", str(tmp_path / "allowed"))
    assert owner.post("/models", json={"path": str(tmp_path / "allowed" / "little")}).status_code == 201
    assert owner.post("/models", json={"path": str(tmp_path / "allowed" / "out")}).status_code == 422


def test_a_model_in_use_stays(owner: Person) -> None:
    model = _add(owner)
    register_node()
    launch = {"model_path": model["path"], "adapter_path": None, "datasets": [], "tracking": "local"}
    order = start_job(owner.id, launch=launch)
    assert owner.request("DELETE", f"/models/{model['id']}").json()["code"] == "in_use"
    say_last_word(order)
    assert owner.request("DELETE", f"/models/{model['id']}").status_code == 204
    assert owner.get(f"/models/{model['id']}").status_code == 404


def test_what_a_job_trained_in_full_is_a_model(
    tuneforge_home: Path, owner: Person, colleague: Person
) -> None:
    register_node()
    make_dataset(tuneforge_home, modalities=["text"])
    order = start_job(owner.id, spec={"finetuning_type": "full", "model": PRESET})
    config = b'{"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}'
    write_attempt_file(order.job_id, 1, "output/config.json", config)
    write_attempt_file(order.job_id, 1, "output/model.safetensors", build_weights(100))
    _discover()
    assert owner.get(f"/models/{order.job_id}").status_code == 404, "not before the job has succeeded"
    say_last_word(order)
    _discover()
    model = owner.get(f"/models/{order.job_id}").json()
    assert (model["status"], model["source"], model["template"]) == ("ready", "job", "qwen")
    assert colleague.get(f"/models/{order.job_id}").status_code == 404
    assert owner.request("DELETE", f"/models/{order.job_id}").status_code == 409
    body = {"kind": "train", "model": order.job_id, "datasets": ["talks"]}
    answer = owner.post("/jobs", json=body)
    assert answer.status_code == 201, answer.text
    assert colleague.post("/jobs", json=body).status_code == 422
    assert owner.request("DELETE", f"/jobs/{order.job_id}").status_code == 409, "its result is in use"
    assert owner.post(f"/jobs/{answer.json()['id']}/stop").status_code == 202
    assert owner.request("DELETE", f"/jobs/{order.job_id}").status_code == 204
    _discover()
    assert owner.get(f"/models/{order.job_id}").status_code == 404


def test_the_catalogue_says_what_fits_here(owner: Person) -> None:
    devices = build_devices(8, kind="h800-80g")
    register_node("node-1", [one.model_copy(update={"memory_bytes": 80 << 30}) for one in devices])
    found = owner.get(
        "/model-catalogue", params={"q": "qwen2.5-vl", "modality": "image", "limit": 100}
    ).json()
    rows = {row["name"]: row for row in found["data"]}
    seven, large = rows["Qwen2.5-VL-7B-Instruct"], rows["Qwen2.5-VL-72B-Instruct"]
    assert (seven["template"], seven["family"], seven["approximate"]) == ("qwen2_vl", "Qwen2.5", False)
    assert seven["model_id"] == "qwen2.5-vl-7b-instruct"
    assert seven["licence"] == "apache-2.0"
    assert large["model_id"] is None

    def count(row: dict[str, Any], method: str) -> int | None:
        return next(one["gpus"] for one in row["fits"] if one["method"] == method)

    assert {fit["gpu_kind"] for fit in seven["fits"]} == {"h800-80g"}
    assert count(seven, "lora") == 1
    assert (count(large, "lora") or 99) > 1
    assert (count(seven, "full") or 99) >= 2
    assert count(seven, "qlora") == 1
    everything = owner.list_all("/model-catalogue")
    assert len(everything) == len({row["name"] for row in everything}) > 600
    assert all(row["approximate"] for row in everything if row["name"].startswith("BLOOM"))
    assert owner.get("/model-catalogue", params={"q": "no such model"}).json()["data"] == []
    assert owner.client.get("/api/v1/model-catalogue").status_code == 401


def test_code_runs_for_the_very_revision_that_an_administrator_named(
    owner: Person, tuneforge_home: Path, configure: Callable[[str, str], None]
) -> None:
    register_node()
    make_dataset(tuneforge_home, modalities=["text"])
    origin = {
        "kind": "hub",
        "hub": "huggingface",
        "repo_id": "acme/odd",
        "commit": "c" * 40,
        "revision": None,
    }
    make_model(tuneforge_home, "odd", origin=origin)
    _discover()
    body = {"kind": "train", "model": "odd", "datasets": ["talks"]}
    assert "trust_remote_code: false" in owner.post("/configs", json=body).text
    configure("TUNEFORGE_TRUSTED_MODEL_CODE", f"acme/odd@{'d' * 40}")
    assert "trust_remote_code: false" in owner.post("/configs", json=body).text
    configure("TUNEFORGE_TRUSTED_MODEL_CODE", f"acme/odd@{'d' * 40},acme/odd@{'c' * 40}")
    assert "trust_remote_code: true" in owner.post("/configs", json=body).text


def test_an_adapter_keeps_its_base_whatever_is_called_so_later(owner: Person, tuneforge_home: Path) -> None:
    register_node()
    make_dataset(tuneforge_home)
    make_model(tuneforge_home)
    _discover()
    order = start_job(owner.id)
    write_attempt_file(order.job_id, 1, "output/adapter_model.safetensors", b"x")
    say_last_word(order)
    _add(owner, name="tiny")  # one's own comes first by name, but this is not what the adapter was trained on
    body = {"kind": "evaluate", "adapter": order.job_id, "datasets": ["talks"]}
    answer = owner.post("/jobs", json=body)
    assert answer.status_code == 201, answer.text
    with transaction() as session:
        assert session.get_one(Job, answer.json()["id"]).launch["model_path"] == "models/tiny"
