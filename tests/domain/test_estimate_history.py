"""What finished jobs teach: corrections that help, ranges that hold, and nothing learnt where it would harm."""

from __future__ import annotations

import random
from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.domain.estimate.history import (
    MAX_RUNS,
    Cell,
    Correction,
    PastRun,
    Seconds,
    fit_correction,
    split_seconds,
)

CELL = Cell("h200", "sft", "qwen2", "lora")


def past(work: float, *, setup: float = 1.0, cell: Cell = CELL, size: float = 600.0) -> PastRun:
    """Return a job that took `work` and `setup` times as long as modelled."""
    modelled = Seconds(30.0, size)
    return PastRun(cell, modelled, Seconds(30.0 * setup, size * work))


def learn(history: list[PastRun], cell: Cell = CELL) -> Correction:
    """Return the correction, which there must be."""
    found = fit_correction(history, cell)
    assert found is not None
    return found


def test_nothing_is_learnt_from_nothing_or_from_other_cards() -> None:
    assert fit_correction([], CELL) is None
    assert fit_correction([past(2.0)] * 20, CELL._replace(gpu_kind="a100")) is None


def test_a_card_that_is_twice_as_slow_is_known_after_some_jobs() -> None:
    factors = [learn([past(2.0)] * count).work for count in (2, 5, 20, 60)]
    assert factors == sorted(factors)
    assert 1.1 < factors[0] < 2
    assert factors[-1] == pytest.approx(2.0, rel=0.02)


def test_one_job_alone_changes_no_estimate() -> None:
    """There is no second one on which the correction could have shown that it helps."""
    assert learn([past(3.0)])[:2] == (1.0, 1.0)


def test_setup_and_work_are_corrected_apart() -> None:
    found = learn([past(1.0, setup=4.0, size=60.0)] * 30)
    assert found.work == pytest.approx(1.0, abs=0.01)
    assert found.setup == pytest.approx(4.0, rel=0.06)


def test_a_narrow_group_goes_its_own_way_and_an_unknown_one_with_the_wider() -> None:
    vision = CELL._replace(family="qwen2_5_vl")
    history = [past(1.0), past(3.0, cell=vision)] * 25
    assert learn(history, vision).work > 2.5
    assert learn(history).work < 1.2
    other = learn(history, CELL._replace(family="llama"))
    assert learn(history).work <= other.work <= learn(history, vision).work


def test_outliers_move_little() -> None:
    assert learn([past(1.5)] * 16 + [past(15.0)] * 4).work == pytest.approx(1.5, rel=0.03)


def test_jobs_that_hung_are_not_believed() -> None:
    assert fit_correction([past(500.0)], CELL) is None


def test_where_there_is_nothing_to_learn_the_model_is_left_alone() -> None:
    draw = random.Random(7)
    left_alone = [
        learn([past(exp(draw.gauss(0, 0.4))) for _ in range(25)])[:2] == (1.0, 1.0) for _ in range(40)
    ]
    assert sum(left_alone) >= 10  # by chance, what comes next often agrees with what came before


@given(
    st.lists(st.floats(0.2, 5), min_size=2, max_size=25),
    st.lists(st.floats(0.2, 5), min_size=25, max_size=25),
)
def test_a_correction_is_used_only_where_it_made_jobs_not_seen_yet_better_known(
    works: list[float], setups: list[float]
) -> None:
    history = [past(work, setup=setup) for work, setup in zip(works, setups, strict=False)]
    plain = [abs(log(run.actual.total / run.modelled.total)) for run in history[1:]]
    is_better = measure_learnt(history) < sum(plain) / len(plain)
    assert (learn(history)[:2] != (1.0, 1.0)) == is_better


def measure_learnt(history: list[PastRun]) -> float:
    """Return the mean error of each job predicted from all before it, the first left out."""
    errors = []
    for place in range(1, len(history)):
        factors = fit_plainly(history[:place])
        run = history[place]
        said = run.modelled.setup * factors[0] + run.modelled.work * factors[1]
        errors.append(abs(log(run.actual.total / said)))
    return sum(errors) / len(errors)


def fit_plainly(history: list[PastRun]) -> tuple[float, float]:
    """Return the shrunk medians of a history of one cell, reckoned anew: four groups that hold the same jobs."""
    factors = []
    for part in (0, 1):
        ratios = sorted(log(run.actual[part] / run.modelled[part]) for run in history)
        middle = (ratios[(len(ratios) - 1) // 2] + ratios[len(ratios) // 2]) / 2
        left = 1.0
        for _ in range(4):
            left *= 1 - len(ratios) / (len(ratios) + 3)
        factors.append(exp(middle * (1 - left)))
    return factors[0], factors[1]


@pytest.mark.parametrize("spread", [0.05, 0.3])
def test_four_of_five_jobs_fall_into_the_range(spread: float) -> None:
    """Coverage over histories of 10 to 60 jobs that are 1.7 times as slow as modelled, give or take."""
    draw = random.Random(11)
    inside = total = 0
    for _ in range(400):
        history = [past(1.7 * exp(draw.gauss(0, spread))) for _ in range(draw.randint(10, MAX_RUNS))]
        found, new = learn(history), past(1.7 * exp(draw.gauss(0, spread)))
        assert found.low is not None
        assert found.high is not None
        assert found.low <= 1 <= found.high
        said = new.modelled.setup * found.setup + new.modelled.work * found.work
        inside += said * found.low <= new.actual.total <= said * found.high
        total += 1
    assert 0.76 <= inside / total <= 0.93


def test_a_short_history_gives_no_range() -> None:
    assert learn([past(2.0)] * 8)[2:4] == (None, None)
    assert learn([past(2.0)] * 9).low is not None


def test_the_oldest_jobs_are_forgotten() -> None:
    assert learn([past(5.0)] * 200 + [past(1.0)] * MAX_RUNS)[:2] == (1.0, 1.0)


def test_an_estimates_phases_are_split_at_the_first_step() -> None:
    phases = {
        "queue": 100.0,
        "start": 1.0,
        "load": 2.0,
        "tokenize": 3.0,
        "train": 10.0,
        "evaluate": 4.0,
        "save": 5.0,
    }
    assert split_seconds(phases) == Seconds(6.0, 19.0)
