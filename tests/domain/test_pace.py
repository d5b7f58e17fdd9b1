"""How often supervisors report: a rule of the number of running jobs, and pauses that drift apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.domain.pace import (
    LONGEST_SECONDS,
    REPORTS_PER_SECOND,
    SHORTEST_SECONDS,
    choose_report_seconds,
    spread_pause,
)
from backend.domain.protocol import LEASE_SECONDS
from backend.settings import Settings

jobs = st.integers(0, 1_000_000)


@pytest.mark.parametrize(
    ("running", "seconds"), [(0, 1.0), (1, 1.0), (100, 1.0), (300, 3.0), (1000, 10.0), (3000, 10.0)]
)
def test_the_interval_stretches_from_one_second_to_ten(running: int, seconds: float) -> None:
    assert choose_report_seconds(running) == seconds


@given(jobs, jobs)
def test_more_jobs_never_report_more_often(one: int, other: int) -> None:
    fewer, more = sorted((one, other))
    assert choose_report_seconds(fewer) <= choose_report_seconds(more)


@given(jobs)
def test_the_interval_keeps_its_bounds_and_three_of_it_fit_into_the_lease_and_the_shortest_fence(
    running: int,
) -> None:
    interval = choose_report_seconds(running)
    assert SHORTEST_SECONDS <= interval <= LONGEST_SECONDS
    assert 3 * interval <= LEASE_SECONDS
    [shortest_fence] = [rule.ge for rule in Settings.model_fields["fence_seconds"].metadata]
    assert 3 * interval <= shortest_fence


@given(st.integers(1, 1000))
def test_until_the_interval_is_longest_all_together_report_at_one_rate(running: int) -> None:
    assert running / choose_report_seconds(running) <= REPORTS_PER_SECOND * 1.000001


@given(st.floats(0.1, 60), st.floats(0, 1))
def test_a_pause_is_never_longer_than_told_and_at_most_a_fifth_shorter(seconds: float, chance: float) -> None:
    assert 0.799999 * seconds <= spread_pause(seconds, chance) <= seconds * 1.000001


def test_supervisors_that_came_at_once_drift_apart() -> None:
    pauses = {spread_pause(10.0, chance / 100) for chance in range(101)}
    assert (min(pauses), max(pauses), len(pauses)) == (8.0, 10.0, 101)
