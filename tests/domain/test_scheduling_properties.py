"""What holds for every plan, whatever the queue: checked by counting devices anew, not by the scheduler's means."""

from __future__ import annotations

from collections import Counter
from math import inf

from hypothesis import HealthCheck, given, settings

from backend.domain.scheduling.cluster import split_gang
from backend.domain.scheduling.waiting import REASONS, explain_waiting
from tests.domain.scheduling_cases import Case, cases

many = settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def list_free(case: Case) -> dict[str, set[str]]:
    """Return the devices that may be given, by node and kind, as the node's id and kind joined."""
    busy = {device for one in case.running for share in one.shares for device in share.devices}
    return {
        (place.id, kind): {device for device in devices if device not in busy | place.unusable}
        for place in case.nodes
        if place.is_open
        for kind, devices in place.devices.items()
    }


@many
@given(cases())
def test_no_device_is_given_twice_or_to_the_wrong_job(case: Case) -> None:
    free, wanted = list_free(case), {one.id: one for one in case.queued}
    given_away = Counter(
        device for one in case.plan().assignments for share in one.shares for device in share.devices
    )
    assert set(given_away.values()) <= {1}
    for one in case.plan().assignments:
        for share in one.shares:
            assert set(share.devices) <= free[share.node_id, wanted[one.job_id].gpu_kind]


@many
@given(cases())
def test_a_gang_starts_whole_in_equal_shares_and_on_one_node_where_one_could_hold_it(case: Case) -> None:
    wanted = {one.id: one for one in case.queued}
    for one in case.plan().assignments:
        asked = wanted[one.job_id]
        largest = max(len(place.devices.get(asked.gpu_kind, ())) for place in case.nodes)
        sizes = [len(share.devices) for share in one.shares]
        assert sum(sizes) == asked.gpu_count
        assert len(set(sizes)) == 1
        assert len({share.node_id for share in one.shares}) == len(sizes) <= case.rules.max_nodes
        if asked.gpu_count <= largest:
            assert len(sizes) == 1


@many
@given(cases())
def test_every_job_either_starts_or_is_told_why_not(case: Case) -> None:
    decided = case.plan()
    starting = [one.job_id for one in decided.assignments]
    assert sorted([*starting, *decided.waiting]) == sorted(one.id for one in case.queued)
    for kind in {one.gpu_kind for one in case.queued}:
        positions = [
            decided.waiting[one.id].position
            for one in case.queued
            if one.gpu_kind == kind and one.id in decided.waiting
        ]
        assert sorted(positions) == list(range(1, len(positions) + 1))
    for told in decided.waiting.values():
        assert explain_waiting(told, "zh")
        assert explain_waiting(told, "en")
        assert told.reason in REASONS
        assert told.starts_in_seconds is None or 0 <= told.starts_in_seconds < inf


@many
@given(cases())
def test_the_same_situation_gives_the_same_plan_in_whatever_order_it_is_told(case: Case) -> None:
    turned = Case(case.queued[::-1], case.running[::-1], case.nodes[::-1], case.rules)
    assert case.plan() == case.plan() == turned.plan()


@many
@given(cases())
def test_quotas_hold(case: Case) -> None:
    wanted = {one.id: one for one in case.queued}
    used: Counter[tuple[str, str]] = Counter()
    for one in case.running:
        used[one.user, one.tier] += one.gpu_count
    before = dict(used)
    for one in case.plan().assignments:
        asked = wanted[one.job_id]
        used[asked.user, asked.tier] += asked.gpu_count
    for (user, tier), count in used.items():
        limit = case.rules.quotas.get(tier, inf)
        assert count <= max(limit, before.get((user, tier), 0))


@many
@given(cases())
def test_nobody_waits_beside_room_that_is_kept_for_nobody(case: Case) -> None:
    """Work-conserving: a job that waits without an obstacle fits on no nodes that are free of reservations."""
    decided, free = case.plan(), list_free(case)
    for one in decided.assignments:
        for share in one.shares:
            for devices in free.values():
                devices.difference_update(share.devices)
    kept = {node_id for one in decided.reservations for node_id in one.node_ids}
    for asked in case.queued:
        told = decided.waiting.get(asked.id)
        if told is None or told.reason not in ("in_line", "next_up", "making_room"):
            continue
        largest = max(len(place.devices.get(asked.gpu_kind, ())) for place in case.nodes)
        gang = split_gang(asked.gpu_count, largest)
        fitting = [
            node_id
            for (node_id, kind), devices in free.items()
            if kind == asked.gpu_kind and node_id not in kept and len(devices) >= gang.per_node
        ]
        assert len(fitting) < gang.nodes


@many
@given(cases())
def test_only_spot_makes_room_and_only_for_express_that_then_starts(case: Case) -> None:
    decided = case.plan()
    wanted, busy = {one.id: one for one in case.queued}, {one.id: one for one in case.running}
    assert len({one.job_id for one in decided.preemptions}) == len(decided.preemptions)
    soon = {one.job_id for one in decided.reservations if one.starts_in_seconds <= 60}
    for one in decided.preemptions:
        assert busy[one.job_id].tier == "spot"
        assert not busy[one.job_id].is_stopping
        assert wanted[one.for_job_id].tier == "express"
        assert one.for_job_id in soon


@many
@given(cases())
def test_no_preemption_is_in_vain(case: Case) -> None:
    """Were any one of the stopped jobs left alone, the job they make room for would not have its GPUs."""
    decided, busy = case.plan(), {one.id: one for one in case.running}
    stopped = {one.job_id for one in decided.preemptions}
    by_job = {one.job_id: one for one in decided.reservations}
    taken: Counter[str] = Counter()
    for one in decided.reservations:
        if one.starts_in_seconds <= 60:
            for node_id in one.node_ids:
                taken[node_id] += one.gpus_per_node
    for one in decided.preemptions:
        nodes = set(by_job[one.for_job_id].node_ids)
        assert nodes & {share.node_id for share in busy[one.job_id].shares}
    assert stopped <= set(busy)
    assert not taken or max(taken.values()) <= 8
