"""Jobs over HTTP: submitted once, listed and searched, renamed, stopped, resumed, deleted."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import select, update

from backend import storage
from backend.database import transaction
from backend.services import catalogue, nodes, users
from backend.tables.job import Job, JobEvent
from backend.tables.ledger import LedgerEntry
from backend.tables.user import User
from tests.factories import (
    Person,
    assign_jobs,
    claim_job,
    finish_job,
    make_dataset,
    make_model,
    make_user,
    register_node,
    start_job,
    submit_job,
    write_attempt_file,
)

Json = dict[str, Any]

TRAIN: Json = {
    "kind": "train",
    "name": "first",
    "model": "tiny",
    "datasets": ["talks"],
    "stage": "sft",
    "finetuning_type": "lora",
    "args": {"learning_rate": 1e-4, "num_train_epochs": 2},
    "resources": {"gpu_kind": "cpu", "gpu_count": 1},
    "tier": "flex",
}


def _submit(person: Person, body: Json = TRAIN, **headers: str) -> Json:
    answer = person.post("/jobs", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    job: Json = answer.json()
    return job


def _refuse(answer: Any, status: int, code: str) -> Json:
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    body: Json = answer.json()
    return body


def _count_jobs() -> int:
    with transaction() as session:
        return len(session.scalars(select(Job.id)).all())


# -- submitting --------------------------------------------------------------------------------------------


def test_a_job_is_queued_whole(platform: None, owner: Person) -> None:
    answer = owner.post("/jobs", json=TRAIN)
    assert answer.status_code == 201
    job = answer.json()
    assert answer.headers["location"] == f"/api/v1/jobs/{job['id']}"
    assert set(job) >= {
        "id", "name", "kind", "status", "end_reason", "attempt", "owner", "spec", "tier", "assignment",
        "queue_position", "progress", "tracking", "estimate", "cost", "stop_requested_at", "created_at",
        "started_at", "finished_at", "error",
    }  # fmt: skip
    assert (job["name"], job["kind"], job["status"], job["attempt"]) == ("first", "train", "queued", 1)
    assert (job["owner"], job["tier"], job["queue_position"]) == ("owner", "flex", 1)
    assert job["progress"] == {
        "phase": "queued", "step": 0, "total_steps": job["estimate"]["steps"], "fraction": 0.0, "eta_seconds": None,
    }  # fmt: skip
    assert job["tracking"] == {"provider": "swanlab", "mode": "local", "url": None}
    assert job["cost"] == {"currency": "CNY", "amount": "0.0000"}
    assert job["spec"]["args"]["learning_rate"] == 1e-4
    assert job["spec"]["args"]["lora_rank"] == 8
    assert owner.get(f"/jobs/{job['id']}").json() == job
    events = owner.get(f"/jobs/{job['id']}/events").json()["data"]
    assert [(event["old"], event["new"], event["attempt"]) for event in events] == [(None, "queued", 1)]


def test_the_estimate_is_of_the_contracts_form_and_is_kept_on_the_job(platform: None, owner: Person) -> None:
    answer = owner.post("/estimates", json=TRAIN)
    assert answer.status_code == 200
    estimate = answer.json()
    assert set(estimate) >= {
        "duration_seconds", "breakdown_seconds", "steps", "tokens", "samples", "memory_bytes", "fits", "cost",
        "by_tier", "basis", "warnings", "recommended",
    }  # fmt: skip
    assert set(estimate["by_tier"]) == {"express", "flex", "spot"}
    assert set(estimate["duration_seconds"]) == {"low", "expected", "high"}
    assert estimate["steps"] == _submit(owner)["estimate"]["steps"] > 0
    assert _count_jobs() == 1


def test_the_config_is_the_runs_own_yaml_and_the_same_before_and_after(platform: None, owner: Person) -> None:
    before = owner.post("/configs", json=TRAIN)
    job_id = _submit(owner)["id"]
    after = owner.get(f"/jobs/{job_id}/config")
    for answer in (before, after):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/yaml")
    assert before.text == after.text
    config = yaml.safe_load(after.text)
    assert (config["learning_rate"], config["num_train_epochs"], config["stage"]) == (1e-4, 2, "sft")
    assert not any(Path(str(value)).is_absolute() for value in config.values())


def test_the_same_key_and_body_make_one_job(platform: None, owner: Person, colleague: Person) -> None:
    key = {"Idempotency-Key": "one"}
    first, again = _submit(owner, **key), _submit(owner, **key)
    assert first["id"] == again["id"]
    _refuse(owner.post("/jobs", json=TRAIN | {"name": "other"}, headers=key), 409, "idempotency_key_reused")
    assert _submit(colleague, **key)["id"] != first["id"]
    assert _count_jobs() == 2
    assert owner.post("/jobs", json=TRAIN, headers={"Idempotency-Key": ""}).status_code == 422
    assert owner.post("/jobs", json=TRAIN, headers={"Idempotency-Key": "k" * 201}).status_code == 422


def test_a_refused_call_does_not_use_up_its_key(platform: None, owner: Person) -> None:
    key = {"Idempotency-Key": "one"}
    assert owner.post("/jobs", json=TRAIN | {"model": "nosuch"}, headers=key).status_code == 422
    assert _submit(owner, **key)["name"] == "first"


def test_two_calls_at_once_with_one_key_make_one_job(platform: None, owner: Person) -> None:
    start = threading.Barrier(4)

    def call(_: int) -> str:
        start.wait()
        return str(_submit(owner, **{"Idempotency-Key": "one"})["id"])

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(call, range(4)))) == 1
    assert _count_jobs() == 1


@pytest.mark.parametrize(
    ("change", "loc"),
    [
        ({"model": "nosuch"}, ["model"]),
        ({"datasets": ["nosuch"]}, ["datasets", 0]),
        ({"datasets": ["talks", "talks"]}, ["datasets", 1]),
        ({"datasets": []}, ["datasets"]),
        ({"datasets": "talks"}, ["datasets"]),
        ({"args": {"learning_rte": 1e-4}}, ["args", "learning_rte"]),
        ({"args": {"learning_rate": "fast"}}, ["args", "learning_rate"]),
        ({"args": {"output_dir": "/etc"}}, ["args", "output_dir"]),
        ({"args": {"hf_hub_token": "secret"}}, ["args", "hf_hub_token"]),
        ({"resources": {"gpu_kind": "h900"}}, ["resources", "gpu_kind"]),
        ({"resources": {"gpu_count": 3}}, ["resources", "gpu_count"]),
        ({"resources": {"gpu_count": 0}}, ["resources", "gpu_count"]),
        ({"resources": {"gpus": 1}}, ["resources", "gpus"]),
        ({"tier": "gold"}, ["tier"]),
        ({"stage": "ppo"}, ["stage"]),
        ({"finetuning_type": "lorra"}, ["finetuning_type"]),
        ({"name": "line\nbreak"}, ["name"]),
        ({"name": "x" * 121}, ["name"]),
        ({"name": ""}, ["name"]),
        ({"nmae": "x"}, ["nmae"]),
    ],
)
def test_what_does_not_hold_together_is_named_and_not_queued(
    platform: None, owner: Person, change: Json, loc: list[str | int]
) -> None:
    for path in ("/jobs", "/estimates", "/configs"):
        body = _refuse(owner.post(path, json=TRAIN | change), 422, "invalid")
        assert loc in [error["loc"] for error in body["errors"]]
        assert all(error["msg"] for error in body["errors"])
    assert _count_jobs() == 0


def test_every_fault_is_named_at_once(platform: None, owner: Person) -> None:
    wrong = {"model": "nosuch", "datasets": ["nosuch"], "args": {"learning_rate": -1, "cutoff_len": "x"}}
    body = _refuse(owner.post("/jobs", json=TRAIN | wrong), 422, "invalid")
    places = [tuple(error["loc"]) for error in body["errors"]]
    assert {("model",), ("datasets", 0), ("args", "learning_rate"), ("args", "cutoff_len")} <= set(places)


@pytest.mark.parametrize("kind", ["export", "chat", "instance", "nosuch", None, 5])
def test_kinds_that_are_none_are_refused(platform: None, owner: Person, kind: object) -> None:
    assert owner.post("/jobs", json=TRAIN | {"kind": kind}).status_code == 422


def test_a_dataset_that_lost_a_picture_and_a_model_that_lost_its_files_are_named(
    platform: None, owner: Person, tuneforge_home: Path
) -> None:
    (tuneforge_home / "datasets" / "talks" / "images" / "3.png").unlink()
    (tuneforge_home / "models" / "tiny" / "config.json").unlink()
    body = _refuse(owner.post("/jobs", json=TRAIN), 422, "invalid")
    said = {tuple(error["loc"]): error["msg"] for error in body["errors"]}
    assert "row 3" in said["datasets", 0]
    assert "gone" in said["model",]


def test_a_text_model_does_not_take_pictures(owner: Person, tuneforge_home: Path) -> None:
    make_model(tuneforge_home, "talker", modalities=["text"], template="qwen")
    make_dataset(tuneforge_home)
    register_node()
    with transaction() as session:
        catalogue.discover(session)
    body = _refuse(owner.post("/jobs", json=TRAIN | {"model": "talker"}), 422, "invalid")
    assert [error["loc"] for error in body["errors"]] == [["datasets", 0]]
    assert "image" in body["errors"][0]["msg"]


def test_without_any_machine_a_job_is_told_to_wait_for_one(owner: Person, tuneforge_home: Path) -> None:
    make_model(tuneforge_home)
    make_dataset(tuneforge_home)
    with transaction() as session:
        catalogue.discover(session)
    body = _refuse(owner.post("/jobs", json=TRAIN), 422, "invalid")
    assert "add a GPU machine" in body["detail"]


# -- evaluating --------------------------------------------------------------------------------------------


def _train_to_the_end(person: Person, end_reason: str = "completed", **spec: Any) -> str:
    order = start_job(person.id, spec=spec)
    write_attempt_file(order.job_id, 1, "output/adapter_model.safetensors", b"x")
    write_attempt_file(order.job_id, 1, "output/checkpoint-4/adapter_model.safetensors", b"x")
    finish_job(order, end_reason)
    return order.job_id


EVALUATE: Json = {
    "kind": "evaluate",
    "datasets": ["talks"],
    "args": {"max_new_tokens": 16, "do_sample": False},
}


def test_a_tuned_model_a_checkpoint_and_the_untouched_model_are_evaluated(
    platform: None, owner: Person
) -> None:
    train_id = _train_to_the_end(owner)
    for adapter, model, path in [
        (train_id, None, "output"),
        (f"{train_id}:checkpoint-4", "tiny", "output/checkpoint-4"),
        (None, "tiny", None),
    ]:
        job_id = _submit(owner, EVALUATE | {"adapter": adapter, "model": model})["id"]
        with transaction() as session:
            launch = session.get_one(Job, job_id).launch
        assert launch["model_path"] == "models/tiny"
        assert launch["adapter_path"] == (f"jobs/{train_id}/attempts/1/{path}" if path else None)
        assert launch["tracking"] == "off"
        config = yaml.safe_load(owner.get(f"/jobs/{job_id}/config").text)
        assert ("adapter_name_or_path" in config) == (adapter is not None)
        assert config["do_predict"] is True


def test_a_fully_tuned_model_is_its_own_model(platform: None, owner: Person) -> None:
    order = start_job(owner.id, spec={"finetuning_type": "full"})
    write_attempt_file(order.job_id, 1, "output/model.safetensors", b"x")
    finish_job(order)
    job_id = _submit(owner, EVALUATE | {"adapter": order.job_id})["id"]
    with transaction() as session:
        launch = session.get_one(Job, job_id).launch
    assert (launch["model_path"], launch["adapter_path"]) == (f"jobs/{order.job_id}/attempts/1/output", None)


@pytest.mark.parametrize(
    ("adapter", "word"),
    [("{train}:checkpoint-5", "no checkpoint-5"), ("{running}", "not finished"), ("{evaluate}", "not a train job"),
     ("{theirs}", "no job"), ("nosuchjob0", "no job"), ("{empty}", "no trained model"), ("../etc", None),
     ("{train}:last", None)],
)  # fmt: skip
def test_an_adapter_that_is_none_is_named(
    platform: None, owner: Person, colleague: Person, adapter: str, word: str | None
) -> None:
    known = {
        "train": _train_to_the_end(owner),
        "theirs": _train_to_the_end(colleague),
        "evaluate": submit_job(owner.id, kind="evaluate"),
        "running": submit_job(owner.id),
    }
    empty = submit_job(owner.id)
    assert owner.post(f"/jobs/{empty}/stop").status_code == 202
    body = EVALUATE | {"adapter": adapter.format(**known, empty=empty)}
    refusal = _refuse(owner.post("/jobs", json=body), 422, "invalid")
    assert [error["loc"] for error in refusal["errors"]] == [["adapter"]]
    assert word is None or word in refusal["errors"][0]["msg"]


def test_an_evaluation_names_its_model_or_adapter_and_not_two_that_differ(
    platform: None, owner: Person, tuneforge_home: Path
) -> None:
    make_model(tuneforge_home, "other")
    with transaction() as session:
        catalogue.discover(session)
    for change in ({}, {"model": "other", "adapter": _train_to_the_end(owner)}):
        refusal = _refuse(owner.post("/jobs", json=EVALUATE | change), 422, "invalid")
        assert ["model"] in [error["loc"] for error in refusal["errors"]]


# -- lists -------------------------------------------------------------------------------------------------


def _list(person: Person, query: str = "", path: str = "/jobs") -> list[str]:
    answer = person.get(f"{path}?{query}")
    assert answer.status_code == 200, answer.text
    return [job["name"] for job in answer.json()["data"]]


def test_lists_are_ones_own_newest_first_in_pages(
    owner: Person, colleague: Person, administrator: Person
) -> None:
    for number in range(5):
        submit_job(owner.id, name=f"job {number}")
    submit_job(colleague.id, name="theirs")
    first = owner.get("/jobs?limit=2").json()
    assert [job["name"] for job in first["data"]] == ["job 4", "job 3"]
    assert first["has_more"] is True
    second = owner.get(f"/jobs?limit=2&after={first['next']}").json()
    assert [job["name"] for job in second["data"]] == ["job 2", "job 1"]
    last = owner.get(f"/jobs?limit=2&after={second['next']}").json()
    assert ([job["name"] for job in last["data"]], last["has_more"], last["next"]) == (["job 0"], False, None)
    assert _list(owner, "sort=created_at&limit=2") == ["job 0", "job 1"]
    assert _list(owner, f"sort=created_at&after={first['data'][1]['id']}") == ["job 4"]
    assert _list(colleague) == ["theirs"]
    assert _list(administrator) == []
    assert len(_list(administrator, path="/admin/jobs")) == 6
    assert _list(administrator, "limit=1", "/admin/jobs") == ["theirs"]


@pytest.mark.parametrize(
    "query",
    ["stauts=failed", "status=failed&x", "limit=0", "limit=101", "limit=x", "limit=-1", "limit=" + "9" * 5000,
     "sort=name", "created_after=yesterday", "created_after=2026-01-01T00:00:00", "after=" + "x" * 41, "q=" + "x" * 201],
)  # fmt: skip
def test_odd_questions_are_refused(owner: Person, query: str) -> None:
    assert owner.get(f"/jobs?{query}").status_code == 422


def _read_in_pages(person: Person, path: str, limit: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        page = person.get(path, params={"limit": limit} | after).json()
        assert len(page["data"]) <= limit
        rows += page["data"]
        if not page["has_more"]:
            assert page["next"] is None
            return rows
        after = {"after": page["next"]}


def test_every_list_comes_in_pages_of_20_unless_asked_otherwise(
    tuneforge_home: Path, owner: Person, administrator: Person
) -> None:
    register_node()
    order = start_job(owner.id)
    for number in range(21):
        make_model(tuneforge_home, f"model-{number}")
        make_dataset(tuneforge_home, f"talks-{number}", rows=1)
        make_user(f"user-{number}")
        assert administrator.request("PUT", f"/admin/node-tokens/node-{number}").status_code == 200
        register_node(f"node-{number}")
    with transaction() as session:
        catalogue.discover(session)
        for number in range(21):
            users.create_token(session, owner.id, f"token {number}", None)
        chief = session.get_one(User, administrator.id)
        for number in range(22):
            nodes.set_draining(session, chief, "node-1", number % 2 == 0)
    finish_job(order, artifacts=[{"name": f"file #{n}", "size_bytes": 1} for n in range(21)])
    with transaction() as session:
        moves = [("queued", "assigned"), ("assigned", "queued")] * 10
        session.add_all(JobEvent(job_id=order.job_id, old=old, new=new, attempt=1) for old, new in moves)
    for person, path, key in [
        (owner, f"/jobs/{order.job_id}/events", "id"),
        (owner, f"/jobs/{order.job_id}/artifacts", "name"),
        (owner, "/arguments", "name"),
        (owner, "/models", "id"),
        (owner, "/datasets", "id"),
        (owner, "/tokens", "id"),
        (administrator, "/admin/users", "id"),
        (administrator, "/admin/nodes", "id"),
        (administrator, "/admin/node-tokens", "node"),
        (administrator, "/admin/audit", "id"),
    ]:
        first = person.get(path).json()
        assert (len(first["data"]), first["has_more"], first["next"]) == (20, True, first["data"][-1][key]), (
            path
        )
        rows = _read_in_pages(person, path, 7)
        assert rows[:20] == first["data"], path
        assert rows == _read_in_pages(person, path, 100), path
        assert len({row[key] for row in rows}) == len(rows) > 20, path
        assert person.get(path, params={"limit": 0}).status_code == 422
        assert person.get(path, params={"limit": 101}).status_code == 422
        assert person.get(path, params={"lmit": 2}).status_code == 422


def test_lists_are_newest_first_and_events_may_be_asked_for_as_they_happened(
    owner: Person, administrator: Person
) -> None:
    register_node()
    order = start_job(owner.id)
    finish_job(order)
    happened = ["queued", "assigned", "running", "succeeded"]
    path = f"/jobs/{order.job_id}/events"
    assert [event["new"] for event in owner.get(path).json()["data"]] == happened[::-1]
    asked = owner.get(path, params={"sort": "created_at"}).json()["data"]
    assert [event["new"] for event in asked] == happened
    page = owner.get(path, params={"sort": "created_at", "after": asked[1]["id"]}).json()
    assert [event["new"] for event in page["data"]] == happened[2:]
    assert owner.get(path, params={"after": "nosuch"}).json()["data"] == []
    people = administrator.get("/admin/users").json()["data"]
    moments = [person["created_at"] for person in people]
    assert moments == sorted(moments, reverse=True)


def test_jobs_are_found_by_kind_status_name_model_and_time(owner: Person) -> None:
    submit_job(owner.id, name="100% done_well", kind="train")
    submit_job(owner.id, name="100 percent", kind="evaluate")
    back = submit_job(owner.id, name="back\\slash", spec={"model": "Qwen2.5-VL"})
    assert owner.post(f"/jobs/{back}/stop").status_code == 202
    found = {
        "kind=evaluate": ["100 percent"],
        "status=cancelled": ["back\\slash"],
        "status=queued,cancelled": ["back\\slash", "100 percent", "100% done_well"],
        "status=nosuch": [],
        "q=100%25": ["100% done_well"],
        "q=e_w": ["100% done_well"],
        "q=_": ["100% done_well"],
        "q=%25": ["100% done_well"],
        "q=%5C": ["back\\slash"],
        "q=DONE": ["100% done_well"],
        "q=qwen2.5": ["back\\slash"],
        f"q={back}": ["back\\slash"],
        "q=nosuch": [],
        "q=": ["back\\slash", "100 percent", "100% done_well"],
        "q=%27;DROP": [],
        "created_after=2099-01-01T00:00:00Z": [],
        "created_before=2099-01-01T00:00:00%2B08:00&kind=train": ["back\\slash", "100% done_well"],
        "created_after=0001-01-01T00:00:00Z&kind=evaluate": ["100 percent"],
    }
    assert {query: _list(owner, query) for query in found} == found
    counts = owner.get("/jobs?status=queued").json()["counts"]
    assert (counts["queued"], counts["cancelled"], counts["running"]) == (2, 1, 0)


def test_places_in_the_queue_follow_tier_and_age(owner: Person, colleague: Person) -> None:
    ids = {tier: submit_job(owner.id, tier=tier) for tier in ("spot", "flex", "express")}
    mine = submit_job(colleague.id, tier="flex")
    places = {tier: owner.get(f"/jobs/{job_id}").json()["queue_position"] for tier, job_id in ids.items()}
    assert places == {"express": 1, "flex": 2, "spot": 4}
    listed = {job["tier"]: job["queue_position"] for job in owner.get("/jobs").json()["data"]}
    assert listed == places
    assert colleague.get(f"/jobs/{mine}").json()["queue_position"] == 3


# -- changing ----------------------------------------------------------------------------------------------


def test_a_job_is_renamed_by_its_owner_or_an_administrator(owner: Person, administrator: Person) -> None:
    job_id = submit_job(owner.id)
    for person, name in ((owner, "新的名字"), (administrator, "named by the chief")):
        assert person.request("PATCH", f"/jobs/{job_id}", json={"name": name}).json()["name"] == name
    for body in (
        {"name": ""},
        {"name": " x"},
        {"name": "x\ty"},
        {"name": None},
        {},
        {"name": "x", "status": "succeeded"},
    ):
        assert owner.request("PATCH", f"/jobs/{job_id}", json=body).status_code == 422
    assert owner.get(f"/jobs/{job_id}").json()["name"] == "named by the chief"


@pytest.mark.parametrize("options", [{}, {"json": {}}, {"json": {"keep": True}}])
def test_a_queued_or_assigned_job_is_cancelled_at_once(owner: Person, options: Json) -> None:
    queued = submit_job(owner.id, gpu_count=2)
    register_node()
    assigned = submit_job(owner.id, gpu_kind="cpu")
    with transaction() as session:
        session.execute(update(Job).where(Job.id == queued).values(gpu_kind="other"))
    assert assign_jobs() == 1
    assert owner.get(f"/jobs/{assigned}").json()["assignment"] == {"node": "node-1", "gpus": ["node-1-0"]}
    for job_id in (queued, assigned):
        answer = owner.post(f"/jobs/{job_id}/stop", **options)
        assert answer.status_code == 202
        job = answer.json()
        assert (job["status"], job["end_reason"], job["assignment"]) == ("cancelled", "user_cancelled", None)
        assert job["stop_requested_at"]
        assert job["finished_at"]
        _refuse(owner.post(f"/jobs/{job_id}/stop"), 409, "conflict")


def test_a_running_job_is_asked_to_stop_and_keeps_what_it_has(owner: Person) -> None:
    register_node()
    order = start_job(owner.id)
    first = owner.post(f"/jobs/{order.job_id}/stop").json()
    again = owner.post(f"/jobs/{order.job_id}/stop").json()
    assert first["status"] == again["status"] == "running"
    assert first["stop_requested_at"] == again["stop_requested_at"] is not None
    finish_job(order, "user_cancelled", step=7, checkpoint_step=7)
    job = owner.get(f"/jobs/{order.job_id}").json()
    assert (job["status"], job["end_reason"], job["progress"]["step"]) == ("cancelled", "user_cancelled", 7)
    assert job["error"] is None


def test_stopping_without_keeping_is_not_offered(owner: Person) -> None:
    job_id = submit_job(owner.id)
    assert owner.post(f"/jobs/{job_id}/stop", json={"keep": False}).status_code == 422
    assert owner.get(f"/jobs/{job_id}").json()["status"] == "queued"


def test_a_stopped_job_goes_on_from_its_checkpoint_as_the_same_job(owner: Person) -> None:
    register_node()
    order = start_job(owner.id)
    write_attempt_file(order.job_id, 1, "output/checkpoint-7/trainer_state.json", b"{}")
    owner.post(f"/jobs/{order.job_id}/stop")
    finish_job(order, "user_cancelled", step=7)
    answer = owner.post(f"/jobs/{order.job_id}/resume")
    assert answer.status_code == 202
    job = answer.json()
    assert (job["id"], job["status"], job["attempt"]) == (order.job_id, "queued", 2)
    assert (job["end_reason"], job["stop_requested_at"], job["finished_at"]) == (None, None, None)
    assert job["progress"]["step"] == 7
    assign_jobs()
    assert claim_job(order.job_id).resume_from_attempt == 1


@pytest.mark.parametrize("state", ["queued", "running", "succeeded", "no checkpoint", "evaluation"])
def test_what_cannot_go_on_is_not_resumed(owner: Person, state: str) -> None:
    register_node()
    job_id = submit_job(owner.id, kind="evaluate" if state == "evaluation" else "train")
    if state != "no checkpoint":
        write_attempt_file(job_id, 1, "output/checkpoint-7/trainer_state.json", b"{}")
    if state != "queued":
        assign_jobs()
        order = claim_job(job_id)
        if state != "running":
            finish_job(order, "completed" if state == "succeeded" else "crashed")
    before = owner.get(f"/jobs/{job_id}").json()
    _refuse(owner.post(f"/jobs/{job_id}/resume"), 409, "conflict")
    assert owner.get(f"/jobs/{job_id}").json() == before


def test_only_a_finished_job_is_deleted_with_all_its_files_and_its_charge_stays(owner: Person) -> None:
    register_node()
    order = start_job(owner.id)
    write_attempt_file(order.job_id, 1, "job.log", b"x")
    _refuse(owner.request("DELETE", f"/jobs/{order.job_id}"), 409, "conflict")
    finish_job(order, artifacts=[{"name": "a", "size_bytes": 1}])
    assert owner.request("DELETE", f"/jobs/{order.job_id}").status_code == 204
    assert owner.get(f"/jobs/{order.job_id}").status_code == 404
    assert not storage.get_job_folder(order.job_id).exists()
    with transaction() as session:
        assert session.scalars(select(LedgerEntry.job_id)).all() == [order.job_id]
    assert owner.request("DELETE", f"/jobs/{order.job_id}").status_code == 404


def test_a_job_whose_model_an_evaluation_still_needs_is_kept(platform: None, owner: Person) -> None:
    train_id = _train_to_the_end(owner)
    evaluation = _submit(owner, EVALUATE | {"adapter": train_id})["id"]
    _refuse(owner.request("DELETE", f"/jobs/{train_id}"), 409, "conflict")
    assert owner.post(f"/jobs/{evaluation}/stop").status_code == 202
    assert owner.request("DELETE", f"/jobs/{train_id}").status_code == 204


def test_a_failed_job_says_why_and_what_to_do_in_both_languages(owner: Person) -> None:
    register_node()
    order = start_job(owner.id)
    finish_job(order, "out_of_memory", detail="CUDA out of memory", log_excerpt="Traceback …")
    job = owner.get(f"/jobs/{order.job_id}").json()
    assert (job["status"], job["end_reason"]) == ("failed", "out_of_memory")
    assert set(job["error"]) >= {"code", "title", "detail", "hint", "log_excerpt", "title_zh", "hint_zh"}
    assert "per_device_train_batch_size" in job["error"]["hint"]


def test_a_charge_shows_as_money(owner: Person) -> None:
    register_node()
    order = start_job(owner.id)
    finish_job(order, run_seconds=3600.0)
    job = owner.get(f"/jobs/{order.job_id}").json()
    assert job["cost"] == {"currency": "CNY", "amount": "0.3000"}
    assert owner.get("/me").json()["balance"] == {"currency": "CNY", "amount": "-0.3000"}


def test_moments_of_a_job_are_in_utc(owner: Person) -> None:
    register_node()
    order = start_job(owner.id)
    job = owner.get(f"/jobs/{order.job_id}").json()
    for name in ("created_at", "started_at"):
        assert job[name].endswith("Z")
        assert abs(datetime.now(UTC) - datetime.fromisoformat(job[name])) < timedelta(minutes=5)
