"""Pages of rows: the same rows wherever a page begins, with their lines, in every kind of file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backend.dataset_files import check, read_rows, row_index
from tests.agreement.corpus import write_rows
from tests.agreement.corpus_rows import make_alpaca

INFO = {"columns": {"prompt": "instruction", "query": "input", "response": "output"}}


@pytest.fixture(params=["json", "jsonl", "parquet", "arrow"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, object]]:
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [make_alpaca(number) | {"input": "数据" * (number % 50)} for number in range(5000)]
    (folder / f"rows.{request.param}").write_bytes(write_rows(rows, request.param) or b"")
    return folder, INFO | {"file_name": f"rows.{request.param}"}


@pytest.mark.parametrize("offset", [0, 1, 999, 1000, 1001, 2500, 4990])
def test_a_page_begins_where_it_should(dataset: tuple[Path, dict[str, object]], offset: int) -> None:
    folder, info = dataset
    page = read_rows(folder, info, offset, 20)
    assert page.total == 5000
    assert [row["index"] for row in page.rows] == list(range(offset, min(offset + 20, 5000)))
    assert page.rows[0]["messages"][-1]["content"] == f"answer {offset}"
    first = {"json": 2}.get(str(info["file_name"]).rpartition(".")[2], 1)
    assert page.rows[0]["line"] == offset + first


def test_the_index_is_kept_beside_the_data(dataset: tuple[Path, dict[str, object]]) -> None:
    folder, info = dataset
    read_rows(folder, info, 0, 1)
    row_index._load_index.cache_clear()
    kept = next((folder / ".rows").glob("*.json"))
    assert json.loads(kept.read_text())["count"] == 5000
    kept.write_text("broken")
    assert read_rows(folder, info, 4999, 5).total == 5000


def test_rows_are_searched(dataset: tuple[Path, dict[str, object]]) -> None:
    folder, info = dataset
    page = read_rows(folder, info, 0, 5, query="ANSWER 4999")
    assert [row["index"] for row in page.rows] == [4999]
    assert page.total == 1


def test_rows_with_a_finding(tmp_path: Path) -> None:
    rows = [make_alpaca(n) | ({"output": None} if n % 7 == 3 else {}) for n in range(100)]
    (tmp_path / "rows.jsonl").write_bytes(write_rows(rows, "jsonl") or b"")
    info = INFO | {"file_name": "rows.jsonl"}
    log = tmp_path / "findings.jsonl"
    check(tmp_path, info, findings_file=log)
    page = read_rows(tmp_path, info, 1, 3, finding="answer_missing", findings_file=log)
    assert [row["index"] for row in page.rows] == [10, 17, 24]
    assert page.total == 14
    assert page.rows[0]["findings"] == ["answer_missing"]
    assert read_rows(tmp_path, info, 3, 1, findings_file=log).rows[0]["findings"] == ["answer_missing"]


@pytest.mark.parametrize("offset", [0, 1500, 39_980])
def test_findings_of_a_page_are_found_in_a_long_list(tmp_path: Path, offset: int) -> None:
    rows = [make_alpaca(n) | {"output": "" if n % 2 else "yes"} for n in range(40_000)]
    (tmp_path / "rows.jsonl").write_bytes(write_rows(rows, "jsonl") or b"")
    info = INFO | {"file_name": "rows.jsonl"}
    check(tmp_path, info, findings_file=tmp_path / "findings.jsonl")
    page = read_rows(tmp_path, info, offset, 20)
    assert [row["findings"] for row in page.rows] == [[], ["answer_empty"]] * 10


def test_what_cannot_be_read_is_an_empty_page(tmp_path: Path) -> None:
    assert read_rows(tmp_path, {"file_name": "../x.json"}, 0, 10).rows == []
    assert read_rows(tmp_path, {}, 0, 10).total == 0
