"""Pictures that lie in the rows themselves: recognised, shown one by one, and never held all at once."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from PIL import Image

from backend.dataset_files import check, read_embedded, read_rows, recognise, write_cleaned
from tests.agreement.corpus import Case, build_pictures
from tests.agreement.corpus_embedded import list_embedded_cases

_PICTURES = build_pictures()
_CASES = {case[0]: Case(*case) for case in list_embedded_cases(_PICTURES)}
_GOOD = [
    name
    for name, case in _CASES.items()
    if case.code is None and "/" not in name.removeprefix("embedded/") and "paths as" not in name
]


@pytest.mark.parametrize("name", _GOOD)
def test_they_are_recognised_checked_and_shown(name: str, tmp_path: Path) -> None:
    case = _CASES[name]
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    file_name = case.info["file_name"]
    (folder / file_name).write_bytes(case.files[file_name])
    info = recognise(folder).info
    assert info is not None
    report = check(folder, info, findings_file=tmp_path / "findings")
    assert report.usable_count == report.example_count > 1, report.findings
    assert "image" in report.facts["modalities"]
    shown = read_rows(folder, info, 1, 1).rows[0]["images"]
    assert shown == [{"row": 1, "kind": "images", "place": 0}]
    found = read_embedded(folder, info, 1, "images", 0)
    assert found == ("image/png", _PICTURES["images/0.png"])
    assert read_embedded(folder, info, 1, "images", 1) is None
    assert read_embedded(folder, info, 1, "videos", 0) is None
    assert read_embedded(folder, info, 99, "images", 0) is None


def test_a_video_of_pictures_is_shown_as_pictures_and_cleaned_into_files(tmp_path: Path) -> None:
    case = _CASES["embedded/frames.parquet"]
    folder = tmp_path / "data"
    folder.mkdir()
    case.write(folder)
    row = read_rows(folder, case.info, 0, 1).rows[0]
    assert row["images"] == [{"row": 0, "kind": "videos", "place": place} for place in (0, 1)]
    assert row["videos"] == []
    assert write_cleaned(folder, case.info, tmp_path / "clean") == 1
    assert len(list((tmp_path / "clean").glob("embedded-videos/*.png"))) == 2


def test_bytes_are_not_searched_and_not_printed(tmp_path: Path) -> None:
    table = pa.table({"instruction": ["a"], "output": ["b"], "image": [b"needle"]})
    parquet.write_table(table, tmp_path / "data.parquet")
    info = {"file_name": "data.parquet", "formatting": "sharegpt", "columns": {"messages": "none"}}
    assert read_rows(tmp_path, info, 0, 5, "needle").total == 0
    assert "<6 bytes>" in read_rows(tmp_path, info, 0, 5).rows[0]["raw"]


def test_memory_does_not_grow_with_the_pictures(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.effect_noise((1400, 1400), 90).save(file, "PNG")
    picture = file.getvalue()
    assert len(picture) > 1 << 20
    rows = [{"instruction": "<image>what", "output": "a", "image": {"bytes": picture, "path": None}}] * 40
    table = pa.Table.from_pylist(rows)
    with parquet.ParquetWriter(tmp_path / "data.parquet", table.schema, use_dictionary=False) as writer:
        for _ in range(25):
            writer.write_table(table)
    assert _count_with_little_memory(tmp_path, len(picture) * 1000 // 3) == 1000


def _count_with_little_memory(folder: Path, most_bytes: int) -> int:
    """Return how many rows a check finds usable that gets no more memory than this; a file's own pages do not count."""
    info: dict[str, Any] = {
        "file_name": "data.parquet",
        "columns": {"prompt": "instruction", "response": "output", "images": "image"},
    }
    code = (
        "import resource; from pathlib import Path; from backend.dataset_files import check\n"
        f"resource.setrlimit(resource.RLIMIT_DATA, ({most_bytes}, {most_bytes}))\n"
        f"report = check(Path({str(folder)!r}), {info!r}, findings_file=Path({str(folder / 'found')!r}))\n"
        "print(report.usable_count)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-1000:]
    return int(done.stdout)
