"""Files that crash their reader, or never end: whoever looks at them is told so, and nobody else notices.

The files in `crashing` were found by changing bytes of good ones until pyarrow 26 crashed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from backend import dataset_pages
from backend.dataset_pages import asking
from backend.domain.errors import Conflict
from tests.factories import Person, make_own_dataset
from tests.librarian.conftest import Librarian, WebProcess, send_file, wait_until

pytestmark = pytest.mark.timeout(300)
CRASHING = sorted((Path(__file__).parent / "crashing").iterdir())
TALKS = {"formatting": "sharegpt", "columns": {"messages": "conversations"}}


@pytest.fixture(autouse=True)
def _pages() -> Iterator[None]:
    yield
    dataset_pages.close()


def _make(owner: Person, home: Path, name: str, content: bytes) -> str:
    """Return the id of a dataset whose data file is this, as if a check had passed it."""
    info = TALKS | {"file_name": name}
    made = make_own_dataset(owner.id, name.replace(".", "-"), facts={"file_name": name, "dataset_info": info})
    (home / "users" / owner.id / "datasets" / made / name).write_bytes(content)
    return made


def test_they_do_crash_their_reader(tmp_path: Path) -> None:
    """One reads beyond its end: what lies there is another thing each time, so that it may end in an error instead."""
    codes = {file.stem: _read(file, tmp_path) for file in CRASHING}
    assert all(code != 0 for code in codes.values()), codes
    assert sum(code < 0 for code in codes.values()) >= len(codes) - 1, codes


def _read(file: Path, folder: Path) -> int:
    """Return how a process ends that reads the file as the pages do; below zero, a signal ended it."""
    shutil.copy(file, folder)
    code = "import sys; from pathlib import Path; from backend.dataset_files import read_rows\n"
    code += f"print(read_rows(Path({str(folder)!r}), {TALKS | {'file_name': file.name}!r}, 0, 20))"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, timeout=60, check=False
    ).returncode


def test_the_web_process_lives_and_says_what_to_do(
    owner: Person, web_process: WebProcess, tuneforge_home: Path
) -> None:
    made = [_make(owner, tuneforge_home, file.name, file.read_bytes()) for file in CRASHING]
    good = make_own_dataset(owner.id, "good")
    assert web_process.process is not None
    with httpx.Client(
        base_url=f"{web_process.url}/api/v1/datasets", headers=owner.headers, trust_env=False
    ) as asker:
        for dataset_id in made:
            paths = ("rows", "rows?q=a", f"rows?offset={2**53}", "rendered?template=qwen2_vl")
            answers = [asker.get(f"/{dataset_id}/{path}", timeout=30) for path in paths]
            crashed = [answer.json() for answer in answers if answer.status_code != 200]
            assert {answer["status"] for answer in crashed} == {409}
            assert {answer["code"] for answer in crashed} == {"file_unreadable"}
            assert all("upload it again" in one["detail"] and "上传" in one["detail_zh"] for one in crashed)
            assert len(asker.get(f"/{good}/rows").json()["data"]) == 1
    assert web_process.process.poll() is None


def test_a_check_of_one_fails_with_a_word(owner: Person, librarian: Librarian) -> None:
    made = send_file(owner, "a.arrow", CRASHING[-1].read_bytes())
    assert (made["status"], made["error"]["code"]) == ("failed", "crashed")
    assert librarian.process is not None
    assert librarian.process.poll() is None


def test_what_takes_too_much_memory_or_time_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 400, pa.int32()), pa.array(["x" * (16 << 20)]))
    parquet.write_table(pa.table({"instruction": text}), tmp_path / "bomb.parquet", compression="zstd")
    assert (tmp_path / "bomb.parquet").stat().st_size < 1 << 20
    _expect_refusal(tmp_path, "bomb.parquet")

    with (tmp_path / "long.jsonl").open("wb") as sparse:
        sparse.truncate(1 << 40)
    monkeypatch.setattr(asking, "PAGE_SECONDS", 1.0)
    started = time.monotonic()
    _expect_refusal(tmp_path, "long.jsonl")
    assert time.monotonic() - started < 10
    wait_until(lambda: not _find_server().children(), "the end of the reader")


def _expect_refusal(folder: Path, name: str) -> None:
    with pytest.raises(Conflict) as refused:
        dataset_pages.read_rows(folder, {"file_name": name}, 0, 200)
    assert refused.value.code == "file_unreadable"


def test_a_killed_server_of_readers_is_started_again(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"instruction": "a", "output": "b"}]))

    def read() -> list[dict[str, Any]]:
        return dataset_pages.read_rows(tmp_path, {"file_name": "a.json"}, 0, 20)[0]

    assert len(read()) == 1
    server = _find_server()
    assert not {name for name in server.environ() if "DATABASE" in name or "TUNEFORGE" in name}
    server.kill()
    server.wait(10)
    assert len(read()) == 1


def _find_server() -> psutil.Process:
    (server,) = [one for one in psutil.Process().children() if "dataset_pages" in " ".join(one.cmdline())]
    return server
