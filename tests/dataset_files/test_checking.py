"""Statistics that the estimator reads, and what a check costs."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

from backend.dataset_files import check, recognise, write_cleaned
from backend.domain.datasets.findings import FINDINGS
from backend.domain.datasets.statistics import Lengths, find_language
from backend.domain.estimate.dataset_facts import DatasetFacts
from tests.agreement.corpus import build_pictures, write_rows
from tests.agreement.corpus_rows import FORMS, make_sharegpt

_PICTURES = next(form for form in FORMS if form.name == "pictures")


def test_the_estimator_reads_the_facts(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name, data in build_pictures().items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "rows.json").write_bytes(write_rows(_PICTURES.build("two of each"), "json") or b"")
    info = _PICTURES.info | {"file_name": "rows.json"}
    report = check(tmp_path, info, findings_file=tmp_path / "findings")
    facts = DatasetFacts.parse(report.example_count, report.facts)
    assert facts.known
    assert facts.examples == 6
    assert facts.pictures == 7 / 6 or abs(facts.pictures - 7 / 6) < 0.01
    assert (facts.picture_width, facts.picture_height) == (64, 48)
    assert 0 < facts.label_tokens < facts.mean_tokens <= facts.max_tokens
    assert report.facts["modalities"] == ["text", "image"]


def test_lengths_are_exact() -> None:
    lengths = Lengths()
    for length in range(1, 101):
        lengths.add(length, 1, 0)
    facts = lengths.to_dict(estimated=False)
    assert (facts["p50"], facts["p95"], facts["max"], facts["mean"]) == (50, 95, 100, 50.5)
    assert lengths.measure_cut(90) == (10, 55)
    assert sum(bar["count"] for bar in facts["histogram"]) == 100


def test_rows_that_would_be_cut_are_told_by_how_much(tmp_path: Path) -> None:
    rows = [
        make_sharegpt(0),
        {"conversations": [{"from": "human", "value": "x" * 8000}, {"from": "gpt", "value": "y"}]},
    ]
    (tmp_path / "rows.jsonl").write_bytes(write_rows(rows, "jsonl") or b"")
    info = recognise(tmp_path).info or {}
    report = check(tmp_path, info, cutoff_len=1024, findings_file=tmp_path / "findings")
    (found,) = report.findings
    assert (found["code"], found["count"], found["examples"][0]["row"]) == ("row_long", 1, 1)
    assert "more than cutoff_len 1024" in found["examples"][0]["detail"]
    assert report.usable_count == 2


def test_languages_are_told_apart() -> None:
    texts = {
        "zh": "图中有一辆红色的车",
        "en": "a red car",
        "ja": "赤い車があります",
        "ko": "빨간 차",
        "ru": "красная машина",
    }
    assert {language: find_language(text) for language, text in texts.items()} == {
        name: name for name in texts
    }
    assert find_language("用 Python 写一个函数") == "zh"


def test_findings_say_in_two_languages_what_to_do() -> None:
    for code, kind in FINDINGS.items():
        assert all((kind.title, kind.title_zh, kind.hint, kind.hint_zh)), code
        assert kind.severity in ("error", "warning", "info")


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    def measure(count: int) -> int:
        folder = tmp_path / str(count)
        folder.mkdir()
        with (folder / "rows.json").open("w") as file:
            file.write("[")
            for number in range(count):
                row = make_sharegpt(number)
                row["conversations"][0]["value"] += "x" * 2000
                file.write((",\n" if number else "") + json.dumps(row))
            file.write("]")
        info = recognise(folder).info or {}
        tracemalloc.start()
        report = check(folder, info, findings_file=tmp_path / "findings")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert report.usable_count == count
        return peak

    # 18 MB more data; what grows is the hashes of rows, some 100 bytes each.
    assert measure(12_000) - measure(3_000) < 3_000_000


def test_a_cleaned_copy_brings_its_media(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "images").mkdir(parents=True)
    for name, data in build_pictures().items():
        (source / name).write_bytes(data)
    (source / "rows.json").write_bytes(write_rows(_PICTURES.build("missing"), "json") or b"")
    info = _PICTURES.info | {"file_name": "rows.json"}
    target = tmp_path / "cleaned"
    assert write_cleaned(source, info, target) == 5
    found = recognise(target)
    assert found.info is not None
    report = check(target, found.info, findings_file=tmp_path / "findings")
    assert (report.usable_count, report.finding_counts["error"]) == (5, 0)
    assert sorted(path.name for path in (target / "images").iterdir()) == [
        f"{n}.png" for n in (0, 1, 2, 4, 5)
    ]
