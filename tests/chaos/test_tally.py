"""The chaos suite's counting, on ledgers and logs made up so that something is wrong in each."""

from __future__ import annotations

import json

import pytest

from chaos import tally
from chaos.__main__ import summarize
from chaos.ledger import Entry, Event, parse_entries
from chaos.tally import Tally


def make_run(
    attempt: int, first: int, last: int, *, at: float = 0.0, process: int = 1, end: Event | None = None
) -> list[Entry]:
    """Return the entries of a run that made the steps `first` to `last`, one a second, from the second `at` on."""
    steps = range(first, last + 1)
    entries = [Entry("job", attempt, process, "begin", first - 1, at)]
    entries += [
        Entry("job", attempt, process, "step", step, at + 1 + index) for index, step in enumerate(steps)
    ]
    if end is not None:
        entries.append(Entry("job", attempt, process, end, last, at + 1 + len(steps)))
    return entries


def test_a_job_that_went_on_after_a_stop_is_clean() -> None:
    entries = make_run(1, 1, 4, end="stopped") + make_run(2, 5, 10, at=20, end="done")
    assert tally.list_missing_steps(entries, 10) == []
    assert tally.find_overlap(entries) is None
    assert tally.count_last_steps(entries, 10) == 1
    assert tally.count_repeated_steps(entries) == 0


@pytest.mark.parametrize(
    ("entries", "missing"),
    [
        ([], [1, 2, 3]),
        (make_run(1, 1, 2), [3]),
        (make_run(1, 1, 1) + make_run(2, 3, 3, at=9), [2]),
    ],
)
def test_steps_that_nobody_made_are_found(entries: list[Entry], missing: list[int]) -> None:
    assert tally.list_missing_steps(entries, 3) == missing


@pytest.mark.parametrize(
    "other",
    [
        make_run(2, 3, 6, at=3.5),
        make_run(1, 3, 6, at=3.5, process=2),  # one attempt, started twice
        make_run(2, 3, 3, at=1.5),  # begins and ends within the first
    ],
)
def test_two_runs_at_the_same_time_are_found(other: list[Entry]) -> None:
    first = make_run(1, 1, 6)
    apart = make_run(3, 6, 6, at=100)
    for entries in (first + other + apart, apart + other + first):
        assert tally.find_overlap(entries) is not None


def test_a_last_step_made_twice_is_found_though_the_runs_did_not_meet() -> None:
    entries = make_run(1, 1, 5, end="done") + make_run(2, 5, 5, at=60, end="done")
    assert tally.find_overlap(entries) is None
    assert tally.count_last_steps(entries, 5) == 2


def test_steps_made_again_are_counted() -> None:
    entries = make_run(1, 1, 7) + make_run(2, 6, 9, at=20) + make_run(3, 7, 10, at=40)
    assert tally.count_repeated_steps(entries) == 2 + 3


@pytest.mark.parametrize(
    ("found", "missing"),
    [
        (b"one\ntwo\nthree\n", 0),
        (b"noise one\n[tuneforge] more\ntwo\n\rbar\nthree\nend", 0),
        (b"one\nthree\n", 4),
        (b"two\none\nthree\n", 4),  # all there, but not in order
        (b"one\ntwo\nthr", 6),
        (b"", 14),
    ],
)
def test_bytes_missing_from_a_log_are_counted(found: bytes, missing: int) -> None:
    assert tally.count_missing_bytes([b"one\n", b"two\nthree\n"], found) == missing


def test_the_ledgers_lines_are_read_back() -> None:
    (entry,) = make_run(3, 1, 0)
    line = json.dumps(
        {"job": "job", "attempt": 3, "process": 1, "event": "begin", "step": 0, "at": 0.0}
    ).encode()
    assert parse_entries(line + b"\n") == [entry]


@pytest.mark.parametrize(
    "name", ["lost", "twice", "steps_repeated_after_graceful_stop", "log_bytes_missing", "points_missing"]
)
def test_one_of_anything_misses_the_bar(name: str) -> None:
    total = Tally(jobs=3, finished=3, steps_repeated=9)
    assert total.is_clean
    total.add(Tally(**{name: 1}))
    assert not total.is_clean


def test_the_last_line_says_what_was_promised() -> None:
    assert summarize(Tally(jobs=7, lost=1, steps_repeated=3), 2) == {
        "jobs": 7, "lost": 1, "twice": 0, "steps_repeated_after_graceful_stop": 0, "log_bytes_missing": 0,
        "faults": 2,
    }  # fmt: skip
