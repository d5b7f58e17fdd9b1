"""Who is served first, and that nobody starves."""

import random
from datetime import UTC, datetime, timedelta

from backend.domain.scheduler import FreeNode, QueuedJob, order_queue, plan_assignments

START = datetime(2026, 1, 1, tzinfo=UTC)


def job(name: str, *, tier: str = "flex", age: int = 0, kind: str = "cpu", count: int = 1) -> QueuedJob:
    return QueuedJob(name, tier, START - timedelta(seconds=age), kind, count)


def node(name: str, **free: int) -> FreeNode:
    return FreeNode(name, {kind: tuple(f"{name}-{kind}-{i}" for i in range(n)) for kind, n in free.items()})


def test_a_better_tier_comes_first_then_the_older_job() -> None:
    jobs = [
        job("spot", tier="spot", age=100),
        job("new", age=1),
        job("old", age=9),
        job("express", tier="express"),
    ]
    assert [queued.id for queued in order_queue(jobs)] == ["express", "old", "new", "spot"]


def test_a_job_gets_all_its_devices_on_one_node() -> None:
    plan = plan_assignments([job("a", count=2)], [node("n1", cpu=1), node("n2", cpu=2)])
    assert [(step.node_id, len(step.devices)) for step in plan] == [("n2", 2)]


def test_the_fullest_node_that_fits_is_taken() -> None:
    plan = plan_assignments([job("a")], [node("big", cpu=8), node("small", cpu=1)])
    assert plan[0].node_id == "small"


def test_a_small_job_does_not_overtake_a_large_one_that_waits() -> None:
    assert plan_assignments([job("large", count=4, age=9), job("small")], [node("n", cpu=2)]) == []


def test_another_kind_is_not_held_back() -> None:
    jobs = [job("large", kind="h200", count=4, age=9), job("small")]
    assert [step.job_id for step in plan_assignments(jobs, [node("n", cpu=1, h200=2)])] == ["small"]


def test_no_device_is_given_twice_whatever_the_queue() -> None:
    chance = random.Random(7)
    for _ in range(200):
        nodes = [node(f"n{i}", cpu=chance.randint(0, 4), h200=chance.randint(0, 8)) for i in range(3)]
        jobs = [
            job(
                f"j{i}",
                tier=chance.choice(["express", "flex", "spot"]),
                age=chance.randint(0, 99),
                kind=chance.choice(["cpu", "h200"]),
                count=chance.choice([1, 1, 2, 4]),
            )
            for i in range(12)
        ]
        plan = plan_assignments(jobs, nodes)
        given = [device for step in plan for device in step.devices]
        assert len(given) == len(set(given))
        free = {device: entry.id for entry in nodes for kind in entry.free.values() for device in kind}
        wanted = {queued.id: queued.gpu_count for queued in jobs}
        for step in plan:
            assert len(step.devices) == wanted[step.job_id]
            assert {free[device] for device in step.devices} == {step.node_id}
