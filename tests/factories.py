"""People, nodes, models, datasets and jobs for tests, made by the platform's own services where it has one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
from argon2 import PasswordHasher
from fastapi.testclient import TestClient

from backend import storage
from backend.database import transaction
from backend.domain.job import JobKind
from backend.domain.protocol import PROTOCOL_VERSION, Device, FinalReport, LaunchOrder, Registration
from backend.domain.spec import PreparedJob
from backend.domain.usernames import normalize_username
from backend.services import dispatch, jobs, nodes, reports, users
from backend.tables.base import new_id
from backend.tables.dataset import Dataset
from backend.tables.job import Job
from backend.tables.user import User

PASSWORD = "correct horse battery"
"""The password of everybody made here."""

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c6360606000000004"
    "0001f61738550000000049454e44ae426082"
)
"""A PNG of one black pixel."""


@dataclass
class Person:
    """Somebody with an account, and a client that speaks for them by API token."""

    id: str
    username: str
    client: TestClient = field(repr=False)
    headers: dict[str, str] = field(repr=False)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send one request under `/api/v1`."""
        headers = self.headers | options.pop("headers", {})
        return self.client.request(method, f"/api/v1{path}", headers=headers, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET under `/api/v1`."""
        return self.request("GET", path, **options)

    def list_all(self, path: str) -> list[dict[str, Any]]:
        """GET every page of a list under `/api/v1`."""
        rows: list[dict[str, Any]] = []
        page: dict[str, Any] = {"has_more": True, "next": None}
        while page["has_more"]:
            after = {"after": page["next"]} if page["next"] else {}
            page = self.get(path, params={"limit": 100} | after).json()
            rows += page["data"]
        return rows

    def post(self, path: str, **options: Any) -> httpx.Response:
        """POST under `/api/v1`."""
        return self.request("POST", path, **options)


@lru_cache(maxsize=1)
def hash_password() -> str:
    """Return the hash of PASSWORD; hashing is slow on purpose, so it is done once."""
    return PasswordHasher().hash(PASSWORD)


def make_user(username: str, *, role: str = "user") -> str:
    """Make an account and return its id."""
    shown, key = normalize_username(username)
    with transaction() as session:
        user = User(username=shown, username_key=key, password_hash=hash_password(), role=role)
        session.add(user)
        session.flush()
        return user.id


def make_person(client: TestClient, username: str, *, role: str = "user") -> Person:
    """Make an account with an API token."""
    user_id = make_user(username, role=role)
    with transaction() as session:
        _, text = users.create_token(session, user_id, "test", None)
    return Person(user_id, username, client, {"Authorization": f"Bearer {text}"})


def build_devices(count: int = 1, kind: str = "cpu", name: str = "slot") -> list[Device]:
    """Return devices with ids such as `slot-0`."""
    return [
        Device(uuid=f"{name}-{index}", kind=kind, name=kind.upper(), index=index, memory_bytes=16 << 30)
        for index in range(count)
    ]


def register_node(name: str = "node-1", devices: Sequence[Device] | None = None) -> str:
    """Register a node and return its id."""
    message = Registration(
        protocol_version=PROTOCOL_VERSION,
        name=name,
        devices=list(devices) if devices is not None else build_devices(1, name=name),
    )
    with transaction() as session:
        return nodes.register(session, message).id


def make_model(home: Path, name: str = "tiny", **facts: Any) -> Path:
    """Put the facts of a small model into the home, as `catalogue.discover` finds them."""
    folder = home / "models" / name
    folder.mkdir(parents=True)
    config = {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 64, "intermediate_size": 128,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 1000,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    described = {
        "source": "local", "architecture": "Qwen2ForCausalLM", "parameters": 1_000_000,
        "modalities": ["text", "image"], "template": "qwen2_vl",
    }  # fmt: skip
    (folder / storage.FACTS_FILE).write_text(json.dumps(described | facts))
    return folder


def make_dataset(home: Path, name: str = "talks", *, rows: int = 8, **facts: Any) -> Path:
    """Put a ShareGPT dataset with one picture a row into the home, as `catalogue.discover` finds it."""
    folder = home / "datasets" / name
    (folder / "images").mkdir(parents=True)
    conversations = []
    for index in range(rows):
        (folder / "images" / f"{index}.png").write_bytes(PIXEL)
        messages = [
            {"from": "human", "value": f"<image>What is in picture {index}?"},
            {"from": "gpt", "value": f"答案 {index}"},
        ]
        conversations.append({"conversations": messages, "images": [f"images/{index}.png"]})
    (folder / "data.json").write_text(json.dumps(conversations, ensure_ascii=False))
    columns = {"messages": "conversations", "images": "images"}
    described = {
        "format": "sharegpt", "modalities": ["text", "image"], "example_count": rows, "file_name": "data.json",
        "dataset_info": {"file_name": "data.json", "formatting": "sharegpt", "columns": columns},
    }  # fmt: skip
    (folder / storage.FACTS_FILE).write_text(json.dumps(described | facts))
    return folder


def make_own_dataset(owner_id: str, name: str = "mine", **values: Any) -> str:
    """Put a dataset of one row that was checked among a person's own, and return its id."""
    info = {"file_name": "a.json", "formatting": "alpaca"}
    dataset_id = new_id()
    described: dict[str, Any] = {
        "id": dataset_id, "name": name, "owner_id": owner_id, "visibility": "private", "format": "alpaca",
        "path": f"users/{owner_id}/datasets/{dataset_id}", "modalities": ["text"], "example_count": 1,
        "size_bytes": 50, "status": "ready", "facts": {"file_name": "a.json", "dataset_info": info},
        "report": {"stage": "sft", "example_count": 1, "usable_count": 1, "cleaned_count": 1},
    }  # fmt: skip
    folder = storage.get_home() / described["path"]
    folder.mkdir(parents=True)
    (folder / "a.json").write_text(json.dumps([{"instruction": "a", "output": "b"}]))
    with transaction() as session:
        session.add(Dataset(**(described | values)))
    return dataset_id


def submit_job(owner_id: str, **changes: Any) -> str:
    """Queue a job as it comes out of `submission.prepare_job`, and return its id."""
    kind = JobKind(changes.pop("kind", "train"))
    spec = {
        "kind": kind.value, "model": "tiny", "datasets": ["talks"], "args": {}, "stage": "sft",
        "finetuning_type": "lora", "resources": {"gpu_kind": "cpu", "gpu_count": 1},
    }  # fmt: skip
    prepared: dict[str, Any] = {
        "name": "a job",
        "kind": kind,
        "spec": spec | changes.pop("spec", {}),
        "config_yaml": "stage: sft\n",
        "launch": {"model_path": "models/tiny", "adapter_path": None, "datasets": [], "tracking": "local"},
        "estimate": {"steps": 10, "duration_seconds": {"low": 50, "expected": 60, "high": 90}},
        "gpu_kind": "cpu",
        "gpu_count": 1,
        "tier": "express",
    }
    with transaction() as session:
        owner = session.get_one(User, owner_id)
        return jobs.submit(session, owner, PreparedJob(**(prepared | changes))).id


def assign_jobs() -> int:
    """Let the housekeeper's dispatch run once; return how many jobs it assigned."""
    with transaction() as session:
        return dispatch.dispatch(session)


def claim_job(job_id: str, node: str = "node-1") -> LaunchOrder:
    """Claim the present attempt as its node's supervisor would."""
    with transaction() as session:
        return reports.claim(session, job_id, session.get_one(Job, job_id).attempt, node)


def start_job(owner_id: str, **changes: Any) -> LaunchOrder:
    """Bring a job of its own to run on the node `node-1`, which is registered."""
    job_id = submit_job(owner_id, **changes)
    assign_jobs()
    return claim_job(job_id)


def finish_job(order: LaunchOrder, end_reason: str = "completed", **values: Any) -> None:
    """Say the last word about an attempt."""
    message = {
        "phase": "finished", "step": 10, "total_steps": 10, "log_bytes": 0, "end_reason": end_reason,
        "run_seconds": 36.0,
    }  # fmt: skip
    with transaction() as session:
        report = FinalReport.model_validate(message | values)
        reports.finish(session, order.job_id, order.attempt, order.lease_token, report)


def read_job(job_id: str) -> Job:
    """Return a job as it stands now."""
    with transaction() as session:
        return session.get_one(Job, job_id)


def write_attempt_file(job_id: str, attempt: int, name: str, content: bytes) -> Path:
    """Put a file into an attempt's folder."""
    path = storage.get_attempt_folder(job_id, attempt) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
