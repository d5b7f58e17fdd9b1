"""Lengths by the model's own tokenizer: asked for by a form, counted once by the librarian, then in every estimate."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

from backend.database import transaction
from backend.services import catalogue, chores
from backend.tables.base import utc_now
from backend.tables.base_model import BaseModel
from backend.tables.chore import Chore
from backend.tables.dataset_profile import DatasetProfile
from tests.factories import Person, make_model, register_node
from tests.librarian.conftest import Librarian, make_talks, make_zip, send_file, wait_until
from tests.profiles.small_tokenizers import write_tokenizer

pytestmark = [pytest.mark.usefixtures("librarian"), pytest.mark.timeout(600)]
ROWS = 400


def make_rows(count: int = ROWS, words: int = 200) -> bytes:
    """Return rows of Alpaca's kind; each is longer than the one before."""
    rows = [
        {"instruction": f"{number}", "input": "", "output": "left " * (1 + number % words)}
        for number in range(count)
    ]
    return "\n".join(map(json.dumps, rows)).encode()


@pytest.fixture
def models(tuneforge_home: Path, database: None) -> list[str]:
    """Two models with one tokenizer, a third whose tokenizer is rubbish, and one without any."""
    for name in ("tiny", "twin"):
        write_tokenizer(make_model(tuneforge_home, name))
    (make_model(tuneforge_home, "broken") / "tokenizer.json").write_text('{"model": {"type": "nonsense"}}')
    make_model(tuneforge_home, "bare")
    register_node()
    with transaction() as session:
        catalogue.discover(session)
    return ["tiny", "twin", "broken", "bare"]


def estimate(person: Person, dataset: str, model: str = "tiny", **args: Any) -> dict[str, Any]:
    """Return what the form is answered."""
    body = {
        "kind": "train", "model": model, "datasets": [dataset], "stage": "sft", "finetuning_type": "lora",
        "args": args, "resources": {"gpu_kind": "cpu", "gpu_count": 1}, "tier": "express",
    }  # fmt: skip
    answer = person.post("/estimates", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def wait_for_profile(person: Person, dataset: str, model: str = "tiny", **query: int) -> dict[str, Any]:
    """Return what the page is shown once nothing is counted any more."""

    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = person.get(
            f"/datasets/{dataset}/profile", params={"model": model} | query
        ).json()
        return None if found["status"] == "counting" else found

    return dict(wait_until(look, "the profile"))


def list_counts() -> list[str]:
    """Return how every count stands."""
    with transaction() as session:
        return [chore.status for chore in session.query(Chore).where(Chore.kind == "profile_dataset")]


def test_a_form_is_answered_by_letters_at_once_and_by_the_tokenizer_soon(
    owner: Person, models: list[str]
) -> None:
    dataset = send_file(owner, "rows.jsonl", make_rows())["id"]
    untouched = owner.get(f"/datasets/{dataset}/profile", params={"model": "tiny"}).json()
    assert (untouched["status"], untouched["code"], untouched["profile"]) == (
        "estimated",
        "not_counted",
        None,
    )
    assert list_counts() == [], "looking asks for nothing"
    first, second = estimate(owner, dataset), estimate(owner, dataset)
    assert first["dataset_profile"]["status"] == second["dataset_profile"]["status"] == "counting"
    assert first["dataset_profile"]["datasets"] == [{"id": dataset, "name": "rows", "status": "counting"}]
    assert first["tokens"] == second["tokens"]
    found = wait_for_profile(owner, dataset, cutoff_len=100)
    later = estimate(owner, dataset)
    assert later["dataset_profile"]["status"] == "measured"
    tokens = found["profile"]["tokens"]
    assert found["profile"]["counted"] == ROWS
    assert tokens["estimated"] is False
    # Each "left " is five bytes and, with these merges, fewer tokens; three epochs are the form's own.
    assert later["tokens"] == pytest.approx(3 * ROWS * tokens["mean"], rel=0.001)
    assert later["tokens"] != first["tokens"]
    assert first["dataset_profile"]["cut"] is None
    assert estimate(owner, dataset, cutoff_len=100)["dataset_profile"]["cut"] == found["cut"]
    assert found["cut"]["rows"] == pytest.approx(
        sum(bar["count"] for bar in tokens["histogram"] if bar["from"] > 100), rel=0.2
    )
    assert found["cut"]["tokens"] > found["cut"]["rows"] > 0
    wait_until(lambda: list_counts() == ["done"], "the one count")


def test_models_that_share_a_tokenizer_share_the_profile(owner: Person, models: list[str]) -> None:
    dataset = send_file(owner, "rows.jsonl", make_rows())["id"]
    estimate(owner, dataset)
    wait_for_profile(owner, dataset)
    assert estimate(owner, dataset, "twin")["dataset_profile"]["status"] == "measured"
    with transaction() as session:
        session.get_one(BaseModel, "twin").template = "default"
    assert estimate(owner, dataset, "twin")["dataset_profile"]["status"] == "counting"
    wait_for_profile(owner, dataset, "twin")
    with transaction() as session:
        assert session.query(DatasetProfile).count() == 2


def test_pictures_are_counted_in_the_sizes_that_they_have(owner: Person, models: list[str]) -> None:
    dataset = send_file(owner, "talks.zip", make_zip(make_talks(6)))["id"]
    assert owner.post(f"/datasets/{dataset}/profile", json={"model": "tiny"}).status_code == 202
    found = wait_for_profile(owner, dataset)["profile"]
    assert found["inexact"] == 0
    assert found["pictures"]["sizes"] == [{"width": 1, "height": 1, "count": 6}]
    assert found["tokens"]["image_tokens_mean"] == 4 - 1, (
        "a picture of 56 × 56 is four tokens, of which one is text"
    )
    assert estimate(owner, dataset)["dataset_profile"]["status"] == "measured"


def test_a_tokenizer_that_cannot_be_used_leaves_the_letters_and_is_not_tried_again(
    owner: Person, models: list[str]
) -> None:
    dataset = send_file(owner, "rows.jsonl", make_rows(20))["id"]
    estimate(owner, dataset, "broken")
    found = wait_for_profile(owner, dataset, "broken")
    assert (found["status"], found["code"], found["profile"]) == ("estimated", "failed", None)
    for _ in range(3):
        told = estimate(owner, dataset, "broken")["dataset_profile"]
        assert told["status"] == "estimated"
        assert "could not be used" in told["detail"]
    assert list_counts() == ["failed"]
    assert owner.post(f"/datasets/{dataset}/profile", json={"model": "broken"}).json()["status"] == "counting"
    wait_for_profile(owner, dataset, "broken")
    wait_until(lambda: list_counts() == ["failed", "failed"], "the second try, which a person asked for")


def test_a_model_without_a_tokenizer_stays_with_letters(owner: Person, models: list[str]) -> None:
    dataset = send_file(owner, "rows.jsonl", make_rows(20))["id"]
    told = estimate(owner, dataset, "bare")["dataset_profile"]
    assert told["status"] == "estimated"
    assert "tokenizer.json" in told["detail"]
    assert "tokenizer.json" in told["detail_zh"]
    assert list_counts() == []


def test_only_who_sees_both_may_ask(owner: Person, colleague: Person, models: list[str]) -> None:
    dataset = send_file(owner, "rows.jsonl", make_rows(20))["id"]
    theirs = send_file(colleague, "rows.jsonl", make_rows(20))["id"]
    with transaction() as session:
        model = session.get_one(BaseModel, "tiny")
        model.owner_id, model.visibility = owner.id, "private"
    for person, place in ((colleague, dataset), (colleague, theirs)):
        url = f"/datasets/{place}/profile"
        assert person.get(url, params={"model": "tiny"}).status_code == 404
        assert person.post(url, json={"model": "tiny"}).status_code == 404
    assert list_counts() == []
    assert owner.get(f"/datasets/{dataset}/profile", params={"model": "tiny"}).status_code == 200


def test_a_profile_goes_with_its_dataset_and_with_another_mapping(owner: Person, models: list[str]) -> None:
    dataset = send_file(owner, "rows.jsonl", make_rows(50))["id"]
    estimate(owner, dataset)
    before = wait_for_profile(owner, dataset)["profile"]["tokens"]["mean"]
    columns = {"prompt": "output", "response": "instruction"}
    mapping = {"file_name": "rows.jsonl", "columns": columns}
    assert owner.request("PUT", f"/datasets/{dataset}/mapping", json=mapping).status_code == 200
    wait_until(lambda: owner.get(f"/datasets/{dataset}").json()["status"] == "ready", "the new mapping")
    estimate(owner, dataset)
    after = wait_for_profile(owner, dataset)["profile"]["tokens"]
    assert after["mean"] == pytest.approx(before, abs=1.0)
    assert after["label_mean"] < 10, "what was the answer is the question now"
    assert owner.request("DELETE", f"/datasets/{dataset}").status_code == 204
    with transaction() as session:
        assert session.query(DatasetProfile).count() == 0
        assert session.query(Chore).where(Chore.kind == "profile_dataset").count() == 0


def test_a_killed_librarian_counts_again(owner: Person, models: list[str], librarian: Librarian) -> None:
    dataset = send_file(owner, "rows.jsonl", make_rows(30_000, 300))["id"]
    estimate(owner, dataset)

    def has_begun() -> bool:
        found = owner.get(f"/datasets/{dataset}/profile", params={"model": "tiny"}).json()
        assert found["status"] == "counting", found
        return bool((found["progress"] or {}).get("rows"))

    wait_until(has_begun, "the first rows")
    _, alive = psutil.wait_procs(librarian.kill(), timeout=30)
    assert not alive, "a chore's process ends with its librarian"
    with transaction() as session:
        chore = session.query(Chore).where(Chore.kind == "profile_dataset").one()
        chore.heartbeat_at = utc_now() - timedelta(seconds=chores.STALE_SECONDS + 1)
    librarian.start()
    found = wait_for_profile(owner, dataset)["profile"]
    assert (found["row_count"], found["step"], found["counted"]) == (30_000, 2, 15_000)
    wait_until(lambda: list_counts() == ["done"], "the last word")
    with transaction() as session:
        assert session.query(Chore).where(Chore.kind == "profile_dataset").one().attempt == 2
        assert session.query(DatasetProfile).count() == 1
