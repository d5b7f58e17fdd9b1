"""Datasets from a hub, and folders put into the home as they stand: fetched, unpacked, recognised and checked."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend.database import transaction
from backend.services import catalogue, found_datasets
from tests.factories import PIXEL, Person, build_devices, make_model, register_node
from tests.hubs.conftest import DATASET, FakeHub, wait_for

PRESET = "QA_from_CoVLA_zh"
BODY = {"hub": {"hub": "modelscope", "repo_id": DATASET}}


def _discover() -> None:
    with transaction() as session:
        catalogue.discover(session)


@pytest.fixture
def offered(database: None, configure: Callable[[str, str], None]) -> None:
    """The presets are listed."""
    configure("TUNEFORGE_PRESETS", "on")
    _discover()


def build_rows(count: int = 12) -> bytes:
    """Return rows about pictures in LLaMA-Factory's ShareGPT form."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"<image>前方有什么？{number}"},
                {"role": "assistant", "content": "有一辆车。"},
            ],
            "images": [f"images/{number}.png"],
        }
        for number in range(count)
    ]
    return json.dumps(rows, ensure_ascii=False).encode()


def build_info() -> bytes:
    """Return a `dataset_info.json` as LLaMA-Factory's users write it."""
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    columns = {"messages": "messages", "images": "images"}
    entry = {"file_name": f"{PRESET}.json", "formatting": "sharegpt", "columns": columns, "tags": tags}
    return json.dumps({PRESET: entry}).encode()


def _ended(dataset: dict[str, Any]) -> bool:
    return dataset["status"] in ("ready", "broken", "failed")


def test_a_preset_is_fetched_with_its_pictures_out_of_an_archive(
    hub: FakeHub, owner: Person, offered: None, start_librarian: Callable[[], Any]
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(12):
            archive.writestr(f"images/{number}.png", PIXEL)
    repo = f"AlayaNeW/{PRESET}"
    hub.write("datasets", repo, "images.zip", packed.getvalue())
    hub.write("datasets", repo, f"{PRESET}.json", build_rows())
    hub.write("datasets", repo, "dataset_info.json", build_info())
    start_librarian()
    begun = owner.post(f"/datasets/{PRESET}/download")
    assert (begun.status_code, begun.json()["status"]) == (202, "importing")
    assert owner.post(f"/datasets/{PRESET}/download").status_code == 202
    ready = wait_for(owner, f"/datasets/{PRESET}", _ended)
    assert ready["status"] == "ready", ready["error"]
    assert (ready["example_count"], ready["usable_count"]) == (12, 12)
    assert ready["modalities"] == ["text", "image"]
    assert ready["source"] == "preset"
    assert owner.post(f"/datasets/{PRESET}/download").status_code == 409


def test_a_person_imports_a_repository_of_their_own(
    hub: FakeHub, owner: Person, colleague: Person, start_librarian: Callable[[], Any]
) -> None:
    start_librarian()
    answer = owner.post("/datasets", json=BODY)
    assert answer.status_code == 201, answer.text
    path = f"/datasets/{answer.json()['id']}"
    ready = wait_for(owner, path, _ended)
    assert ready["status"] == "ready", ready["error"]
    assert (ready["name"], ready["example_count"]) == ("talks", 300)
    assert colleague.get(path).status_code == 404
    assert not [one for one in hub.list_requests() if "helper.py" in one["path"]]


def test_what_the_hub_refuses_is_told_at_the_dataset(
    hub: FakeHub, owner: Person, offered: None, start_librarian: Callable[[], Any]
) -> None:
    start_librarian()
    owner.post(f"/datasets/{PRESET}/download")  # the hub has no such repository
    failed = wait_for(owner, f"/datasets/{PRESET}", _ended)
    assert (failed["status"], failed["error"]["code"]) == ("failed", "hub_not_found")
    assert failed["error"]["detail_zh"]
    estimate = {"kind": "train", "model": "qwen2.5-vl-7b-instruct", "datasets": [PRESET]}
    register_node("node-1", build_devices(2))
    assert owner.post("/estimates", json=estimate).status_code == 200, (
        "still estimated by what is known of it"
    )
    assert owner.post(f"/datasets/{PRESET}/download").json()["status"] == "importing"


def test_llamafactorys_own_layout_put_into_the_home_is_recognised(
    hub: FakeHub, owner: Person, offered: None, start_librarian: Callable[[], Any], tuneforge_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder = tuneforge_home / "datasets" / PRESET
    (folder / "images").mkdir(parents=True)
    for number in range(12):
        (folder / "images" / f"{number}.png").write_bytes(PIXEL)
    (folder / f"{PRESET}.json").write_bytes(build_rows())
    (folder / "dataset_info.json").write_bytes(build_info())
    _discover()
    assert owner.get(f"/datasets/{PRESET}").json()["status"] == "available", "it may still be being copied"
    monkeypatch.setattr(found_datasets, "QUIET_SECONDS", 0.0)
    _discover()
    assert owner.get(f"/datasets/{PRESET}").json()["status"] == "checking"
    start_librarian()
    ready = wait_for(owner, f"/datasets/{PRESET}", _ended)
    assert ready["status"] == "ready", ready["error"]
    assert ready["usable_count"] == 12
    make_model(tuneforge_home)
    register_node("node-1", build_devices(2))
    _discover()
    job = owner.post("/jobs", json={"kind": "train", "model": "tiny", "datasets": [PRESET]})
    assert job.status_code == 201, job.text
    folder.rename(tuneforge_home / "datasets" / ".away")
    _discover()
    _discover()
    again = owner.get(f"/datasets/{PRESET}").json()
    assert (again["status"], again["example_count"]) == ("available", 1204)


def test_a_hub_and_another_source_at_once_are_refused(owner: Person) -> None:
    for body in ({**BODY, "path": "/srv/x"}, {"hub": {"hub": "huggingface", "repo_id": "../x"}}, {}):
        assert owner.post("/datasets", json=body).status_code == 422


README = b"""---
license: mit
configs:
- config_name: en
  data_files:
  - {split: train, path: en/part-*.jsonl}
  - {split: test, path: en/held.jsonl}
- config_name: zh
  data_files: zh/all.jsonl
dataset_info:
- config_name: en
  splits:
  - {name: train, num_examples: 40}
---
# Two languages
"""
LANGUAGES = "acme/languages"


def fill_languages(hub: FakeHub) -> None:
    """Put a dataset of two subsets on the hub."""
    hub.write("datasets", LANGUAGES, "README.md", README)
    parts = {"en/part-0.jsonl": 20, "en/part-1.jsonl": 20, "en/held.jsonl": 5, "zh/all.jsonl": 300}
    for name, count in parts.items():
        rows = [{"instruction": f"{name} {number}", "output": "x" * 100} for number in range(count)]
        hub.write("datasets", LANGUAGES, name, "".join(json.dumps(row) + "\n" for row in rows).encode())


@pytest.mark.parametrize("site", ["huggingface", "modelscope"])
def test_one_split_is_chosen_before_the_bytes_come(
    hub: FakeHub, owner: Person, start_librarian: Callable[[], Any], site: str
) -> None:
    fill_languages(hub)
    listed = owner.get(f"/hubs/{site}/datasets/{LANGUAGES}/subsets")
    assert listed.status_code == 200, listed.text
    assert listed.json()["licence"] == "mit"
    told = {
        (one["name"], split["name"]): split for one in listed.json()["subsets"] for split in one["splits"]
    }
    assert list(told) == [("en", "train"), ("en", "test"), ("zh", "train")]
    assert [split["file_count"] for split in told.values()] == [2, 1, 1]
    assert [split["example_count"] for split in told.values()] == [40, None, None]
    assert not [one for one in hub.list_requests() if "jsonl" in one["path"]]

    wish = {"hub": site, "repo_id": LANGUAGES, "subset": "en", "split": "train"}
    start_librarian()
    made = owner.post("/datasets", json={"hub": wish})
    assert (made.status_code, made.json()["name"]) == (201, "languages-en")
    ready = wait_for(owner, f"/datasets/{made.json()['id']}", _ended)
    assert ready["status"] == "ready", ready["error"]
    assert (ready["example_count"], ready["mapping"]["file_name"]) == (40, "rows")
    fetched = {
        name
        for one in hub.list_requests()
        for name in ("part-0", "part-1", "held", "all.jsonl")
        if name in one["path"]
    }
    assert fetched == {"part-0", "part-1"}


def test_what_was_not_chosen_or_is_not_there_is_told(
    hub: FakeHub, owner: Person, start_librarian: Callable[[], Any]
) -> None:
    fill_languages(hub)
    hub.write("datasets", "acme/scripted", "scripted.py", b"raise SystemExit")
    hub.write("datasets", "acme/scripted", "data.json", b"[]")
    start_librarian()
    here = {"hub": "huggingface", "repo_id": LANGUAGES}
    for wish, code in (
        (here, "hub_subset_missing"),
        (here | {"subset": "fr"}, "hub_subset_unknown"),
        (here | {"subset": "zh", "split": "test"}, "hub_split_unknown"),
        ({"hub": "huggingface", "repo_id": "acme/scripted"}, "hub_script"),
    ):
        made = owner.post("/datasets", json={"hub": wish})
        assert made.status_code == 201, made.text
        failed = wait_for(owner, f"/datasets/{made.json()['id']}", _ended)
        assert (failed["status"], failed["error"]["code"]) == ("failed", code)
        assert failed["error"]["detail_zh"]
    refused = owner.get("/hubs/huggingface/datasets/acme/scripted/subsets")
    assert (refused.status_code, refused.json()["code"]) == (409, "hub_script")
    assert owner.get("/hubs/huggingface/datasets/acme/none/subsets").json()["code"] == "hub_not_found"
    assert not [one for one in hub.list_requests() if "resolve" in one["path"]]


def test_only_people_ask_a_hub_and_only_for_what_can_be_a_name(hub: FakeHub, owner: Person) -> None:
    assert owner.client.get(f"/api/v1/hubs/huggingface/datasets/{DATASET}/subsets").status_code == 401
    for path in ("huggingface/datasets/..%2f..%2fadmin/subsets", "other/datasets/a/b/subsets",
                 "huggingface/datasets/a/b/c/subsets", "huggingface/datasets/a/b/subsets?revision=../x"):  # fmt: skip
        assert owner.get(f"/hubs/{path}").status_code in (404, 422), path
    for wish in (
        {"subset": "a/b"},
        {"split": ""},
        {"subset": "x" * 201},
        {"subset": "a\u0000b"},
        {"split": 5},
    ):
        body = {"hub": {"hub": "huggingface", "repo_id": DATASET} | wish}
        assert owner.post("/datasets", json=body).status_code == 422, wish
