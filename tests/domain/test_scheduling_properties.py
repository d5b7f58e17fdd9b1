"""What holds for every plan, whatever the queue: checked by counting devices anew, not by the scheduler's means."""

from __future__ import annotations

from collections import Counter
from math import inf

from hypothesis import HealthCheck, given, settings

from backend.domain.scheduling.cluster import split_gang
from backend.domain.scheduling.plan import estimate_remaining_seconds
from backend.domain.scheduling.preemption import STOP_SECONDS
from backend.domain.scheduling.values import Plan, Reservation
from backend.domain.scheduling.waiting import REASONS, explain_waiting
from tests.domain.scheduling_cases import NOW, Case, cases

many = settings(
    max_examples=400,
    deadline=None,
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
        assert asked.max_nodes is None or len(sizes) <= asked.max_nodes
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


def count_left(
    case: Case, decided: Plan, node_id: str, kind: str, *, short: float = STOP_SECONDS, spared: str = ""
) -> int:
    """Count a node's devices at the moment when all that was told to stop has stopped, but for the job `spared`.

    Jobs that start now have ended by then if they are expected to take at most `short` seconds.
    """
    (place,) = [one for one in case.nodes if one.id == node_id]
    wanted = {one.id: one for one in case.queued}
    stopped = {one.job_id for one in decided.preemptions} - {spared}
    left = {device for device in place.devices[kind] if device not in place.unusable}
    for busy in case.running:
        if busy.id not in stopped and estimate_remaining_seconds(busy, NOW) > STOP_SECONDS:
            left -= {device for share in busy.shares for device in share.devices}
    for given_now in decided.assignments:
        seconds = wanted[given_now.job_id].expected_seconds
        if seconds is None or seconds > short:
            left -= {device for share in given_now.shares for device in share.devices}
    return len(left)


def list_kept(case: Case, decided: Plan) -> list[Reservation]:
    """Return the reservations that hold their room at the moment when all that was told to stop has stopped."""
    seconds = {one.id: inf if one.expected_seconds is None else one.expected_seconds for one in case.queued}
    return [
        one
        for one in decided.reservations
        if one.starts_in_seconds <= STOP_SECONDS < one.starts_in_seconds + seconds[one.job_id]
    ]


@many
@given(cases())
def test_room_that_is_kept_is_there_when_all_have_stopped(case: Case) -> None:
    decided, kinds = case.plan(), {one.id: one.gpu_kind for one in case.queued}
    kept: Counter[tuple[str, str]] = Counter()
    for one in list_kept(case, decided):
        for node_id in one.node_ids:
            kept[node_id, kinds[one.job_id]] += one.gpus_per_node
    for (node_id, kind), count in kept.items():
        assert count <= count_left(case, decided, node_id, kind)


@many
@given(cases())
def test_no_preemption_is_in_vain(case: Case) -> None:
    """Were any one of the stopped jobs left alone, the job they make room for would not have its GPUs.

    Others' room counts as held however short they run: jobs are served in turn, and who came before knew nothing of it.
    """
    decided, busy = case.plan(), {one.id: one for one in case.running}
    by_job = {one.job_id: one for one in decided.reservations}
    for one in decided.preemptions:
        room, stopped = by_job[one.for_job_id], busy[one.job_id]
        others = [
            kept
            for kept in decided.reservations
            if kept is not room and kept.starts_in_seconds <= STOP_SECONDS
        ]
        shared = set(room.node_ids) & {share.node_id for share in stopped.shares}
        assert any(
            count_left(case, decided, node_id, stopped.gpu_kind, short=-1, spared=one.job_id)
            - sum(kept.gpus_per_node for kept in others if node_id in kept.node_ids)
            < room.gpus_per_node
            for node_id in shared
        )
