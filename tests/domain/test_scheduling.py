"""The rule of the scheduler, case by case: order, gangs, reservations, backfill, preemption, what people are told."""

from __future__ import annotations

import pytest

from backend.domain.scheduling.cluster import Gang, split_gang
from backend.domain.scheduling.fair_share import HALF_LIFE_SECONDS, decay, sum_decayed
from backend.domain.scheduling.values import Account, Node, Rules
from backend.domain.scheduling.waiting import REASONS, explain_waiting
from tests.domain.scheduling_cases import HOUR, job, node, plan, running, started

# -- order -----------------------------------------------------------------------------------------------------


def test_a_better_tier_comes_first_then_the_older_job() -> None:
    queued = [
        job("spot", tier="spot", age=100),
        job("new", age=1),
        job("old", age=9),
        job("express", tier="express"),
    ]
    full = [running("r", {"n": range(8)}, tier="express")]
    told = plan(queued, [node("n")], full).waiting
    assert sorted(told, key=lambda name: told[name].position) == ["express", "old", "new", "spot"]


def test_users_take_turns_whoever_queued_more_and_earlier() -> None:
    queued = [job(f"a{i}", user="ann", age=100) for i in range(6)] + [
        job(f"b{i}", user="bob") for i in range(2)
    ]
    assert sorted(started(plan(queued, [node("n", 4)]))) == ["a0", "a1", "b0", "b1"]


def test_shares_count_gpus_not_jobs() -> None:
    queued = [job("a0", 4, user="ann", age=9), job("a1", 4, user="ann", age=8)]
    queued += [job(f"b{i}", 1, user="bob") for i in range(4)]
    assert sorted(started(plan(queued, [node("n")]))) == ["a0", "b0", "b1", "b2", "b3"]


def test_a_weight_of_two_gets_twice_as_much() -> None:
    queued = [job(f"a{i}", user="ann") for i in range(8)] + [job(f"b{i}", user="bob") for i in range(8)]
    names = started(plan(queued, [node("n", 6)], rules=Rules(weights={"ann": 2.0})))
    assert [sum(name.startswith(user) for name in names) for user in "ab"] == [4, 2]


def test_who_ran_much_yesterday_yields_to_who_did_not() -> None:
    queued = [job("a", user="ann", age=100), job("b", user="bob")]
    used = {Account("ann", "flex", "h200"): sum_decayed(8, 86400.0, 43200.0)}
    assert list(started(plan(queued, [node("n", 1)], recent_use=used))) == ["b"]


def test_use_counts_half_after_a_half_life_and_in_one_tier_only() -> None:
    assert decay(100.0, HALF_LIFE_SECONDS) == pytest.approx(50.0)
    assert sum_decayed(1, 1.0) == pytest.approx(1.0, rel=1e-4)
    whole = sum_decayed(3, 7200.0)
    assert whole == pytest.approx(sum_decayed(3, 7200.0, 3600.0) + sum_decayed(3, 3600.0))
    queued = [job("a", user="ann", age=100), job("b", user="bob")]
    used = {Account("ann", "express", "h200"): 1e9}
    assert list(started(plan(queued, [node("n", 1)], recent_use=used))) == ["a"]


# -- gangs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "largest", "gang"),
    [(1, 8, Gang(1, 1)), (8, 8, Gang(1, 8)), (16, 8, Gang(2, 8)), (32, 8, Gang(4, 8)), (12, 8, Gang(2, 6)),
     (9, 8, Gang(3, 3)), (6, 4, Gang(2, 3))],
)  # fmt: skip
def test_a_gang_takes_as_few_equal_shares_as_nodes_can_hold(count: int, largest: int, gang: Gang) -> None:
    assert split_gang(count, largest) == gang


def test_sixteen_gpus_are_two_nodes_of_eight() -> None:
    decided = plan([job("a", 16)], [node("n1"), node("n2", 4), node("n3")])
    assert started(decided) == {"a": ["n1", "n3"]}
    assert [len(share.devices) for share in decided.assignments[0].shares] == [8, 8]


def test_a_gang_that_fits_one_node_is_never_split() -> None:
    decided = plan([job("a", 4)], [node("n1"), node("n2")], [running("r", {"n1": range(6), "n2": range(6)})])
    assert started(decided) == {}
    assert decided.reservations[0].node_ids == ("n1",)


def test_the_fullest_node_that_fits_is_taken() -> None:
    busy = [running("r", {"n1": range(2), "n2": range(6)})]
    assert started(plan([job("a", 2)], [node("n1"), node("n2")], busy)) == {"a": ["n2"]}


def test_a_long_job_goes_where_others_stay_long() -> None:
    """So the node that is empty soon becomes empty, for a gang that needs it whole."""
    busy = [running("soon", {"n1": range(4)}, left=60), running("late", {"n2": range(4)}, left=50 * HOUR)]
    assert started(plan([job("a", 1, seconds=20 * HOUR)], [node("n1"), node("n2")], busy)) == {"a": ["n2"]}


def test_closed_nodes_and_unusable_devices_get_nothing() -> None:
    nodes = [node("n1", is_open=False), node("n2", 4, unusable=[0, 2])]
    decided = plan([job(f"a{i}") for i in range(4)], nodes)
    given = {device for one in decided.assignments for share in one.shares for device in share.devices}
    assert given == {"n2/h200/1", "n2/h200/3"}


# -- reservations and backfill -----------------------------------------------------------------------------------


def test_room_is_kept_for_a_large_job_and_a_short_one_uses_it_meanwhile() -> None:
    busy = [running("r", {"n": range(4)}, left=2 * HOUR)]
    queued = [
        job("large", 8, user="ann", age=9),
        job("long", 1, user="bob", age=5, seconds=3 * HOUR),
        job("short", 1, user="bob", age=1, seconds=HOUR),
    ]
    decided = plan(queued, [node("n")], busy)
    assert started(decided) == {"short": ["n"]}
    assert decided.reservations[0].job_id == "large"
    assert decided.reservations[0].starts_in_seconds == pytest.approx(2 * HOUR)


def test_what_the_large_job_leaves_over_may_be_used_for_longer() -> None:
    busy = [running("r", {"n": range(6)}, left=HOUR)]
    queued = [
        job("large", 6, age=9),
        job("a", 2, user="eve", seconds=90 * HOUR),
        job("b", 1, user="bob", seconds=None),
    ]
    assert started(plan(queued, [node("n")], busy)) == {"a": ["n"]}


def test_a_job_of_unknown_length_delays_nobody() -> None:
    busy = [running("r", {"n": range(7)}, left=HOUR)]
    assert (
        started(plan([job("large", 8, age=9), job("a", user="bob", seconds=None)], [node("n")], busy)) == {}
    )


def test_a_job_that_overruns_moves_the_reservation_and_breaks_nothing() -> None:
    """An hour over after ten: it is given 2.5 hours more, and the queue goes on around it."""
    busy = [running("late", {"n": range(7)}, began=10 * HOUR, left=-HOUR)]
    queued = [
        job("large", 8, age=9),
        job("short", user="bob", seconds=HOUR),
        job("long", user="eve", seconds=9 * HOUR),
    ]
    decided = plan(queued, [node("n")], busy)
    assert decided.reservations[0].starts_in_seconds == pytest.approx(2.5 * HOUR)
    assert started(decided) == {"short": ["n"]}


def test_another_kind_is_not_held_back() -> None:
    queued = [job("large", 4, age=9), job("small", kind="cpu")]
    assert started(plan(queued, [node("n1", 2), node("n2", 1, kind="cpu")])) == {"small": ["n2"]}


def test_a_job_that_can_never_run_holds_up_nobody() -> None:
    decided = plan([job("huge", 64, age=9), job("a", user="bob")], [node("n")])
    assert started(decided) == {"a": ["n"]}
    assert decided.waiting["huge"].reason == "too_large"
    assert decided.reservations == []


def test_who_has_waited_half_a_day_is_passed_only_by_what_is_short_or_over_before() -> None:
    busy = [running("r", {"n1": range(7), "n2": range(7)}, left=5 * HOUR)]
    queued = [
        job("large", 8, user="ann", age=13 * HOUR),
        job("long", 1, user="eve", age=3, seconds=6 * HOUR),
        job("over before", 1, user="eve", age=2, seconds=4 * HOUR),
        job("spot", 1, user="eve", age=1, tier="spot", seconds=6 * HOUR),
    ]
    decided = plan(queued, [node("n1"), node("n2")], busy)
    assert decided.reservations[0].node_ids == ("n1",)
    assert decided.waiting["long"].reason == "behind_overdue"
    assert decided.waiting["long"].starts_in_seconds is not None
    # Other tiers stand behind by their own rule and are not held up.
    assert started(decided) == {"over before": ["n2"]}


def test_before_that_others_fill_what_would_be_idle() -> None:
    busy = [running("r", {"n1": range(7), "n2": range(7)}, left=5 * HOUR)]
    queued = [job("large", 8, user="ann", age=11 * HOUR), job("later", 1, user="eve", seconds=6 * HOUR)]
    assert started(plan(queued, [node("n1"), node("n2")], busy)) == {"later": ["n2"]}


# -- preemption ---------------------------------------------------------------------------------------------------


def test_spot_makes_room_for_express_and_the_newest_goes_first() -> None:
    busy = [
        running("old", {"n": range(4)}, tier="spot", began=5 * HOUR),
        running("new", {"n": range(4, 8)}, tier="spot", began=60),
    ]
    decided = plan([job("a", 4, tier="express")], [node("n")], busy)
    assert [(one.job_id, one.for_job_id) for one in decided.preemptions] == [("new", "a")]
    assert decided.waiting["a"].reason == "making_room"
    assert decided.waiting["a"].starts_in_seconds == pytest.approx(60)


def test_one_large_spot_job_goes_rather_than_several_new_ones() -> None:
    busy = [running("large", {"n": range(4)}, tier="spot", began=50 * HOUR)]
    busy += [running(f"small{i}", {"n": [4 + i]}, tier="spot", began=60) for i in range(4)]
    decided = plan([job("a", 4, tier="express")], [node("n")], busy)
    assert [one.job_id for one in decided.preemptions] == ["large"]


def test_the_node_is_taken_where_fewest_must_go() -> None:
    busy = [running(f"a{i}", {"n1": [2 * i, 2 * i + 1]}, tier="spot", began=60) for i in range(4)]
    busy += [running("b", {"n2": range(8)}, tier="spot", began=9 * HOUR)]
    decided = plan([job("a", 8, tier="express")], [node("n1"), node("n2")], busy)
    assert [one.job_id for one in decided.preemptions] == ["b"]


def test_a_spot_job_over_two_nodes_makes_room_on_both() -> None:
    busy = [running("wide", {"n1": range(8), "n2": range(8)}, tier="spot")]
    busy += [running(f"s{i}", {"n3": [i]}, tier="spot", began=1) for i in range(8)]
    decided = plan([job("a", 16, tier="express")], [node("n1"), node("n2"), node("n3")], busy)
    assert [one.job_id for one in decided.preemptions] == ["wide"]
    assert sorted(decided.reservations[0].node_ids) == ["n1", "n2"]


@pytest.mark.parametrize("tier", ["flex", "spot"])
def test_nobody_but_express_preempts(tier: str) -> None:
    assert (
        plan([job("a", 1, tier=tier)], [node("n", 1)], [running("r", {"n": [0]}, tier="spot")]).preemptions
        == []
    )


@pytest.mark.parametrize("tier", ["express", "flex"])
def test_nobody_but_spot_is_preempted(tier: str) -> None:
    assert (
        plan([job("a", 1, tier="express")], [node("n", 1)], [running("r", {"n": [0]}, tier=tier)]).preemptions
        == []
    )


def test_nothing_is_preempted_where_it_would_not_help() -> None:
    busy = [running("spot", {"n": range(4)}, tier="spot"), running("flex", {"n": range(4, 8)})]
    assert plan([job("a", 8, tier="express")], [node("n")], busy).preemptions == []


def test_nothing_is_preempted_where_room_comes_by_itself_in_a_moment() -> None:
    busy = [running("soon", {"n": range(4)}, left=30), running("spot", {"n": range(4, 8)}, tier="spot")]
    assert plan([job("a", 4, tier="express")], [node("n")], busy).preemptions == []


def test_the_next_decision_waits_for_those_who_are_stopping() -> None:
    busy = [
        running("going", {"n": range(4)}, tier="spot", stopping=True),
        running("s", {"n": range(4, 8)}, tier="spot"),
    ]
    decided = plan([job("a", 4, tier="express"), job("f", 4, user="eve", tier="flex")], [node("n")], busy)
    assert decided.preemptions == []
    assert decided.waiting["a"].reason == "making_room"


def test_room_made_for_express_is_not_taken_by_others() -> None:
    busy = [running("going", {"n": range(4, 8)}, tier="spot", stopping=True)]
    queued = [job("a", 8, tier="express"), job("f", 4, user="eve", tier="flex", seconds=HOUR)]
    assert started(plan(queued, [node("n")], busy)) == {}


# -- quotas -------------------------------------------------------------------------------------------------------


def test_a_quota_bounds_what_a_user_holds_in_a_tier() -> None:
    queued = [job(f"a{i}", user="ann", age=9 - i) for i in range(4)] + [job("b", user="bob")]
    busy = [running("r", {"n": [0]}, user="ann")]
    decided = plan(queued, [node("n")], busy, Rules(quotas={"flex": 3}))
    assert sorted(started(decided)) == ["a0", "a1", "b"]
    assert decided.waiting["a2"].reason == "quota"
    assert decided.waiting["a2"].params == {"limit": 3, "used": 3}


def test_a_users_small_jobs_do_not_keep_its_own_large_one_out_by_quota() -> None:
    queued = [job("large", 4, age=9), job("small", 1)]
    decided = plan(queued, [node("n")], [running("r", {"n": [0]}, user="ann")], Rules(quotas={"flex": 4}))
    assert started(decided) == {}


def test_a_job_above_its_quota_says_so_and_holds_up_nobody() -> None:
    decided = plan([job("a", 8, age=9), job("b", 1)], [node("n")], rules=Rules(quotas={"flex": 4}))
    assert started(decided) == {"b": ["n"]}
    assert decided.waiting["a"].reason == "above_quota"


# -- what people are told -------------------------------------------------------------------------------------------


def test_the_start_of_a_line_is_foreseen_job_by_job() -> None:
    busy = [running("r", {"n": range(8)}, left=HOUR)]
    queued = [job(f"a{i}", 8, age=9 - i, seconds=2 * HOUR) for i in range(3)]
    told = plan(queued, [node("n")], busy).waiting
    assert [told[f"a{i}"].starts_in_seconds for i in range(3)] == pytest.approx([HOUR, 3 * HOUR, 5 * HOUR])
    assert [told[f"a{i}"].position for i in range(3)] == [1, 2, 3]


def test_a_tier_counts_on_what_better_tiers_have_been_leaving() -> None:
    """Express held half of the cluster of late: of the GPUs that become free, half are for others."""
    busy = [running(f"r{i}", {"n": [i]}, left=(i + 1) * HOUR) for i in range(8)]
    used = {Account("bob", "express", "h200"): 4 * sum_decayed(1, 1e9)}
    told = plan([job("a", 2, tier="spot")], [node("n")], busy, recent_use=used).waiting["a"]
    assert told.starts_in_seconds == pytest.approx(4 * HOUR)


def test_far_behind_the_work_ahead_decides() -> None:
    busy = [running("r", {"n": range(8)}, left=HOUR)]
    queued = [job(f"a{i:04}", 8, age=2000 - i, seconds=HOUR) for i in range(1500)]
    told = plan(queued, [node("n")], busy).waiting
    assert told["a1499"].starts_in_seconds == pytest.approx(1500 * HOUR, rel=0.01)


@pytest.mark.parametrize(
    ("nodes", "count", "reason"),
    [
        ([], 1, "no_such_gpu"),
        ([node("n", kind="cpu")], 1, "no_such_gpu"),
        ([node("n", is_open=False)], 1, "nodes_away"),
        ([node("n1", is_open=False), node("n2", 2)], 4, "nodes_away"),
        ([node("n", 4, unusable=[1])], 4, "devices_unusable"),
        ([node("n", 4)], 6, "too_large"),
    ],
)
def test_a_job_that_cannot_start_is_told_why(nodes: list[Node], count: int, reason: str) -> None:
    told = plan([job("a", count)], nodes).waiting["a"]
    assert (told.reason, told.starts_in_seconds) == (reason, None)


def test_every_reason_has_words_in_both_languages() -> None:
    for sentences in REASONS.values():
        assert set(sentences) == {"en", "zh"}
    told = plan([job("a"), job("b")], [node("n", 1)], [running("r", {"n": [0]})]).waiting["b"]
    assert explain_waiting(told, "zh").startswith("正在为")
    assert "kept for this job" in explain_waiting(told, "en")
