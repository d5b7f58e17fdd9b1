"""The attempt's folder: what lies in it, what never does, and what is put right afterwards."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from backend.domain.protocol import AttemptKey, DatasetLink, LaunchOrder, TrackingPlan
from tests.worker.fake_trainer import build_safetensors, save_checkpoint
from worker import workspace
from worker.dataset_files import BadDataset
from worker.workspace import Workspace, lay_out

INFO = {
    "file_name": "data.json",
    "formatting": "sharegpt",
    "columns": {"messages": "conversations", "images": "images"},
}


def build_order(attempt: int = 1, **changes: Any) -> LaunchOrder:
    """Return an order as the backend gives it."""
    values: dict[str, Any] = {
        "job_id": "job12345",
        "attempt": attempt,
        "kind": "train",
        "lease_token": "a lease",
        "lease_seconds": 60,
        "fence_seconds": 600,
        "config_yaml": "# 训练\nstage: sft\n",
        "model_path": "models/tiny",
        "datasets": [],
        "device_kind": "cpu",
        "devices": ["cpu-0"],
        "tracking": TrackingPlan(mode="off"),
        "resume_from_attempt": attempt - 1 or None,
        "log_limit_bytes": 1 << 20,
    }
    return LaunchOrder(**(values | changes))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with one model."""
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    return tmp_path


def make_dataset(home: Path, name: str, rows: Any, file_name: str = "data.json") -> DatasetLink:
    """Put a dataset into the home and return its link."""
    folder = home / "datasets" / name
    folder.mkdir(parents=True)
    text = "\n".join(map(json.dumps, rows)) if file_name.endswith("l") else json.dumps(rows)
    (folder / file_name).write_text(text)
    return DatasetLink(name=name, path=f"datasets/{name}", dataset_info=INFO | {"file_name": file_name})


def get_place(home: Path, attempt: int = 1) -> Workspace:
    """Return the workspace of an attempt."""
    return Workspace(home, AttemptKey(job_id="job12345", attempt=attempt))


def read_info(place: Workspace) -> dict[str, Any]:
    """Return the attempt's dataset_info.json."""
    found: dict[str, Any] = json.loads((place.folder / "data" / "dataset_info.json").read_text())
    return found


def test_one_dataset_is_linked_to_and_the_yaml_is_byte_for_byte(home: Path) -> None:
    link = make_dataset(home, "roads", [{"conversations": [], "images": ["a.png"]}])
    place, order = get_place(home), build_order(datasets=[link])
    assert lay_out(place, order) is None
    assert (place.folder / "train.yaml").read_bytes() == order.config_yaml.encode()
    assert (place.folder / "data" / "roads" / "data.json").samefile(home / "datasets/roads/data.json")
    assert read_info(place) == {"roads": INFO | {"file_name": "roads/data.json"}}
    assert (place.folder / "model").resolve() == home / "models" / "tiny"
    assert list(place.output.iterdir()) == []
    assert not (place.folder / "adapter").exists()


def test_what_the_yaml_reads_lies_beside_it(home: Path) -> None:
    place = get_place(home)
    lay_out(place, build_order(config_files={"ds_z2_config.json": '{"zero_optimization": {"stage": 2}}'}))
    assert json.loads((place.folder / "ds_z2_config.json").read_text()) == {"zero_optimization": {"stage": 2}}
    for hostile in ("../evil.json", "/etc/evil.json", "train.yaml", ""):
        with pytest.raises(ValidationError):
            build_order(config_files={hostile: "{}"})


@pytest.mark.parametrize("file_name", ["data.json", "data.jsonl"])
def test_of_several_datasets_each_names_its_pictures_from_the_folder_above(
    home: Path, file_name: str
) -> None:
    """Also videos given as lists of frames; rows without pictures, or that are no objects, stay as they are."""
    rows = [
        {"images": ["x/1.png", "/abs.png"], "conversations": 1},
        {"conversations": 2},
        {"images": [["f1", "f2"]]},
        7,
    ]
    links = [make_dataset(home, "one", rows, file_name), make_dataset(home, "two", [{"images": []}])]
    place = get_place(home)
    lay_out(place, build_order(datasets=links))
    info = read_info(place)
    copy = (place.folder / "data" / info["one"]["file_name"]).read_text()
    copied = [json.loads(line) for line in copy.splitlines()] if file_name.endswith("l") else json.loads(copy)
    assert copied == [
        {"images": ["one/x/1.png", "/abs.png"], "conversations": 1},
        {"conversations": 2},
        {"images": [["one/f1", "one/f2"]]},
        7,
    ]
    original = home / "datasets/one" / file_name
    assert "one/x/1.png" not in original.read_text()
    workspace.clean_up(place)
    assert not (place.folder / "data" / info["one"]["file_name"]).exists()
    assert original.exists()


@pytest.mark.parametrize("path", ["../outside", "/etc", "datasets/../../etc", "", "datasets/\0"])
def test_what_leads_out_of_the_home_is_refused(home: Path, path: str) -> None:
    link = make_dataset(home, "roads", []).model_copy(update={"path": path})
    with pytest.raises(BadDataset):
        lay_out(get_place(home), build_order(datasets=[link]))
    with pytest.raises(BadDataset):
        lay_out(get_place(home), build_order(model_path=path))


@pytest.mark.parametrize("file_name", ["../../secret", "/etc/passwd", "gone.json"])
def test_a_data_file_must_lie_in_its_dataset(home: Path, file_name: str) -> None:
    link = make_dataset(home, "roads", [])
    bad = link.model_copy(update={"dataset_info": INFO | {"file_name": file_name}})
    with pytest.raises(BadDataset):
        lay_out(get_place(home), build_order(datasets=[bad]))


def test_nothing_that_fetches_or_runs_gets_into_dataset_info(home: Path) -> None:
    link = make_dataset(home, "roads", [])
    hostile = {
        "script_url": "evil.py",
        "hf_hub_url": "a/b",
        "cloud_file_name": "s3://x",
        "file_name": "data.json",
    }
    lay_out(get_place(home), build_order(datasets=[link.model_copy(update={"dataset_info": hostile})]))
    assert read_info(get_place(home)) == {"roads": {"file_name": "roads/data.json"}}


def test_a_missing_model_is_named(home: Path) -> None:
    with pytest.raises(FileNotFoundError, match="models/gone"):
        lay_out(get_place(home), build_order(model_path="models/gone"))


def test_a_resume_finds_the_newest_whole_checkpoint_of_the_newest_attempt(home: Path) -> None:
    save_checkpoint(30, get_place(home, 1).output)
    save_checkpoint(20, get_place(home, 2).output)
    broken = save_checkpoint(40, get_place(home, 2).output)
    (broken / "optimizer.pt").write_bytes(b"")
    get_place(home, 3).output.mkdir(parents=True)
    place = get_place(home, 4)
    assert lay_out(place, build_order(4)) == 20
    assert [path.name for path in place.output.iterdir()] == ["checkpoint-20"]


def test_laying_out_again_starts_afresh(home: Path) -> None:
    place = get_place(home)
    lay_out(place, build_order())
    for name in ("stop", "stopped", "notes.jsonl", "exit_code", "job.log", "output/rest"):
        (place.folder / name).write_text("old")
    lay_out(place, build_order())
    assert sorted(path.name for path in place.folder.iterdir()) == ["data", "model", "output", "train.yaml"]
    assert list(place.output.iterdir()) == []


def test_adapters_name_their_base_without_touching_linked_files(home: Path) -> None:
    earlier = save_checkpoint(5, get_place(home, 1).output)
    place = get_place(home, 2)
    lay_out(place, build_order(2))
    (place.output / "adapter_config.json").write_text('{"base_model_name_or_path": "model", "r": 8}')
    (place.output / "README.md").write_text(
        "---\nbase_model: model\ntags:\n- base_model:adapter:model\n---\nmodel\n"
    )
    workspace.name_base_model(place, "models/tiny")
    config = json.loads((place.output / "adapter_config.json").read_text())
    assert config == {"base_model_name_or_path": "tiny", "r": 8}
    assert (place.output / "README.md").read_text() == (
        "---\nbase_model: tiny\ntags:\n- base_model:adapter:tiny\n---\nmodel\n"
    )
    linked = json.loads((place.output / "checkpoint-5" / "adapter_config.json").read_text())
    assert linked["base_model_name_or_path"] == "tiny"
    assert json.loads((earlier / "adapter_config.json").read_text())["base_model_name_or_path"] == "model"


def test_an_adapter_on_what_a_job_trained_names_the_job(home: Path) -> None:
    place = get_place(home)
    lay_out(place, build_order())
    (place.output / "adapter_config.json").write_text('{"base_model_name_or_path": "model"}')
    workspace.name_base_model(place, "jobs/abcdefgh12/attempts/1/output")
    config = json.loads((place.output / "adapter_config.json").read_text())
    assert config == {"base_model_name_or_path": "abcdefgh12"}


def test_artifacts_are_regular_files_with_names_that_can_be_shown(home: Path) -> None:
    place = get_place(home)
    lay_out(place, build_order())
    save_checkpoint(5, place.output)
    (place.output / "adapter_model.safetensors").write_bytes(build_safetensors())
    (place.output / "passwd").symlink_to("/etc/passwd")
    (place.output / "two\nlines").write_text("x")
    Path(os.fsdecode(os.fsencode(place.output) + b"/\xff")).write_text("x")
    found = {file.name: file.size_bytes for file in workspace.list_artifacts(place)}
    assert found["adapter_model.safetensors"] == len(build_safetensors())
    assert "checkpoint-5/optimizer.pt" in found
    assert not {"passwd", "two\nlines"} & set(found)
    assert all(name.isprintable() for name in found)


@pytest.mark.parametrize(
    ("text", "results"),
    [
        ('{"a": 1.5, "b": NaN, "c": Infinity, "d": "x", "e": [1]}', {"a": 1.5, "d": "x"}),
        ("[1]", {}),
        ("{", {}),
    ],
)
def test_results_are_finite_values(home: Path, text: str, results: dict[str, Any]) -> None:
    place = get_place(home)
    place.output.mkdir(parents=True)
    (place.output / "all_results.json").write_text(text)
    assert workspace.read_results(place) == results


def test_a_successor_is_a_later_attempt(home: Path) -> None:
    for attempt in (1, 9, 10):
        get_place(home, attempt).folder.mkdir(parents=True)
    (get_place(home).attempts / "12x").mkdir()
    assert get_place(home, 9).has_successor()
    assert not get_place(home, 10).has_successor()
