"""Files under the home: nothing leads out of it, and a log is cut between characters, across attempts too."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend import storage
from backend.domain.errors import NotFound
from tests.factories import write_attempt_file

pytestmark = pytest.mark.usefixtures("database")

JOB = "0123456789abcdefghjk"
TEXT = "第一行 loss=0.5\n第二行 🚗 done\n"


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/../../x",
        "/etc/passwd",
        "a\0b",
        "link/passwd",
        "out",
        "a/" * 300 + "..",
        "x" * 300,
    ],
)
def test_no_name_leads_out_of_a_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "link").symlink_to("/etc")
    (tmp_path / "out").symlink_to("/etc/passwd")
    (tmp_path / "a").mkdir()
    with pytest.raises(NotFound):
        storage.resolve(tmp_path, name)


def test_a_name_inside_leads_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "图 片.png").write_bytes(b"x")
    (tmp_path / "inner").symlink_to(tmp_path / "a")
    assert storage.resolve(tmp_path, "a/图 片.png").read_bytes() == b"x"
    assert storage.resolve(tmp_path, "inner/图 片.png").read_bytes() == b"x"


def _read_all(limit: int) -> list[bytes]:
    pieces, offset = [], 0
    while piece := storage.read_log(JOB, offset, limit):
        pieces.append(piece)
        offset += len(piece)
    return pieces


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 7, 16, 1000])
def test_pieces_of_any_size_are_whole_characters_and_make_up_the_log(limit: int) -> None:
    for attempt, text in ((1, TEXT), (2, TEXT), (10, "最后\n")):
        write_attempt_file(JOB, attempt, "job.log", text.encode())
    pieces = _read_all(limit)
    assert "".join(piece.decode() for piece in pieces) == TEXT + TEXT + "最后\n"
    assert all(len(piece) <= max(limit, 4) for piece in pieces)


@pytest.mark.parametrize("known", [1, 2, 3])
def test_a_character_that_is_still_being_written_is_waited_for(known: int) -> None:
    car = "🚗".encode()
    write_attempt_file(JOB, 1, "job.log", b"go " + car[:known])
    assert storage.read_log(JOB, 0, 100) == b"go "
    assert storage.read_log(JOB, 3, 100) == b""
    assert storage.read_log(JOB, 3, 100, whole_characters=False) == car[:known]
    write_attempt_file(JOB, 1, "job.log", b"go " + car)
    assert storage.read_log(JOB, 3, 100) == car


def test_a_character_cut_by_the_end_of_an_attempt_does_not_hold_up_the_next() -> None:
    write_attempt_file(JOB, 1, "job.log", b"one \xf0\x9f")
    write_attempt_file(JOB, 2, "job.log", "two 好\n".encode())
    assert b"".join(_read_all(5)) == b"one \xf0\x9ftwo \xe5\xa5\xbd\n"


def test_bytes_that_are_no_text_pass_too() -> None:
    noise = bytes(range(128, 256)) * 3 + b"\n"
    write_attempt_file(JOB, 1, "job.log", noise)
    assert b"".join(_read_all(7)) == noise


def test_a_log_that_is_a_link_is_no_log() -> None:
    path = write_attempt_file(JOB, 1, "job.log", b"")
    path.unlink()
    path.symlink_to("/etc/passwd")
    assert storage.read_log(JOB, 0, 100) == b""
    assert storage.measure_log(JOB) == 0


def test_deleting_a_job_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    attempt = write_attempt_file(JOB, 1, "job.log", b"x").parent
    (attempt / "model").symlink_to(tmp_path)
    storage.delete_job_folder(JOB)
    assert not storage.get_job_folder(JOB).exists()
    assert (tmp_path / "precious").read_text() == "kept"


@pytest.mark.parametrize(
    "content", [b"{", b"\xff", b"[" * 5000, b'{"a": 1}' + b" " * storage.MAX_FACTS_BYTES]
)
def test_json_that_is_none_is_passed_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.json").write_bytes(content)
    assert storage.read_json(tmp_path / "x.json") is None


def test_predictions_that_are_being_written_are_read_as_far_as_they_go() -> None:
    lines = b'{"prompt": "p", "predict": "a", "label": "b"}\n' * 3 + b'{"prompt": "half \xe5'
    write_attempt_file(JOB, 1, "output/generated_predictions.jsonl", lines)
    assert len(storage.read_predictions(JOB, 1, 0, 10)) == 3
    assert len(storage.read_predictions(JOB, 1, 2, 10)) == 1
    assert storage.read_predictions(JOB, 2, 0, 10) == []
