"""What the home holds: found by many at once, hostile facts passed over, pictures inside their folder only."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from backend import storage
from backend.database import transaction
from backend.domain.errors import NotFound
from backend.services import catalogue
from backend.services.pages import PageWish
from backend.tables.base_model import BaseModel
from backend.tables.dataset import Dataset
from backend.tables.user import User
from tests.factories import make_dataset, make_model, make_user

pytestmark = pytest.mark.usefixtures("database")


def _discover(_: int = 0) -> None:
    with transaction() as session:
        catalogue.discover(session)


def test_models_and_datasets_are_found_and_marked_when_they_vanish(tuneforge_home: Path) -> None:
    model, dataset = make_model(tuneforge_home), make_dataset(tuneforge_home)
    _discover()
    with transaction() as session:
        found = session.get_one(BaseModel, "tiny")
        assert (found.status, found.path, found.template) == ("ready", "models/tiny", "qwen2_vl")
        assert found.size_bytes > 0
        assert session.get_one(Dataset, "talks").example_count == 8
    model.rename(tuneforge_home / "away")
    dataset.rename(tuneforge_home / "away-too")
    _discover()
    with transaction() as session:
        assert session.get_one(BaseModel, "tiny").status == "missing"
        assert session.get_one(Dataset, "talks").status == "missing"
    (tuneforge_home / "away").rename(model)
    (tuneforge_home / "away-too").rename(dataset)
    _discover()
    with transaction() as session:
        assert session.get_one(BaseModel, "tiny").status == "ready"
        assert session.get_one(Dataset, "talks").status == "ready"


def test_many_may_look_at_once(tuneforge_home: Path) -> None:
    for number in range(3):
        make_model(tuneforge_home, f"model-{number}")
        make_dataset(tuneforge_home, f"data-{number}")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(_discover, range(4)))
    with transaction() as session:
        assert session.query(BaseModel).count() == session.query(Dataset).count() == 3


@pytest.mark.parametrize(
    "facts",
    [
        {"parameters": "many"},
        {"parameters": None},
        {"parameters": 10**30},
        {"modalities": None},
        {"modalities": 5},
        {"template": "a\x00b"},
        {"example_count": "x"},
        {"example_count": 10**12},
        {"example_count": float("nan")},
    ],
)
def test_one_with_broken_facts_does_not_hide_the_others(tuneforge_home: Path, facts: dict[str, Any]) -> None:
    make_model(tuneforge_home, "a-broken", **facts)
    make_dataset(tuneforge_home, "a-broken", **facts)
    make_model(tuneforge_home, "whole")
    make_dataset(tuneforge_home, "whole")
    _discover()
    with transaction() as session:
        assert session.get_one(BaseModel, "whole").status == "ready"
        assert session.get_one(Dataset, "whole").status == "ready"


def test_ones_own_dataset_comes_before_a_public_one_and_others_see_neither() -> None:
    ann, bob = make_user("ann"), make_user("bob")
    with transaction() as session:
        for dataset_id, owner_id, visibility in (("p", None, "public"), ("a", ann, "private")):
            session.add(
                Dataset(
                    id=dataset_id, name="talks", owner_id=owner_id, visibility=visibility, path="datasets/x",
                    format="sharegpt", modalities=["text"], example_count=1, size_bytes=1, status="ready",
                )
            )  # fmt: skip
    with transaction() as session:
        users = [session.get_one(User, user_id) for user_id in (ann, bob)]
        assert [catalogue.get_dataset(session, user, "talks").id for user in users] == ["a", "p"]
        assert [len(catalogue.list_datasets(session, user, PageWish()).rows) for user in users] == [2, 1]
        with pytest.raises(NotFound):
            catalogue.get_dataset(session, users[1], "a")


def _get_dataset() -> Dataset:
    with transaction() as session:
        return session.get_one(Dataset, "talks")


def test_rows_are_conversations(tuneforge_home: Path) -> None:
    make_dataset(tuneforge_home)
    _discover()
    rows, total = catalogue.list_rows(_get_dataset(), 6, 5)
    assert total == 8
    assert [row["index"] for row in rows] == [6, 7]
    assert rows[0]["images"] == ["images/6.png"]
    assert [message["role"] for message in rows[0]["messages"]] == ["user", "assistant"]


@pytest.mark.parametrize(
    "rows",
    [["x", 5, None], [{"conversations": 5}], [{"conversations": ["x", None]}], [{"images": 5}], {"a": 1}],
)
def test_rows_that_are_none_are_shown_as_empty(tuneforge_home: Path, rows: Any) -> None:
    folder = make_dataset(tuneforge_home)
    (folder / "data.json").write_text(json.dumps(rows))
    _discover()
    found, _ = catalogue.list_rows(_get_dataset(), 0, 10)
    assert all(row["messages"] == [] and row["images"] == [] for row in found)
    catalogue.find_missing_media(_get_dataset())


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 5000])
def test_a_file_that_is_no_json_is_said_to_be_none(tuneforge_home: Path, content: bytes) -> None:
    folder = make_dataset(tuneforge_home)
    (folder / "data.json").write_bytes(content)
    _discover()
    with pytest.raises(NotFound):
        catalogue.list_rows(_get_dataset(), 0, 10)
    assert catalogue.find_missing_media(_get_dataset())


@pytest.mark.parametrize(
    "name",
    ["data.json", storage.FACTS_FILE, "../secret.png", "/etc/hostname", "images", "images/99.png", "out.png",
     "a" * 300 + ".png", "images/../../x.png"],
)  # fmt: skip
def test_only_a_datasets_own_pictures_are_given(tuneforge_home: Path, name: str) -> None:
    folder = make_dataset(tuneforge_home)
    (folder.parent / "secret.png").write_bytes(b"secret")
    (folder / "out.png").symlink_to(folder.parent / "secret.png")
    _discover()
    with pytest.raises(NotFound):
        catalogue.get_media_path(_get_dataset(), name)


@pytest.mark.parametrize(
    "image", ["gone.png", "/etc/hostname", "../talks/images/../../secret.png", "a" * 300, "a\x00b"]
)
def test_pictures_that_are_not_there_are_named_with_their_row(tuneforge_home: Path, image: Any) -> None:
    folder = make_dataset(tuneforge_home)
    (folder.parent / "secret.png").write_bytes(b"secret")
    rows = json.loads((folder / "data.json").read_text())
    rows[3]["images"] = [image]
    (folder / "data.json").write_text(json.dumps(rows))
    _discover()
    fault = catalogue.find_missing_media(_get_dataset())
    assert fault is not None
    assert "row 3" in fault


def test_rows_with_odd_roles_are_shown(tuneforge_home: Path) -> None:
    folder = make_dataset(tuneforge_home)
    (folder / "data.json").write_text(json.dumps([{"conversations": [{"from": ["x"], "value": 7}]}]))
    _discover()
    rows, _ = catalogue.list_rows(_get_dataset(), 0, 10)
    assert rows[0]["messages"] == [{"role": "['x']", "content": "7"}]


def test_a_data_file_that_is_a_folder_is_said_to_be_unreadable(tuneforge_home: Path) -> None:
    make_dataset(tuneforge_home, dataset_info={"file_name": "images"})
    _discover()
    with pytest.raises(NotFound, match="cannot be read"):
        catalogue.list_rows(_get_dataset(), 0, 10)
