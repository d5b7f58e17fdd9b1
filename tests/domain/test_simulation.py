"""The simulator itself: a small overloaded cluster in which every job runs once, whole, and on GPUs that exist."""

from __future__ import annotations

from statistics import fmean

import pytest

from benchmarks.simulation.fair_reference import find_fair_ends
from benchmarks.simulation.outcome import Outcome, find_percentile, measure_jain
from benchmarks.simulation.platform_rule import RESTART_SECONDS, simulate_platform
from benchmarks.simulation.simple_rules import FirstInFirstOut, ShortestFirst, simulate_rule
from benchmarks.simulation.trace import TIER_MIX, TraceJob, build_trace

NODES, PER_NODE = 8, 8


@pytest.fixture(scope="module")
def trace() -> list[TraceJob]:
    """A week or so of an overloaded small cluster."""
    return build_trace(2500, NODES * PER_NODE, load=1.2, seed=3)


@pytest.fixture(scope="module")
def outcomes(trace: list[TraceJob]) -> dict[str, Outcome]:
    """What comes of it under each rule."""
    found = [
        simulate_rule(FirstInFirstOut(), trace, NODES, PER_NODE),
        simulate_rule(ShortestFirst(), trace, NODES, PER_NODE),
        simulate_platform(trace, NODES, PER_NODE),
    ]
    return {outcome.name: outcome for outcome in found}


def test_the_trace_is_shaped_as_it_says(trace: list[TraceJob]) -> None:
    assert [job.submitted for job in trace] == sorted(job.submitted for job in trace)
    work = sum(job.gpus * job.seconds for job in trace)
    assert work / (NODES * PER_NODE * trace[-1].submitted) == pytest.approx(1.2, rel=0.01)
    for tier, part in TIER_MIX.items():
        assert sum(job.tier == tier for job in trace) / len(trace) == pytest.approx(part, abs=0.03)
    users = sorted((sum(job.user == user for job in trace) for user in range(200)), reverse=True)
    assert sum(users[:10]) / len(trace) == pytest.approx(0.77, abs=0.03)
    assert build_trace(50, 64, 1.2, 3) == build_trace(50, 64, 1.2, 3)


def test_every_job_runs_once_and_whole(trace: list[TraceJob], outcomes: dict[str, Outcome]) -> None:
    for outcome in outcomes.values():
        for job in trace:
            ran = outcome.ended[job.number] - job.submitted - outcome.waited[job.number]
            assert outcome.waited[job.number] >= 0
            assert ran >= job.seconds - 0.001
            if not (outcome.preemptions and job.tier == "spot"):
                assert ran == pytest.approx(job.seconds, abs=0.001)


def test_no_more_gpus_work_than_there_are(outcomes: dict[str, Outcome]) -> None:
    for outcome in outcomes.values():
        level = 0
        for _, change in sorted(outcome.work):
            level += change
            assert 0 <= level <= NODES * PER_NODE
        assert level == 0


def test_what_is_lost_to_preemption_is_what_stops_and_starts_cost(
    trace: list[TraceJob], outcomes: dict[str, Outcome]
) -> None:
    ours = outcomes["Tuneforge"]
    assert ours.preemptions > 0
    worked = sum(change * -moment for moment, change in ours.work)
    wanted = sum(job.gpus * job.seconds for job in trace)
    assert worked > wanted
    assert worked - wanted <= ours.preemptions * 32 * (RESTART_SECONDS + 30)


def test_express_hardly_waits_and_all_together_wait_less_than_in_a_line(
    trace: list[TraceJob], outcomes: dict[str, Outcome]
) -> None:
    ours, line = outcomes["Tuneforge"], outcomes["FIFO"]

    def find_p95(outcome: Outcome) -> float:
        return find_percentile([outcome.waited[job.number] for job in trace if job.tier == "express"], 0.95)

    assert find_p95(ours) * 10 <= find_p95(line)
    assert fmean(ours.waited) <= fmean(line.waited)
    assert measure_jain(trace, ours) > measure_jain(trace, line)


def test_the_fair_reference_gives_a_lone_job_just_its_time(trace: list[TraceJob]) -> None:
    alone = [TraceJob(0, 0, "flex", 4, 0.0, 600.0, 600.0), TraceJob(1, 1, "flex", 4, 6000.0, 600.0, 600.0)]
    assert find_fair_ends(alone, [64.0] * 200, 60.0) == [600.0, 6600.0]
    # Two users who want all of eight GPUs get four each; a better tier goes first.
    both = [TraceJob(number, number, "flex", 8, 0.0, 600.0, 600.0) for number in range(2)]
    assert find_fair_ends(both, [8.0] * 200, 60.0) == [1200.0, 1200.0]
    both[1].tier = "express"
    assert find_fair_ends(both, [8.0] * 200, 60.0) == [1200.0, 600.0]
