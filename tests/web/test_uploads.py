"""Uploads in pieces: cut off, doubled, out of order, at once, too large; and whose they are."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from backend import storage_uploads
from backend.database import transaction
from backend.services import spaces, uploads
from backend.tables.base import utc_now
from backend.tables.upload import Upload
from backend.tables.user import User
from tests.factories import Person

Configure = Callable[[str, str], None]


def begin(person: Person, size: int = 10, name: str = "a.json", **more: Any) -> httpx.Response:
    """Begin an upload."""
    body = {"file_name": name, "size_bytes": size, "purpose": "dataset"} | more
    return person.post("/uploads", json=body)


def send(person: Person, upload_id: str, offset: int, piece: bytes) -> httpx.Response:
    """Send one piece."""
    headers = {"Upload-Offset": str(offset), "Content-Type": "application/octet-stream"}
    return person.request("PATCH", f"/uploads/{upload_id}", content=piece, headers=headers)


def test_pieces_make_the_file_whatever_bytes_they_hold(owner: Person, tuneforge_home: Path) -> None:
    content = os.urandom(300_000) + b"\x00\xed\xa0\x80\xff"
    upload_id = begin(owner, len(content)).json()["id"]
    for start in range(0, len(content), 100_000):
        answer = send(owner, upload_id, start, content[start : start + 100_000])
        assert answer.status_code == 200, answer.text
        assert answer.json()["received_bytes"] == min(start + 100_000, len(content))
    assert answer.json()["status"] == "complete"
    assert (tuneforge_home / "uploads" / upload_id).read_bytes() == content


def test_a_piece_may_come_twice_and_half_and_never_leaves_a_hole(owner: Person, tuneforge_home: Path) -> None:
    upload_id = begin(owner, 10).json()["id"]
    assert send(owner, upload_id, 0, b"01234").json()["received_bytes"] == 5
    assert send(owner, upload_id, 0, b"01234").json()["received_bytes"] == 5
    assert send(owner, upload_id, 3, b"3456").json()["received_bytes"] == 7
    refused = send(owner, upload_id, 9, b"9")
    assert (refused.status_code, refused.json()["code"]) == (409, "offset_mismatch")
    assert refused.json()["received_bytes"] == 7
    assert refused.json()["detail_zh"]
    assert send(owner, upload_id, 7, b"789x").status_code == 409, "more than was announced"
    assert send(owner, upload_id, 7, b"789").json()["status"] == "complete"
    assert send(owner, upload_id, 7, b"789").json()["status"] == "complete", "the last one, twice"
    assert (tuneforge_home / "uploads" / upload_id).read_bytes() == b"0123456789"


def test_the_same_piece_by_many_at_once_is_kept_once(owner: Person, tuneforge_home: Path) -> None:
    content = os.urandom(800_000)
    upload_id = begin(owner, len(content)).json()["id"]
    for start in range(0, len(content), 200_000):
        piece = content[start : start + 200_000]
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _, at=start, it=piece: send(owner, upload_id, at, it), range(4)))
        assert {answer.status_code for answer in answers} == {200}
    assert (tuneforge_home / "uploads" / upload_id).read_bytes() == content


def test_what_is_half_written_is_gone_on_with(owner: Person, tuneforge_home: Path) -> None:
    """As a kill in the middle of a write leaves it: the length of the file is the truth."""
    upload_id = begin(owner, 10).json()["id"]
    send(owner, upload_id, 0, b"0123")
    with (tuneforge_home / "uploads" / upload_id).open("ab") as file:
        file.write(b"45")
    assert owner.get(f"/uploads/{upload_id}").json()["received_bytes"] == 6
    assert send(owner, upload_id, 4, b"456789").json()["status"] == "complete"
    assert (tuneforge_home / "uploads" / upload_id).read_bytes() == b"0123456789"


def test_a_piece_has_a_longest(owner: Person) -> None:
    upload = begin(owner, 64 << 20).json()
    assert upload["chunk_bytes"] == 8 << 20
    assert send(owner, upload["id"], 0, bytes(8 << 20)).status_code == 200
    assert send(owner, upload["id"], 8 << 20, bytes((8 << 20) + 1)).status_code == 413


def test_too_large_is_said_before_a_byte_is_sent(owner: Person, configure: Configure) -> None:
    configure("TUNEFORGE_STORAGE_QUOTA_BYTES", "100")
    refused = begin(owner, 101)
    assert (refused.status_code, refused.json()["code"]) == (413, "quota_exceeded")
    assert refused.json()["detail_zh"]
    assert begin(owner, 60).status_code == 201
    assert begin(owner, 60).json()["code"] == "quota_exceeded", "what is on its way counts whole"
    with transaction() as session:
        session.get_one(User, owner.id).storage_quota_bytes = 1000
    assert begin(owner, 60).status_code == 201
    configure("TUNEFORGE_STORAGE_QUOTA_BYTES", str(1 << 60))
    with transaction() as session:
        session.get_one(User, owner.id).storage_quota_bytes = None
    assert begin(owner, (50 << 30) + 1).json()["code"] == "too_large"
    configure("TUNEFORGE_DISK_RESERVE_BYTES", str(1 << 60))
    full = begin(owner, 60)
    assert (full.status_code, full.json()["code"]) == (507, "disk_full")


def test_two_at_once_do_not_both_get_the_last_room(owner: Person, configure: Configure) -> None:
    configure("TUNEFORGE_STORAGE_QUOTA_BYTES", "100")
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: begin(owner, 60).status_code, range(6)))
    assert sorted(answers) == [201, 413, 413, 413, 413, 413]


def test_begun_twice_under_one_key_it_is_one(owner: Person) -> None:
    body = {"file_name": "a.json", "size_bytes": 5, "purpose": "dataset"}
    first, second = (
        owner.post("/uploads", json=body, headers={"Idempotency-Key": "k1"}).json()["id"] for _ in range(2)
    )
    assert first == second
    assert len(owner.list_all("/uploads")) == 1


def test_anothers_upload_does_not_exist(owner: Person, colleague: Person, administrator: Person) -> None:
    upload_id = begin(owner, 5).json()["id"]
    for other in (colleague, administrator):
        assert other.get(f"/uploads/{upload_id}").status_code == 404
        assert send(other, upload_id, 0, b"xxxxx").status_code == 404
        assert other.request("DELETE", f"/uploads/{upload_id}").status_code == 404
        assert other.list_all("/uploads") == []
    assert owner.get(f"/uploads/{upload_id}").json()["received_bytes"] == 0


HOSTILE_NAMES = [
    "",
    " ",
    ".",
    "..",
    "a/..",
    "x\n.json",
    "\u202egnp.json",
    "数" * 200,
    "/",
    "\\",
    "a\x7f",
    "..\\..",
]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_names_are_refused(owner: Person, name: str) -> None:
    answer = begin(owner, 5, name)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["loc"] == ["file_name"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\Users\\ann\\data.json", "/home/ann/数据.json"])
def test_of_a_path_only_the_name_counts(owner: Person, name: str) -> None:
    shown = begin(owner, 5, name).json()["file_name"]
    assert "/" not in shown
    assert "\\" not in shown
    assert name.endswith(shown)


def test_given_up_or_expired_its_bytes_go(owner: Person, tuneforge_home: Path) -> None:
    gone, old, kept = (begin(owner, 5).json()["id"] for _ in range(3))
    for upload_id in (gone, old, kept):
        send(owner, upload_id, 0, b"123")
    assert owner.request("DELETE", f"/uploads/{gone}").status_code == 204
    assert not (tuneforge_home / "uploads" / gone).exists()
    assert send(owner, gone, 3, b"45").status_code == 404
    with transaction() as session:
        session.get_one(Upload, old).expires_at = utc_now() - timedelta(seconds=1)
    with transaction() as session:
        assert spaces.sweep_uploads(session) == 1
    assert [upload["id"] for upload in owner.list_all("/uploads")] == [kept]
    assert [name for name, _ in storage_uploads.list_uploads()] == [kept]


def test_a_disk_that_is_full_keeps_what_was_there(
    owner: Person, tuneforge_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk cannot be had here, so the system's write is replaced by one that refuses."""
    upload_id = begin(owner, 10).json()["id"]
    send(owner, upload_id, 0, b"0123")

    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(storage_uploads.os, "pwrite", refuse)
        answer = send(owner, upload_id, 4, b"456789")
    assert (answer.status_code, answer.json()["code"]) == (507, "disk_full")
    assert send(owner, upload_id, 4, b"456789").json()["status"] == "complete"
    assert uploads.CHUNK_BYTES == 8 << 20


def test_an_administrator_sets_what_one_may_store(owner: Person, administrator: Person) -> None:
    path = f"/admin/users/{owner.id}"
    assert owner.request("PATCH", path, json={"storage_quota_bytes": 10}).status_code == 403
    assert (
        administrator.request("PATCH", path, json={"storage_quota_bytes": 10}).json()["storage_quota_bytes"]
        == 10
    )
    assert owner.get("/files").json()["quota_bytes"] == 10
    assert begin(owner, 11).json()["code"] == "quota_exceeded"
    administrator.request("PATCH", path, json={"is_active": True})
    assert owner.get("/files").json()["quota_bytes"] == 10, "another change leaves it alone"
    administrator.request("PATCH", path, json={"storage_quota_bytes": None})
    assert owner.get("/files").json()["quota_bytes"] == 100 << 30
    for wrong in (-1, "x", 2**60, 0.5):
        assert administrator.request("PATCH", path, json={"storage_quota_bytes": wrong}).status_code == 422
