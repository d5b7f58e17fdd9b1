"""A person's files: landing there, folders, names that try something, parts of files, zips, and jobs' results."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from backend.domain.protocol import ArtifactFile
from tests.factories import Person, finish_job, register_node, start_job, write_attempt_file
from tests.web.test_uploads import begin, send


def put(person: Person, name: str, content: bytes, folder: str = "") -> None:
    """Let a file land in the files space."""
    answer = begin(person, len(content), name, purpose="file", folder=folder)
    assert answer.status_code == 201, answer.text
    landed = send(person, answer.json()["id"], 0, content)
    assert landed.json()["status"] == "complete", landed.text


def look(person: Person, path: str = "") -> dict[str, Any]:
    """List a folder."""
    answer = person.get("/files", params={"path": path})
    assert answer.status_code == 200, answer.text
    listed: dict[str, Any] = answer.json()
    return listed


def names(person: Person, path: str = "") -> list[str]:
    """List the names in a folder."""
    return [entry["name"] for entry in look(person, path)["entries"]]


def test_a_file_lands_whole_and_is_counted_once(owner: Person, tuneforge_home: Path) -> None:
    put(owner, "笔记.txt", b"0123456789", "a/b")
    put(owner, "笔记.txt", b"other", "a/b")
    assert names(owner) == ["a"]
    assert names(owner, "a/b") == ["笔记 (2).txt", "笔记.txt"]
    assert look(owner)["used_bytes"] == 15
    assert look(owner)["quota_bytes"] == 100 << 30
    assert list((tuneforge_home / "uploads").iterdir()) == []


def test_an_empty_file_lands_too(owner: Person) -> None:
    put(owner, "empty", b"")
    assert owner.get("/files/content", params={"path": "empty"}).content == b""


def test_a_file_is_given_whole_and_in_parts(owner: Person) -> None:
    put(owner, "a.html", b"<script>alert(1)</script>")
    whole = owner.get("/files/content", params={"path": "a.html"})
    assert whole.content == b"<script>alert(1)</script>"
    assert whole.headers["content-type"] == "application/octet-stream"
    assert whole.headers["content-security-policy"] == "sandbox"
    assert "attachment" in whole.headers["content-disposition"]
    part = owner.get("/files/content", params={"path": "a.html"}, headers={"Range": "bytes=1-6"})
    assert (part.status_code, part.content) == (206, b"script")


def test_a_folder_is_given_as_a_zip(owner: Person) -> None:
    put(owner, "一.txt", b"1" * 3_000_000, "d")
    put(owner, "2.txt", b"22", "d/e")
    answer = owner.get("/files/content", params={"path": "d"})
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as zipped:
        assert zipped.testzip() is None
        assert sorted(zipped.namelist()) == ["e/2.txt", "一.txt"]
        assert zipped.read("e/2.txt") == b"22"
    everything = owner.get("/files/content")
    with zipfile.ZipFile(io.BytesIO(everything.content)) as zipped:
        assert sorted(zipped.namelist()) == ["d/e/2.txt", "d/一.txt"]


def test_folders_are_made_moved_and_deleted(owner: Person) -> None:
    assert owner.post("/files/folders", json={"path": "a/b"}).status_code == 201
    assert owner.post("/files/folders", json={"path": "/a/b/"}).status_code == 201
    put(owner, "x.txt", b"x", "a/b")
    moved = owner.request("PATCH", "/files", json={"path": "a/b", "new_path": "c"})
    assert moved.json() == {"path": "c"}
    assert names(owner) == ["a", "c"]
    assert names(owner, "c") == ["x.txt"]
    assert owner.request("PATCH", "/files", json={"path": "c", "new_path": "a"}).status_code == 409
    assert owner.request("PATCH", "/files", json={"path": "a", "new_path": "a/z"}).status_code == 409
    assert owner.request("PATCH", "/files", json={"path": "a", "new_path": "q/z"}).status_code == 404
    assert owner.request("PATCH", "/files", json={"path": "a", "new_path": "c/x.txt/z"}).status_code == 409
    assert owner.post("/files/folders", json={"path": "c/x.txt/z"}).status_code == 409
    assert owner.request("DELETE", "/files", params={"path": "c"}).status_code == 204
    assert owner.request("DELETE", "/files", params={"path": "c"}).status_code == 404
    assert names(owner) == ["a"]


HOSTILE = ["..", "a/../..", "a/./b", "a//b", "a\\b", "..\\x", "a\nb", "\u202ex", "x" * 300, "/".join("a" * 30), " /x",
           "../" * 10 + "etc/passwd"]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE)
def test_hostile_paths_are_refused_everywhere(owner: Person, path: str) -> None:
    for answer in (
        owner.get("/files", params={"path": path}),
        owner.get("/files/content", params={"path": path}),
        owner.request("DELETE", "/files", params={"path": path}),
        owner.post("/files/folders", json={"path": path}),
        owner.request("PATCH", "/files", json={"path": path, "new_path": "x"}),
        owner.request("PATCH", "/files", json={"path": "x", "new_path": path}),
        begin(owner, 1, "a", purpose="file", folder=path),
    ):
        assert answer.status_code in (404, 422), (answer.status_code, answer.text)


def test_links_are_neither_shown_nor_followed(owner: Person, tuneforge_home: Path) -> None:
    put(owner, "a.txt", b"x", "d")
    space = tuneforge_home / "users" / owner.id / "files"
    (space / "out").symlink_to(tuneforge_home)
    (space / "d" / "secret").symlink_to(tuneforge_home / "secrets")
    assert names(owner) == ["d"]
    assert names(owner, "d") == ["a.txt"]
    for path in ("out", "out/secrets", "d/secret"):
        assert owner.get("/files/content", params={"path": path}).status_code == 404
        assert owner.request("DELETE", "/files", params={"path": path}).status_code == 404
    with zipfile.ZipFile(io.BytesIO(owner.get("/files/content").content)) as zipped:
        assert zipped.namelist() == ["d/a.txt"]


def test_everybody_has_a_space_of_their_own(owner: Person, colleague: Person) -> None:
    put(owner, "mine.txt", b"x")
    assert names(colleague) == []
    assert colleague.get("/files/content", params={"path": "mine.txt"}).status_code == 404
    assert colleague.request("DELETE", "/files", params={"path": "mine.txt"}).status_code == 404
    assert names(owner) == ["mine.txt"]


def test_what_jobs_left_is_there_to_read(owner: Person, colleague: Person) -> None:
    register_node()
    order = start_job(owner.id, name="a / job")
    write_attempt_file(order.job_id, 1, "output/checkpoint-7/adapter.bin", b"weights")
    write_attempt_file(order.job_id, 1, "output/all_results.json", b"{}")
    files = [
        ArtifactFile(name="checkpoint-7/adapter.bin", size_bytes=7),
        ArtifactFile(name="all_results.json", size_bytes=2),
    ]
    finish_job(order, artifacts=files)
    assert names(owner) == ["jobs"]
    job = f"jobs/a _ job-{order.job_id}"
    assert [f"jobs/{name}" for name in names(owner, "jobs")] == [job]
    assert names(owner, job) == ["checkpoint-7", "all_results.json"]
    assert names(owner, f"{job}/checkpoint-7") == ["adapter.bin"]
    content = owner.get("/files/content", params={"path": f"{job}/checkpoint-7/adapter.bin"})
    assert content.content == b"weights"
    with zipfile.ZipFile(io.BytesIO(owner.get("/files/content", params={"path": job}).content)) as zipped:
        assert sorted(zipped.namelist()) == ["all_results.json", "checkpoint-7/adapter.bin"]
    for path in ("jobs", job, f"{job}/all_results.json"):
        assert owner.request("DELETE", "/files", params={"path": path}).status_code == 409
        assert owner.request("PATCH", "/files", json={"path": path, "new_path": "x"}).status_code == 409
    assert begin(owner, 1, "a", purpose="file", folder="jobs").status_code == 409
    for path in (job, f"{job}/all_results.json"):
        assert colleague.get("/files/content", params={"path": path}).status_code == 404
        assert colleague.get(f"/files?path={quote(path)}").status_code == 404
    for path in (f"{job}/../x", f"{job}/nothing", "jobs/x-y"):
        assert owner.get("/files", params={"path": path}).status_code in (404, 422)
