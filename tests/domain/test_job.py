"""The table of moves, and what follows from each end."""

import pytest

from backend.domain.job import (
    EXPLANATIONS,
    FINISHED,
    MAX_FAULTS,
    MOVES,
    OUTCOMES,
    EndReason,
    JobStatus,
    decide_outcome,
    explain_end,
    is_legal_move,
)


def test_every_end_reason_has_an_outcome_and_words_in_both_languages() -> None:
    for reason in EndReason:
        assert OUTCOMES[reason].status in FINISHED
        assert set(EXPLANATIONS[reason]) == {"en", "zh"}
        for language in ("en", "zh"):
            explanation = explain_end(reason, language)
            assert explanation.title
            assert explanation.hint


@pytest.mark.parametrize(
    ("old", "new"),
    [("succeeded", "queued"), ("queued", "running"), ("running", "assigned"), ("succeeded", "failed")],
)
def test_what_is_not_in_the_table_is_no_move(old: str, new: str) -> None:
    assert not is_legal_move(JobStatus(old), JobStatus(new))


def test_a_succeeded_job_never_moves_again() -> None:
    assert not [move for move in MOVES if move[0] is JobStatus.SUCCEEDED]


def test_preemption_never_uses_up_a_jobs_chances() -> None:
    outcome = decide_outcome(EndReason.PREEMPTED, faults=MAX_FAULTS - 1, stop_requested=False)
    assert outcome.requeue
    assert not outcome.is_fault


def test_infrastructure_faults_are_retried_a_limited_number_of_times() -> None:
    first = decide_outcome(EndReason.NODE_LOST, faults=0, stop_requested=False)
    last = decide_outcome(EndReason.NODE_LOST, faults=MAX_FAULTS - 1, stop_requested=False)
    assert (first.requeue, first.is_fault) == (True, True)
    assert (last.requeue, last.status) == (False, JobStatus.FAILED)


def test_out_of_memory_is_not_retried() -> None:
    assert not decide_outcome(EndReason.OUT_OF_MEMORY, faults=0, stop_requested=False).requeue


@pytest.mark.parametrize("reason", [EndReason.NODE_STOPPED, EndReason.NODE_LOST, EndReason.PREEMPTED])
def test_a_job_whose_owner_asked_for_a_stop_is_not_put_back(reason: EndReason) -> None:
    outcome = decide_outcome(reason, faults=0, stop_requested=True)
    assert (outcome.requeue, outcome.status) == (False, JobStatus.CANCELLED)
