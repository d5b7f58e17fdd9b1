"""What a folder is taken for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backend.dataset_files import check, recognise
from tests.agreement.corpus import build_pictures, write_rows
from tests.agreement.corpus_rows import FORMS, Form


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
@pytest.mark.parametrize("suffix", ["json", "jsonl", "parquet", "arrow"])
def test_every_form_is_recognised_and_then_all_its_rows_are_usable(
    form: Form, suffix: str, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / f"train.{suffix}").write_bytes(write_rows(form.build(), suffix) or b"")
    (folder / "images").mkdir()
    for name, data in build_pictures().items():
        (folder / name).write_bytes(data)
    found = recognise(folder)
    assert found.info is not None
    assert found.info["file_name"] == f"train.{suffix}"
    assert found.confidence >= 0.7
    report = check(folder, found.info, stage=form.stage, findings_file=tmp_path / "findings")
    assert (report.usable_count, report.stops) == (report.example_count, False)
    assert report.example_count == 6
    assert ("image" in found.modalities) == ("pictures" in form.name)


def write(folder: Path, files: dict[str, Any]) -> Path:
    for name, value in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return folder


def test_a_dataset_info_in_the_folder_is_believed(tmp_path: Path) -> None:
    entry = {"file_name": "rows.json", "columns": {"prompt": "ask", "response": "say"}}
    rows = [{"ask": "a", "say": "b", "instruction": "x", "output": "y"}]
    found = recognise(write(tmp_path, {"dataset_info.json": {"mine": entry}, "rows.json": rows}))
    assert found.info is not None
    assert found.info["columns"] == {"prompt": "ask", "response": "say"}
    assert found.confidence == 1.0


@pytest.mark.parametrize("file_name", ["../rows.json", "/etc/passwd", "none.json"])
def test_one_that_leads_out_or_nowhere_is_not(file_name: str, tmp_path: Path) -> None:
    rows = [{"instruction": "x", "output": "y"}]
    files = {"dataset_info.json": {"mine": {"file_name": file_name}}, "rows.json": rows}
    found = recognise(write(tmp_path / "in", files))
    assert found.info is not None
    assert found.info["file_name"] == "rows.json"


def test_other_names_of_columns_and_roles_are_guessed(tmp_path: Path) -> None:
    rows = [{"id": 1, "dialogue": [{"speaker": "用户", "text": "你好"}, {"speaker": "助手", "text": "您好"}]}]
    found = recognise(write(tmp_path, {"a/rows.json": rows, "readme.txt": "hello"}))
    assert found.info is not None
    assert found.info["columns"]["messages"] == "dialogue"
    assert found.info["tags"]["user_tag"] == "用户"
    assert check(tmp_path, found.info, findings_file=tmp_path / "f").usable_count == 1


def test_what_holds_nothing_to_learn_from_is_said_so(tmp_path: Path) -> None:
    found = recognise(write(tmp_path, {"rows.json": [{"id": 1, "score": 2}], "images/a.png": "x"}))
    assert found.info is None
    assert found.candidates == ["rows.json"]
    assert found.detail
    assert found.detail_zh
