"""What holds for a job whatever happens to it: walks through the table of moves, driven by random ends."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backend.domain.job import (
    FINISHED,
    MAX_FAULTS,
    MOVES,
    OUTCOMES,
    EndReason,
    JobStatus,
    decide_outcome,
    is_legal_move,
)

many = settings(max_examples=300, deadline=None)
REASONS = st.sampled_from(list(EndReason))


@many
@given(REASONS, st.integers(0, 2 * MAX_FAULTS), st.booleans())
def test_whatever_ends_a_running_job_leads_along_a_legal_move(
    reason: EndReason, faults: int, stop: bool
) -> None:
    outcome = decide_outcome(reason, faults, stop)
    goes_to = JobStatus.QUEUED if outcome.requeue else outcome.status
    assert is_legal_move(JobStatus.RUNNING, goes_to)
    assert outcome.status in FINISHED


@many
@given(REASONS, st.integers(0, 2 * MAX_FAULTS))
def test_a_wish_to_stop_never_leads_back_into_the_queue(reason: EndReason, faults: int) -> None:
    assert not decide_outcome(reason, faults, stop_requested=True).requeue


@many
@given(st.sampled_from(list(JobStatus)), st.sampled_from(list(JobStatus)))
def test_only_what_the_table_says_is_legal_and_nothing_leads_to_itself(
    old: JobStatus, new: JobStatus
) -> None:
    assert is_legal_move(old, new) == ((old, new) in MOVES)
    assert not is_legal_move(old, old)


def test_every_status_is_reached_and_only_success_is_for_ever() -> None:
    assert {new for _, new in MOVES} == set(JobStatus)
    assert set(JobStatus) - {old for old, _ in MOVES} == {JobStatus.SUCCEEDED}


class JobLife(RuleBasedStateMachine):
    """A job is assigned, claimed, ended, taken back, stopped and resumed in any order that the table allows."""

    @initialize()
    def submit(self) -> None:
        self.status, self.attempt, self.faults, self.stop = JobStatus.QUEUED, 1, 0, False
        self.ran: list[int] = []

    def _move(self, new: JobStatus) -> None:
        assert is_legal_move(self.status, new)
        self.status = new

    @precondition(lambda self: self.status is JobStatus.QUEUED)
    @rule()
    def assign(self) -> None:
        self._move(JobStatus.ASSIGNED)

    @precondition(lambda self: self.status is JobStatus.ASSIGNED)
    @rule()
    def claim(self) -> None:
        self._move(JobStatus.RUNNING)
        self.ran.append(self.attempt)

    @precondition(lambda self: self.status is JobStatus.ASSIGNED)
    @rule()
    def take_back_unclaimed(self) -> None:
        self._move(JobStatus.QUEUED)
        self.attempt += 1

    @precondition(lambda self: self.status is JobStatus.RUNNING)
    @rule(reason=REASONS)
    def end(self, reason: EndReason) -> None:
        outcome = decide_outcome(reason, self.faults, self.stop)
        self.faults += outcome.is_fault
        if outcome.requeue:
            self.attempt += 1
        self._move(JobStatus.QUEUED if outcome.requeue else outcome.status)

    @precondition(lambda self: self.status not in FINISHED)
    @rule()
    def ask_to_stop(self) -> None:
        self.stop = True
        if self.status is not JobStatus.RUNNING:
            self._move(JobStatus.CANCELLED)

    @precondition(lambda self: self.status in (JobStatus.CANCELLED, JobStatus.FAILED))
    @rule()
    def resume(self) -> None:
        self._move(JobStatus.QUEUED)
        self.attempt, self.faults, self.stop = self.attempt + 1, 0, False

    @precondition(lambda self: self.status in FINISHED)
    @rule(new=st.sampled_from([JobStatus.ASSIGNED, JobStatus.RUNNING, JobStatus.SUCCEEDED]))
    def hear_a_late_word(self, new: JobStatus) -> None:
        assert not is_legal_move(self.status, new)

    @invariant()
    def no_attempt_runs_twice(self) -> None:
        ran = getattr(self, "ran", [])
        assert len(ran) == len(set(ran))

    @invariant()
    def faults_are_bounded(self) -> None:
        assert getattr(self, "faults", 0) <= MAX_FAULTS

    @invariant()
    def a_job_that_was_asked_to_stop_does_not_wait(self) -> None:
        assert not (getattr(self, "stop", False) and self.status is JobStatus.QUEUED)


TestJobLife = JobLife.TestCase
TestJobLife.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def test_preemption_alone_never_ends_a_job() -> None:
    assert OUTCOMES[EndReason.PREEMPTED].requeue
    assert not OUTCOMES[EndReason.PREEMPTED].is_fault
