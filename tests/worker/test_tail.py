"""Following a run's files: appended, cut short, half-written, hostile."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backend.domain.protocol import Phase
from worker.tail import LineTail, LogTail, MetricsTail, collapse_line, read_log_end

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def append(path: Path, *lines: Any) -> None:
    """Append lines of JSON, or text and bytes as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        for line in lines:
            if isinstance(line, bytes):
                file.write(line)
            else:
                file.write((line if isinstance(line, str) else json.dumps(line)).encode() + b"\n")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where LLaMA-Factory writes its progress."""
    return tmp_path / "output" / "trainer_log.jsonl"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Where our callback writes its notes."""
    return tmp_path / "notes.jsonl"


def test_a_line_that_is_being_written_waits(tmp_path: Path) -> None:
    path = tmp_path / "file"
    tail = LineTail(path)
    assert list(tail.read()) == []
    append(path, b"one\ntw")
    assert list(tail.read()) == [b"one"]
    assert list(tail.read()) == []
    append(path, b"o\n\nthree\n")
    assert list(tail.read()) == [b"two", b"", b"three"]


def test_a_file_cut_short_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "file"
    tail = LineTail(path)
    append(path, b"one\ntwo\nthree\n")
    assert len(list(tail.read())) == 3
    path.write_bytes(b"four\n")
    assert list(tail.read()) == [b"four"]


def test_a_line_without_end_does_not_hold_up_what_follows(tmp_path: Path) -> None:
    path = tmp_path / "file"
    tail = LineTail(path)
    append(path, b"x" * (3 << 20), b"\n", {"good": 1})
    assert list(tail.read_objects()) == [{"good": 1}]


def test_points_get_their_words_and_times_from_both_files(tmp_path: Path, log: Path, notes: Path) -> None:
    tail = MetricsTail(tmp_path)
    append(notes, {"event": "train_begin", "step": 0, "total": 4, "at": NOW.timestamp() - 9})
    append(
        notes,
        {"event": "log", "step": 2, "grad_norm": 0.5, "tokens_per_second": 700, "at": NOW.timestamp() - 5},
    )
    append(
        log, {"current_steps": 2, "total_steps": 4, "loss": 1.5, "lr": 0.1, "epoch": 0.5, "throughput": 9e9}
    )
    append(log, {"current_steps": 2, "total_steps": 4, "eval_loss": 1.25, "epoch": 0.5})
    append(log, {"current_steps": 4, "total_steps": 4, "epoch": 1.0, "percentage": 100})
    noted, logged, evaluated = tail.poll(NOW)
    assert (noted.step, noted.grad_norm, noted.tokens_per_second, noted.loss) == (2, 0.5, 700, None)
    assert (logged.loss, logged.learning_rate, logged.tokens_per_second) == (1.5, 0.1, None)
    assert (NOW - logged.at).total_seconds() == pytest.approx(5)
    assert evaluated.eval_loss == 1.25
    assert tail.total_steps == 4
    assert tail.poll(NOW) == []


@pytest.mark.parametrize(
    "line",
    [
        "not json", "[]", "null", "{}", '{"current_steps": -1, "loss": 1}', '{"current_steps": "3", "loss": 1}',
        '{"current_steps": true, "loss": 1}', '{"current_steps": 3}', '{"current_steps": 3, "loss": NaN}',
        '{"current_steps": 3, "loss": Infinity}', '{"current_steps": 3, "loss": [1]}',
        '{"current_steps": 3, "loss": 1e999}', b"\xff\xfe\x00\n",
    ],
)  # fmt: skip
def test_lines_that_make_no_point_are_passed_over(tmp_path: Path, log: Path, line: str | bytes) -> None:
    append(log, line, {"current_steps": 5, "total_steps": 9, "loss": 2.0})
    assert [point.step for point in MetricsTail(tmp_path).poll(NOW)] == [5]


def test_the_pace_counts_from_where_a_resume_began(tmp_path: Path, notes: Path) -> None:
    """100 of 200 steps were made before; 2 s a step now: 180 s are left after ten more."""
    tail = MetricsTail(tmp_path)
    append(notes, {"event": "train_begin", "step": 100, "total": 200, "at": 1000.0})
    for step in range(101, 111):
        append(notes, {"step": step, "seconds": 1.5, "memory": step, "at": 1000.0 + 2 * (step - 100)})
    tail.poll(NOW)
    assert (tail.step, tail.steps_made) == (110, 10)
    assert tail.estimate_eta() == pytest.approx(180)
    assert tail.step_seconds_median == pytest.approx(1.5)
    assert tail.peak_memory_bytes == 110


def test_without_notes_the_pace_is_that_of_the_log(tmp_path: Path, log: Path) -> None:
    tail = MetricsTail(tmp_path)
    assert tail.estimate_eta() is None
    append(log, {"current_steps": 1, "total_steps": 11, "loss": 1})
    tail.poll(datetime.fromtimestamp(100, UTC))
    append(log, {"current_steps": 6, "total_steps": 11, "loss": 1})
    tail.poll(datetime.fromtimestamp(110, UTC))
    assert tail.estimate_eta() == pytest.approx(10)


def test_phases_are_told_by_the_log_in_order(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    tail = LogTail(path)
    append(
        path,
        "[INFO] >> Loading dataset rows.json...",
        b"\rRunning tokenizer on dataset:   0%|   | 0/8 [00:00<",
    )
    tail.poll()
    assert set(tail.phases) == {Phase.TOKENIZING}
    append(path, b"?, ? examples/s]\n[INFO] >> loading weights file model/model.safetensors\n")
    append(
        path,
        "[INFO|trainer.py:1467] >> ***** Running training *****",
        "[INFO] >> Saving model checkpoint to output",
    )
    tail.poll()
    assert [phase for phase in tail.phases if phase is not Phase.TOKENIZING] == [
        Phase.LOADING, Phase.TRAINING, Phase.SAVING
    ]  # fmt: skip
    assert tail.size == path.stat().st_size
    assert tail.progress is None, "a training bar is no prediction's"


def test_a_predictions_bar_is_its_progress(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    tail = LogTail(path)
    append(
        path,
        b"  5%|x | 1/20 [00:01<00:02]\n***** Running Prediction *****\n\r  8%|x   | 1/12 [00:01<00:02, 1it/s]",
    )
    append(path, b"\r 25%|xx  | 3/12 [00:02<00:0")
    tail.poll()
    assert tail.progress == (1, 12) or tail.progress == (3, 12)
    append(path, b"1, 1it/s]\r 50%|xxx | 6/12 [00:03<00:01]\n")
    tail.poll()
    assert tail.progress == (6, 12)


def test_of_a_flood_only_the_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    tail = LogTail(path)
    append(path, b"x" * (5 << 20), b"\n***** Running training *****\n")
    tail.poll()
    assert tail.phases == [Phase.TRAINING]
    assert tail.size == path.stat().st_size


def test_the_end_of_a_log_is_readable(tmp_path: Path) -> None:
    path = tmp_path / "job.log"
    bar = "".join(f"\r {n}%|██| {n}/100 [00:01<00:02]" for n in range(100))
    append(path, *(f"line {n}" for n in range(100)), bar, b"\n\x1b[31mValueError: \xff\x00 no\x1b[0m\n\n")
    lines = read_log_end(path, lines=3)
    assert lines == ["line 99", " 99%|██| 99/100 [00:01<00:02]", "ValueError: � no"]
    assert read_log_end(tmp_path / "absent") == []
    assert len(collapse_line("y" * 10_000)) == 500
