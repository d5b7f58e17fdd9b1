"""What jobs leave to read over HTTP: logs, metrics, files, predictions, comparisons."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backend.database import transaction
from backend.domain.protocol import LaunchOrder, Report
from backend.services import catalogue, reports
from tests.factories import (
    PIXEL,
    Person,
    assign_jobs,
    claim_job,
    finish_job,
    make_dataset,
    register_node,
    start_job,
    submit_job,
    write_attempt_file,
)

Json = dict[str, Any]

QUESTION = "What is in picture"
TEXT = "第一行 loss=0.5\n第二行 🚗 done\n"


@pytest.fixture
def order(owner: Person) -> LaunchOrder:
    """A running train job of the owner."""
    register_node()
    return start_job(owner.id)


def _report(order: LaunchOrder, **values: Any) -> None:
    message = {"phase": "training", "step": 1, "log_bytes": 0} | values
    with transaction() as session:
        report = Report.model_validate(message)
        reports.report(session, order.job_id, order.attempt, order.lease_token, report)


# -- logs --------------------------------------------------------------------------------------------------


def _read_log(person: Person, job_id: str, limit: int) -> Iterator[bytes]:
    offset = 0
    while True:
        answer = person.get(f"/jobs/{job_id}/logs?offset={offset}&limit={limit}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        yield answer.content
        following = int(answer.headers["x-log-next-offset"])
        assert following == offset + len(answer.content)
        if answer.headers["x-log-complete"] == "true" or following == offset:
            return
        offset = following


@pytest.mark.parametrize("limit", [1, 5, 11, 1000])
def test_a_log_runs_on_across_attempts_in_whole_characters(
    owner: Person, order: LaunchOrder, limit: int
) -> None:
    write_attempt_file(order.job_id, 1, "job.log", TEXT.encode())
    finish_job(order, "node_stopped")
    assign_jobs()
    second = claim_job(order.job_id)
    write_attempt_file(order.job_id, 2, "job.log", TEXT.encode())
    assert "".join(piece.decode() for piece in _read_log(owner, order.job_id, limit)) == TEXT + TEXT
    finish_job(second)
    pieces = list(_read_log(owner, order.job_id, limit))
    assert "".join(piece.decode() for piece in pieces) == TEXT + TEXT


def test_a_growing_log_is_not_complete_and_half_a_character_waits(owner: Person, order: LaunchOrder) -> None:
    whole, car = b"line\n", "🚗".encode()
    assert owner.get(f"/jobs/{order.job_id}/logs").headers["x-log-complete"] == "false"
    write_attempt_file(order.job_id, 1, "job.log", whole + car[:2])
    answer = owner.get(f"/jobs/{order.job_id}/logs?offset=5")
    assert (answer.content, answer.headers["x-log-next-offset"]) == (b"", "5")
    assert (answer.headers["x-log-complete"], answer.headers["x-log-size"]) == ("false", "7")
    finish_job(order, "crashed")
    answer = owner.get(f"/jobs/{order.job_id}/logs?offset=5")
    assert (answer.content, answer.headers["x-log-complete"]) == (car[:2], "true")
    beyond = owner.get(f"/jobs/{order.job_id}/logs?offset=99999999999")
    assert (beyond.content, beyond.headers["x-log-complete"]) == (b"", "true")


@pytest.mark.parametrize(
    "query", ["offset=-1", "offset=x", f"offset={2**53 + 1}", "limit=0", f"limit={(8 << 20) + 1}"]
)
def test_odd_places_in_a_log_are_refused(owner: Person, order: LaunchOrder, query: str) -> None:
    assert owner.get(f"/jobs/{order.job_id}/logs?{query}").status_code == 422


# -- metrics -----------------------------------------------------------------------------------------------


def test_metrics_are_the_points_above_a_step_without_what_was_not_measured(
    owner: Person, order: LaunchOrder
) -> None:
    at = datetime(2026, 1, 1, 8, tzinfo=UTC)
    points = [{"step": step, "loss": step / 10, "at": at} for step in (5, 10, 15)]
    points.append({"step": 15, "eval_loss": 0.5, "at": at})
    device = {
        "uuid": "node-1-0",
        "kind": "cpu",
        "name": "CPU",
        "index": 0,
        "memory_bytes": 1,
        "utilization": 5.5,
    }
    _report(order, points=points, devices=[device])
    found = owner.get(f"/jobs/{order.job_id}/metrics?after_step=5").json()["points"]
    assert found == [
        {"step": 10, "attempt": 1, "loss": 1.0, "at": "2026-01-01T08:00:00.000Z"},
        {"step": 15, "attempt": 1, "loss": 1.5, "eval_loss": 0.5, "at": "2026-01-01T08:00:00.000Z"},
    ]
    assert len(owner.get(f"/jobs/{order.job_id}/metrics").json()["points"]) == 3
    samples = owner.get(f"/jobs/{order.job_id}/metrics/gpu").json()["points"]
    assert [(sample["device"], sample["utilization"]) for sample in samples] == [("node-1-0", 5.5)]
    for step in (-2, 2**31, "x"):
        assert owner.get(f"/jobs/{order.job_id}/metrics?after_step={step}").status_code == 422


def test_progress_stays_after_the_end(owner: Person, order: LaunchOrder) -> None:
    _report(order, step=5, total_steps=20, eta_seconds=3.5)
    running = owner.get(f"/jobs/{order.job_id}").json()["progress"]
    assert running == {
        "phase": "training",
        "step": 5,
        "total_steps": 20,
        "fraction": 0.25,
        "eta_seconds": 3.5,
    }
    finish_job(order, step=20, total_steps=20, results={"train_loss": 0.5})
    ended = owner.get(f"/jobs/{order.job_id}").json()["progress"]
    assert ended == {"phase": "finished", "step": 20, "total_steps": 20, "fraction": 1.0, "eta_seconds": None}
    assert owner.get(f"/jobs/{order.job_id}/results").json() == {"train_loss": 0.5}


def test_the_link_of_a_local_run_is_a_page_of_ours_and_of_a_cloud_run_swanlabs(
    owner: Person, order: LaunchOrder
) -> None:
    tracking = owner.get(f"/jobs/{order.job_id}").json()["tracking"]
    assert tracking == {"provider": "swanlab", "mode": "local", "url": f"/jobs/{order.job_id}/board/"}
    _report(order, tracking_mode="cloud", tracking_url="https://swanlab.cn/@ann/tuneforge/runs/1")
    _report(order)
    tracking = owner.get(f"/jobs/{order.job_id}").json()["tracking"]
    assert (tracking["mode"], tracking["url"]) == ("cloud", "https://swanlab.cn/@ann/tuneforge/runs/1")


# -- files -------------------------------------------------------------------------------------------------


def _leave_files(order: LaunchOrder, *names: str, content: bytes = b"0123456789") -> None:
    for name in names:
        write_attempt_file(order.job_id, 1, f"output/{name}", content)
    finish_job(order, artifacts=[{"name": name, "size_bytes": len(content)} for name in names])


def test_files_are_listed_and_streamed_by_range(owner: Person, order: LaunchOrder) -> None:
    names = ["adapter_model.safetensors", "checkpoint-4/trainer_state.json", "训练 #1 100%?.png", 'a"b.txt']
    _leave_files(order, *names)
    files = owner.get(f"/jobs/{order.job_id}/artifacts").json()["data"]
    assert [file["name"] for file in files] == sorted(names)
    assert {file["size_bytes"] for file in files} == {10}
    for file in files:
        answer = owner.client.get(file["url"], headers=owner.headers)
        assert (answer.status_code, answer.content) == (200, b"0123456789"), file
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-security-policy"] == "sandbox"
    url = f"/jobs/{order.job_id}/artifacts/adapter_model.safetensors"
    for wanted, status, content in [
        ("bytes=2-4", 206, b"234"),
        ("bytes=-3", 206, b"789"),
        ("bytes=8-", 206, b"89"),
        ("bytes=99-", 416, None),
        ("bytes=x-y", 400, None),
        ("bytes=4-2", 400, None),
        ("lines=1-2", 400, None),
        ("bytes=" + "0-1," * 2000 + "0-1", None, None),
    ]:
        answer = owner.get(url, headers={"Range": wanted})
        assert answer.status_code < 500
        assert status is None or answer.status_code == status, wanted
        assert content is None or answer.content == content
    assert owner.get(url, headers={"Range": "bytes=2-4"}).headers["content-range"] == "bytes 2-4/10"


@pytest.mark.parametrize(
    "name",
    ["../../../secrets/secret_key", "..%2f..%2f..%2fsecrets%2fsecret_key", "%2e%2e/%2e%2e/train.yaml", "/etc/passwd",
     "%2fetc%2fpasswd", "link", "dir", "nosuch", "a%00b", "%5c..%5c", "x" * 400, "x/" * 200 + "x",
     "", ".", "output/../job.log"],
)  # fmt: skip
def test_no_name_leads_to_a_file_that_is_not_the_jobs(owner: Person, order: LaunchOrder, name: str) -> None:
    """Even those that a node registered."""
    output = write_attempt_file(order.job_id, 1, "output/kept", b"x").parent
    write_attempt_file(order.job_id, 1, "train.yaml", b"secret")
    (output / "link").symlink_to("/etc/passwd")
    (output / "dir").mkdir()
    hostile = [
        "../train.yaml",
        "../../../../../secrets/secret_key",
        "/etc/passwd",
        "link",
        "dir",
        "x" * 400,
        ".",
    ]
    finish_job(order, artifacts=[{"name": given, "size_bytes": 1} for given in hostile])
    answer = owner.get(f"/jobs/{order.job_id}/artifacts/{name}")
    assert answer.status_code in (404, 422) or answer.json().keys() >= {"data"}, answer.text
    assert b"root:" not in answer.content
    assert owner.get(f"/jobs/{order.job_id}/artifacts").status_code == 200


def test_a_file_nobody_registered_or_that_is_gone_is_not_found(owner: Person, order: LaunchOrder) -> None:
    write_attempt_file(order.job_id, 1, "output/private", b"x")
    finish_job(order, artifacts=[{"name": "gone", "size_bytes": 1}])
    for name in ("private", "gone"):
        assert owner.get(f"/jobs/{order.job_id}/artifacts/{name}").status_code == 404


# -- predictions and comparisons ---------------------------------------------------------------------------


def _evaluate(person: Person, answers: list[str], **spec: Any) -> str:
    job_id = submit_job(person.id, kind="evaluate", spec=spec)
    assign_jobs()
    order = claim_job(job_id)
    rows = [
        {
            "prompt": f"<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>{QUESTION} {index}?<|im_end|>\n",
            "predict": answer,
            "label": f"答案 {index}",
        }
        for index, answer in enumerate(answers)
    ]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_attempt_file(job_id, 1, "output/generated_predictions.jsonl", lines.encode())
    finish_job(order, results={"predict_bleu-4": 50.0})
    return job_id


@pytest.fixture
def talks(tuneforge_home: Path, database: None) -> None:
    """The dataset `talks` of eight rows, one of whose pictures has an odd name, and a node."""
    folder = make_dataset(tuneforge_home)
    picture = folder / "images" / "6.png"
    picture.rename(folder / "images" / "图 #6?.png")
    rows = (folder / "data.json").read_text().replace("images/6.png", "images/图 #6?.png")
    (folder / "data.json").write_text(rows)
    register_node()
    with transaction() as session:
        catalogue.discover(session)


def test_predictions_come_in_pages(owner: Person, talks: None) -> None:
    job_id = _evaluate(owner, [f"答案 {index}" for index in range(5)])
    first = owner.get(f"/jobs/{job_id}/predictions?limit=3").json()
    assert (len(first["data"]), first["has_more"]) == (3, True)
    assert set(first["data"][0]) == {"prompt", "predict", "label"}
    rest = owner.get(f"/jobs/{job_id}/predictions?offset=3&limit=3").json()
    assert ([row["predict"] for row in rest["data"]], rest["has_more"]) == (["答案 3", "答案 4"], False)
    assert owner.get(f"/jobs/{job_id}/predictions?offset={2**53}").json()["data"] == []


def test_a_train_job_makes_no_predictions(owner: Person, order: LaunchOrder) -> None:
    assert owner.get(f"/jobs/{order.job_id}/predictions").status_code == 409


@pytest.mark.parametrize("content", [b"{", b"[1]\n", b'{"predict": 5}\n{"x"', b"\xff\xfe\n", b"\n\n"])
def test_predictions_that_are_none_are_left_out(owner: Person, talks: None, content: bytes) -> None:
    job_id = _evaluate(owner, ["x"])
    write_attempt_file(job_id, 1, "output/generated_predictions.jsonl", content)
    found = owner.get(f"/jobs/{job_id}/predictions").json()["data"]
    assert len(found) == content.count(b"predict")
    assert owner.get(f"/compare?jobs={job_id}").status_code == 200


def test_two_evaluations_lie_side_by_side_with_question_and_picture(owner: Person, talks: None) -> None:
    untouched = _evaluate(owner, [f"guess {index}" for index in range(8)])
    tuned = _evaluate(owner, [f"答案 {index}" for index in range(8)])
    body = owner.get(f"/compare?jobs={untouched},{tuned}&offset=6&limit=1").json()
    assert [job["id"] for job in body["jobs"]] == [untouched, tuned]
    assert body["jobs"][0]["metrics"] == {"predict_bleu-4": 50.0}
    (row,) = body["rows"]
    assert row["index"] == 6
    assert row["prompt"] == "What is in picture 6?"
    assert (row["label"], row["predictions"]) == ("答案 6", ["guess 6", "答案 6"])
    assert owner.client.get(row["images"][0], headers=owner.headers).content == PIXEL
    assert body["has_more"] is True
    assert owner.get(f"/compare?jobs={untouched},{tuned}&offset=7").json()["has_more"] is False


def test_evaluations_of_unlike_length_or_data_show_no_wrong_picture(owner: Person, talks: None) -> None:
    eight = _evaluate(owner, [f"答案 {index}" for index in range(8)])
    three = _evaluate(owner, ["x", "y", "z"])
    body = owner.get(f"/compare?jobs={eight},{three}").json()
    assert len(body["rows"]) == 8
    assert body["rows"][7]["predictions"] == ["答案 7", None]
    assert all(row["images"] == [] for row in body["rows"])
    other = _evaluate(owner, ["x"] * 8, datasets=["elsewhere"])
    body = owner.get(f"/compare?jobs={eight},{other}").json()
    assert all(row["images"] == [] for row in body["rows"])
    assert body["rows"][0]["prompt"] == "What is in picture 0?"


def test_train_jobs_are_compared_by_what_differs(owner: Person, order: LaunchOrder) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    _report(order, points=[{"step": 1, "loss": 2.0, "at": at}])
    finish_job(order)
    other = start_job(owner.id, spec={"args": {"learning_rate": 1e-3}})
    finish_job(other, run_seconds=3600.0)
    body = owner.get(f"/compare?jobs={order.job_id},{other.job_id}").json()
    assert [job["changed_args"] for job in body["jobs"]] == [{"learning_rate": None}, {"learning_rate": 1e-3}]
    assert body["jobs"][1]["cost"] == {"currency": "CNY", "amount": "0.3000"}
    assert body["jobs"][1]["duration_seconds"] >= 0
    assert body["curves"][order.job_id] == [{"step": 1, "loss": 2.0, "eval_loss": None}]


def test_what_cannot_be_compared_is_said(
    owner: Person, colleague: Person, administrator: Person, talks: None
) -> None:
    mine = _evaluate(owner, ["x"])
    theirs = _evaluate(colleague, ["x"])
    train = submit_job(owner.id)
    for jobs, status in [
        (f"{mine},{theirs}", 404),
        (f"{mine},nosuchjob0", 404),
        (f"{mine},{train}", 422),
        (f"{mine},{mine}", 422),
        (",", 422),
        ("", 422),
        (",".join(f"{mine[:-1]}{letter}" for letter in "abcdefghj"), 422),
        ("x" * 401, 422),
    ]:
        assert owner.get(f"/compare?jobs={jobs}").status_code == status, jobs
    assert owner.get("/compare").status_code == 422
    assert administrator.get(f"/compare?jobs={mine},{theirs}").status_code == 200


# -- models, datasets, resources ---------------------------------------------------------------------------


def test_datasets_are_shown_with_rows_pictures_and_report(
    owner: Person, talks: None, tuneforge_home: Path
) -> None:
    assert [dataset["id"] for dataset in owner.get("/datasets").json()["data"]] == ["talks"]
    dataset = owner.get("/datasets/talks").json()
    assert (dataset["example_count"], dataset["status"], dataset["visibility"]) == (8, "ready", "public")
    rows = owner.get("/datasets/talks/rows?offset=6&limit=5").json()
    assert (len(rows["data"]), rows["total"], rows["has_more"]) == (2, 8, False)
    picture = rows["data"][0]["images"][0]
    assert owner.client.get(picture, headers=owner.headers).content == PIXEL
    assert owner.client.get(picture).status_code == 401
    assert owner.get("/datasets/talks/report").json()["findings"] == []
    (tuneforge_home / "datasets" / "talks" / "images" / "0.png").unlink()
    assert owner.get("/datasets/talks/report").json()["findings"][0]["code"] == "missing_media"
    for path in (
        "nosuch",
        "talks/media/data.json",
        "talks/media/..%2f..%2fsecrets%2fsecret_key",
        "talks/media/" + "x" * 300,
    ):
        assert owner.get(f"/datasets/{path}").status_code == 404
    assert owner.get("/datasets/talks/rows?offset=-1").status_code == 422


def test_a_broken_dataset_file_is_said_to_be_broken(owner: Person, talks: None, tuneforge_home: Path) -> None:
    (tuneforge_home / "datasets" / "talks" / "data.json").write_text("{")
    answer = owner.get("/datasets/talks/rows")
    assert answer.status_code == 404
    assert "data.json" in answer.json()["detail"]
    assert owner.get("/datasets/talks/report").json()["findings"]


def test_resources_count_what_is_free(owner: Person, order: LaunchOrder) -> None:
    body = owner.get("/resources").json()
    (kind,) = body["gpu_kinds"]
    assert (kind["id"], kind["total"], kind["free"]) == ("cpu", 1, 0)
    assert set(kind) >= {"id", "name", "memory_bytes", "price_per_hour", "total", "free"}
    assert [tier["id"] for tier in body["tiers"]] == ["express", "flex", "spot"]
    assert all(
        set(tier) >= {"id", "name", "discount", "preemptible", "queue_seconds"} for tier in body["tiers"]
    )
    assert body["nodes_online"] == 1
    finish_job(order)
    assert owner.get("/resources").json()["gpu_kinds"][0]["free"] == 1


def test_defaults_and_arguments_are_told(owner: Person, talks: None) -> None:
    defaults = owner.get("/defaults?stage=sft&finetuning_type=lora").json()["args"]
    assert (defaults["lora_rank"], defaults["cutoff_len"], defaults["learning_rate"]) == (8, 2048, 5e-5)
    assert "lora_rank" not in owner.get("/defaults?finetuning_type=full").json()["args"]
    assert owner.get("/defaults?model=nosuch").status_code == 404
    assert owner.get("/defaults?stage=nosuch").status_code == 422
    names = {argument["name"] for argument in owner.list_all("/arguments")}
    assert {"learning_rate", "cutoff_len", "lora_rank"} <= names
    assert "output_dir" not in names
