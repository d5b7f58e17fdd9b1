"""kill -9 in the middle: of the web process in an upload, of the librarian in an import and a check. Nothing is lost,
nothing is there twice."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import httpx
import psutil
import pytest

from backend.database import transaction
from backend.services import chores
from backend.tables.base import utc_now
from backend.tables.chore import Chore
from backend.tables.dataset import Dataset
from backend.tables.upload import Upload
from tests.factories import Person
from tests.librarian.conftest import Librarian, WebProcess, make_zip, wait_for_dataset, wait_until

pytestmark = pytest.mark.timeout(600)

ROWS = 120_000


def _age_heartbeats() -> None:
    """Do what twenty seconds of silence do."""
    with transaction() as session:
        for chore in session.query(Chore).where(Chore.status == "running"):
            chore.heartbeat_at = utc_now() - timedelta(seconds=chores.STALE_SECONDS + 1)


def _list_chores() -> list[str]:
    """Return how every chore stands."""
    with transaction() as session:
        return [chore.status for chore in session.query(Chore)]


def _make_rows() -> bytes:
    row = '{"instruction": "question %d", "input": "", "output": "answer %d, with some words after it"}'
    return "\n".join(row % (number, number) for number in range(ROWS)).encode()


@pytest.mark.parametrize("stage", ["unpacking", "checking"])
def test_a_killed_librarian_loses_nothing(
    owner: Person, librarian: Librarian, tuneforge_home: Path, stage: str
) -> None:
    packed = make_zip({"rows.jsonl": _make_rows(), **{f"x/{number}.png": b"x" for number in range(5000)}})
    made = owner.post("/datasets", files={"file": ("rows.zip", packed)}).json()

    def has_reached() -> bool:
        found = owner.get(f"/datasets/{made['id']}").json()
        reached = (found["progress"] or {}).get("stage")
        is_over = found["status"] != "importing"
        return is_over or reached == stage or (stage == "unpacking" and reached not in (None, "queued"))

    wait_until(has_reached, stage)
    children = librarian.kill()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive, "a chore's process ends with its librarian"
    _age_heartbeats()
    librarian.start()
    dataset = wait_for_dataset(owner, made["id"])
    assert (dataset["status"], dataset["example_count"], dataset["usable_count"]) == ("ready", ROWS, ROWS), (
        dataset
    )
    wait_until(lambda: _list_chores() == ["done"], "the chore's last word")
    with transaction() as session:
        assert session.query(Dataset).where(Dataset.owner_id == owner.id).count() == 1
        assert session.query(Upload).count() == 0
    left = sorted(path.name for path in tuneforge_home.glob("users/*/datasets/*"))
    assert left == sorted([f".findings-{made['id']}.jsonl", made["id"]])
    assert list((tuneforge_home / "uploads").iterdir()) == []


def test_a_killed_chore_is_taken_up_by_the_same_librarian(owner: Person, librarian: Librarian) -> None:
    made = owner.post("/datasets", files={"file": ("rows.jsonl", _make_rows())}).json()
    for child in wait_until(librarian.list_children, "the chore's process"):
        child.kill()
    dataset = wait_for_dataset(owner, made["id"])
    assert (dataset["status"], dataset["example_count"]) == ("ready", ROWS)


def test_a_dataset_deleted_while_it_is_imported_is_gone(
    owner: Person, librarian: Librarian, tuneforge_home: Path
) -> None:
    made = owner.post("/datasets", files={"file": ("rows.jsonl", _make_rows())}).json()
    wait_until(librarian.list_children, "the chore's process")
    assert owner.request("DELETE", f"/datasets/{made['id']}").status_code == 204
    wait_until(lambda: not librarian.list_children(), "the end of the chore's process")
    with transaction() as session:
        assert session.query(Chore).count() == session.query(Upload).count() == 0
    assert not list(tuneforge_home.glob(f"users/*/datasets/{made['id']}/*.jsonl"))


def test_a_stopped_librarian_gives_its_chores_back(owner: Person, librarian: Librarian) -> None:
    made = owner.post("/datasets", files={"file": ("rows.jsonl", _make_rows())}).json()
    wait_until(librarian.list_children, "the chore's process")
    assert librarian.stop() == 0
    assert set(_list_chores()) <= {"queued", "done"}
    librarian.start()
    assert wait_for_dataset(owner, made["id"])["example_count"] == ROWS


def test_a_killed_web_process_loses_no_byte_of_an_upload(
    owner: Person, web_process: WebProcess, tuneforge_home: Path
) -> None:
    content, piece = os.urandom(20 << 20), 1 << 20
    body = {"file_name": "a.bin", "size_bytes": len(content), "purpose": "file"}
    with httpx.Client(base_url=f"{web_process.url}/api/v1", headers=owner.headers, trust_env=False) as client:
        upload = client.post("/uploads", json=body).raise_for_status().json()
    sent, kills = 0, 0
    while sent < len(content):
        try:
            with httpx.Client(
                base_url=f"{web_process.url}/api/v1", headers=owner.headers, trust_env=False
            ) as client:
                sent = client.get(f"/uploads/{upload['id']}").raise_for_status().json()["received_bytes"]
                while sent < len(content):
                    if kills < 3 and sent >= (kills + 1) * 5 * piece:
                        kills += 1
                        _send_into_a_kill(
                            web_process, owner, upload["id"], sent, content[sent : sent + piece]
                        )
                    headers = {"Upload-Offset": str(sent), "Content-Type": "application/octet-stream"}
                    answer = client.patch(
                        f"/uploads/{upload['id']}", content=content[sent : sent + piece], headers=headers
                    )
                    sent = answer.raise_for_status().json()["received_bytes"]
        except httpx.TransportError:
            web_process.start()
    assert kills == 3
    listed = owner.get("/files").json()["entries"]
    assert [(entry["name"], entry["size_bytes"]) for entry in listed] == [("a.bin", len(content))]
    assert owner.get("/files/content", params={"path": "a.bin"}).content == content
    assert not list((tuneforge_home / "uploads").iterdir())


def _send_into_a_kill(web: WebProcess, person: Person, upload_id: str, offset: int, piece: bytes) -> None:
    """Begin to send a piece, and kill the process while it comes in."""

    def slowly() -> object:
        yield piece[: len(piece) // 2]
        web.kill()
        yield piece[len(piece) // 2 :]

    headers = person.headers | {"Upload-Offset": str(offset), "Content-Type": "application/octet-stream"}
    httpx.patch(f"{web.url}/api/v1/uploads/{upload_id}", content=slowly(), headers=headers, trust_env=False)  # type: ignore[arg-type]
