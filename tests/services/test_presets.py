"""Presets are listed before they are fetched, estimated as if they were here, and recognised when put into the home."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend.database import transaction
from backend.domain import presets
from backend.domain.model_catalogue import find_catalogue_model
from backend.services import catalogue
from backend.tables.base_model import BaseModel
from backend.tables.dataset import Dataset
from tests.factories import Person, build_devices, register_node

JOB = {
    "kind": "train",
    "model": "qwen2.5-vl-7b-instruct",
    "datasets": ["QA_from_CoVLA_zh"],
    "resources": {"gpu_kind": "h800-80g", "gpu_count": 4},
}


@pytest.fixture(autouse=True)
def _offered(database: None, configure: Callable[[str, str], None]) -> None:
    configure("TUNEFORGE_PRESETS", "on")
    _discover()


def _discover() -> None:
    with transaction() as session:
        catalogue.discover(session)


def _get_model(name: str) -> BaseModel:
    with transaction() as session:
        return session.get_one(BaseModel, name)


def write_safetensors(path: Path, *, elements: int = 1000, missing: int = 0) -> None:
    """Write weights of one tensor in bf16; without its last `missing` bytes it is still being copied."""
    header = json.dumps(
        {"w": {"dtype": "BF16", "shape": [elements], "data_offsets": [0, 2 * elements]}}
    ).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(2 * elements - missing))


def write_model(folder: Path, model_type: str = "qwen2_5_vl", *, missing: int = 0) -> None:
    """Write a model folder as a hub has it, without facts of ours."""
    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": model_type,
    }
    (folder / "config.json").write_text(json.dumps(config | {"vision_config": {"depth": 2}}))
    write_safetensors(folder / "model.safetensors", missing=missing)


def test_presets_agree_with_llamafactory() -> None:
    for preset in presets.MODELS:
        for repo in preset.repos.values():
            known = find_catalogue_model(repo)
            assert known is not None, repo
            assert known.template == preset.template, repo
            assert set(known.modalities) == set(preset.modalities), repo
        assert preset.parameters > 10**8, preset.id


def test_a_fresh_installation_lists_them(owner: Person) -> None:
    models = owner.get("/models").json()
    datasets = owner.get("/datasets").json()
    assert not models["has_more"]
    assert not datasets["has_more"]
    assert models["data"][0]["id"] == "qwen2.5-vl-7b-instruct"
    assert datasets["data"][0]["id"] == "QA_from_CoVLA_zh"
    assert len(models["data"]) == len(presets.MODELS) <= 17
    assert len(datasets["data"]) == len(presets.list_dataset_presets()) <= 17
    assert {row["status"] for row in models["data"] + datasets["data"]} == {"available"}
    assert models["data"][0]["approximate"] == ["parameters", "size_bytes"]


def test_the_reference_case_is_estimated_before_the_download_and_refused_as_a_job(owner: Person) -> None:
    register_node("node-1", build_devices(4, kind="h800-80g"))
    assert owner.get("/defaults", params={"model": JOB["model"]}).status_code == 200
    answer = owner.post("/estimates", json=JOB)
    assert answer.status_code == 200, answer.text
    estimate = answer.json()
    assert estimate["steps"] == 57
    assert 5_000_000 < estimate["tokens"] < 6_000_000
    assert not [warning for warning in estimate["warnings"] if warning["code"].startswith("unknown")]
    assert owner.post("/configs", json=JOB).status_code == 200
    refused = owner.post("/jobs", json=JOB)
    assert (refused.status_code, refused.json()["code"]) == (409, "not_fetched")
    assert "/api/v1/models/qwen2.5-vl-7b-instruct/download" in refused.json()["detail"]
    assert "/api/v1/datasets/QA_from_CoVLA_zh/download" in refused.json()["detail"]
    assert owner.get("/jobs").json()["data"] == []


def test_a_presets_model_put_into_the_home_becomes_ready_and_is_offered_again_when_it_goes(
    tuneforge_home: Path,
) -> None:
    folder = tuneforge_home / "models" / "qwen2.5-vl-7b-instruct"
    write_model(folder, missing=1)
    _discover()
    assert _get_model(folder.name).status == "available"
    write_model(folder)
    _discover()
    found = _get_model(folder.name)
    assert (found.status, found.parameters, found.template) == ("ready", 1000, "qwen2_vl")
    folder.rename(tuneforge_home / "models" / ".away")
    _discover()
    _discover()
    offered = _get_model(folder.name)
    assert (offered.status, offered.parameters) == ("available", 8_292_166_656)


def test_a_folder_that_nobody_described_is_found(tuneforge_home: Path, owner: Person) -> None:
    folder = tuneforge_home / "models" / "Qwen2.5-VL-3B-Instruct-AWQ"
    write_model(folder)
    write_model(tuneforge_home / "models" / "half", missing=1)
    (tuneforge_home / "models" / "no-weights").mkdir()
    (tuneforge_home / "models" / "no-weights" / "config.json").write_text("{}")
    _discover()
    found = owner.get(f"/models/{folder.name}").json()
    assert (found["status"], found["template"]) == ("ready", "qwen2_vl")
    assert found["modalities"] == ["text", "image", "video"]
    assert found["architecture"] == "Qwen2_5_VLForConditionalGeneration"
    assert owner.get("/models/half").status_code == 404
    assert owner.get("/models/no-weights").status_code == 404


def test_hostile_weights_and_configs_hide_nothing(tuneforge_home: Path, owner: Person) -> None:
    for number, header in enumerate(
        [
            b"",
            b"\xff" * 8,
            struct.pack("<Q", 2) + b"[]",
            struct.pack("<Q", 3) + b"nul",
            struct.pack("<Q", 1 << 40),
        ]
    ):
        folder = tuneforge_home / "models" / f"bad-{number}"
        write_model(folder)
        (folder / "model.safetensors").write_bytes(header)
    odd = tuneforge_home / "models" / "odd"
    write_model(odd)
    (odd / "config.json").write_text(json.dumps({"architectures": "x\x00y", "vision_config": 5}))
    write_model(tuneforge_home / "models" / "whole")
    _discover()
    assert owner.get("/models/whole").json()["status"] == "ready"
    assert all(owner.get(f"/models/bad-{number}").status_code == 404 for number in range(5))


def test_they_can_be_turned_off(configure: Callable[[str, str], None]) -> None:
    with transaction() as session:
        session.query(BaseModel).delete()
        session.query(Dataset).delete()
    configure("TUNEFORGE_PRESETS", "off")
    _discover()
    with transaction() as session:
        assert session.query(BaseModel).count() == session.query(Dataset).count() == 0
