"""What is large goes through the web process without staying in it: forms to the disk, folders out of it as zips."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from backend import storage_files
from backend.database import transaction
from backend.tables.upload import Upload
from tests.factories import Person
from tests.librarian.conftest import WebProcess, wait_until

pytestmark = pytest.mark.timeout(300)

SIZE = 192 << 20
MOST_GROWTH = 96 << 20
HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="big.bin"\r\n\r\n'
TAIL = b'\r\n--x\r\nContent-Disposition: form-data; name="name"\r\n\r\nbig\r\n--x--\r\n'


def _read_peak(web: WebProcess) -> int:
    """Return the most memory that the process ever held, in bytes."""
    assert web.process is not None
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{web.process.pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def test_a_large_form_goes_to_the_disk(owner: Person, web_process: WebProcess, tuneforge_home: Path) -> None:
    block = os.urandom(1 << 20)

    def body() -> Iterator[bytes]:
        yield HEAD
        for _ in range(SIZE >> 20):
            yield block
        yield TAIL

    before = _read_peak(web_process)
    length = len(HEAD) + SIZE + len(TAIL)
    headers = {
        "Content-Type": "multipart/form-data; boundary=x",
        "Content-Length": str(length),
    } | owner.headers
    made = httpx.post(
        f"{web_process.url}/api/v1/datasets", content=body(), headers=headers, timeout=120, trust_env=False
    )
    assert (made.status_code, made.json()["name"]) == (201, "big"), made.text
    assert _read_peak(web_process) - before < MOST_GROWTH
    (arrived,) = (tuneforge_home / "uploads").iterdir()
    assert arrived.stat().st_size == SIZE
    with arrived.open("rb") as file:
        assert file.read(1 << 20) == block


def test_a_form_that_is_cut_off_leaves_nothing(
    owner: Person, web_process: WebProcess, tuneforge_home: Path
) -> None:
    request = (
        "POST /api/v1/datasets HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        f"Content-Length: {SIZE}\r\nAuthorization: {owner.headers['Authorization']}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", web_process.port)) as connection:
        connection.sendall(request.encode() + HEAD + bytes(12 << 20))
        wait_until(lambda: list((tuneforge_home / "uploads").glob("*")), "the first bytes")

    def is_gone() -> bool:
        with transaction() as session:
            return session.query(Upload).count() == 0 and not list((tuneforge_home / "uploads").iterdir())

    wait_until(is_gone, "the end of what was cut off")


def test_a_large_folder_comes_as_a_zip(owner: Person, web_process: WebProcess) -> None:
    folder = storage_files.get_space(owner.id) / "d"
    folder.mkdir()
    with (folder / "big.bin").open("wb") as file:
        file.truncate(SIZE)
    before, received = _read_peak(web_process), 0
    address = f"{web_process.url}/api/v1/files/content?path=d"
    with httpx.stream("GET", address, headers=owner.headers, timeout=120, trust_env=False) as answer:
        assert answer.status_code == 200
        for block in answer.iter_bytes():
            received += len(block)
    assert SIZE < received < SIZE + 4096
    assert _read_peak(web_process) - before < MOST_GROWTH
