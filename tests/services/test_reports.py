"""What supervisors say: the lease decides who may speak, and what comes twice, late or in pieces does no harm."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, select, text

from backend.database import get_engine, transaction
from backend.domain.errors import Conflict, NotFound
from backend.domain.job import EndReason
from backend.domain.protocol import FinalReport, LaunchOrder, Reply, Report
from backend.services import endings, jobs, pace, reports
from backend.services.launch_orders import LEAST_LOG_BYTES, LOG_LIMIT_BYTES
from backend.services.pages import PageWish
from backend.tables.job import GpuSample, Job, MetricRow
from backend.tables.ledger import LedgerEntry
from backend.tables.user import User
from tests.factories import (
    assign_jobs,
    build_devices,
    claim_job,
    finish_job,
    make_user,
    read_job,
    register_node,
    start_job,
    submit_job,
    write_attempt_file,
)

pytestmark = pytest.mark.usefixtures("database")

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def owner_id() -> str:
    """Somebody, and a node with one device."""
    register_node()
    return make_user("ann")


def _point(step: int, **values: float) -> dict[str, Any]:
    return {"step": step, "at": NOON + timedelta(seconds=step), **values}


def _report(order: LaunchOrder, *points: dict[str, Any], **values: Any) -> Reply:
    message = {"phase": "training", "step": 1, "log_bytes": 0, "points": list(points)}
    with transaction() as session:
        report = Report.model_validate(message | values)
        return reports.report(session, order.job_id, order.attempt, order.lease_token, report)


def _read_points(job_id: str) -> list[tuple[int, int, float | None, float | None]]:
    with transaction() as session:
        rows = jobs.list_points(session, job_id, -1)
        return [(row.step, row.attempt, row.loss, row.eval_loss) for row in rows]


def _list_charges() -> list[LedgerEntry]:
    with transaction() as session:
        return list(session.scalars(select(LedgerEntry).order_by(LedgerEntry.attempt)))


# -- claiming ----------------------------------------------------------------------------------------------


def test_an_attempt_is_claimed_once_by_its_own_node(owner_id: str) -> None:
    job_id = submit_job(owner_id)
    with pytest.raises(Conflict):
        claim_job(job_id)
    assign_jobs()
    with transaction() as session, pytest.raises(Conflict):
        reports.claim(session, job_id, 1, "node-2")
    with transaction() as session, pytest.raises(Conflict):
        reports.claim(session, job_id, 2, "node-1")
    with transaction() as session, pytest.raises(NotFound):
        reports.claim(session, "nosuchjob0", 1, "node-1")

    def try_claim(_: int) -> str:
        try:
            return claim_job(job_id).lease_token
        except Conflict:
            return ""

    with ThreadPoolExecutor(8) as pool:
        leases = [lease for lease in pool.map(try_claim, range(8)) if lease]
    assert len(leases) == 1
    job = read_job(job_id)
    assert job.status == "running"
    assert leases[0] not in repr(vars(job))


def test_a_job_stopped_before_its_claim_is_not_claimed(owner_id: str) -> None:
    job_id = submit_job(owner_id)
    assign_jobs()
    with transaction() as session:
        jobs.stop(session, session.get_one(User, owner_id), job_id)
    with pytest.raises(Conflict):
        claim_job(job_id)
    job = read_job(job_id)
    assert (job.status, job.node_id, job.devices) == ("cancelled", None, [])
    assert _list_charges() == []


def test_an_order_holds_what_the_run_needs_and_shows_no_secret(owner_id: str) -> None:
    order = start_job(owner_id)
    assert (order.attempt, order.resume_from_attempt, order.devices) == (1, None, ["node-1-0"])
    assert order.config_yaml == "stage: sft\n"
    assert order.lease_token not in repr(order)


# -- the lease ---------------------------------------------------------------------------------------------


def test_a_report_extends_the_lease_and_is_told_to_go_on_or_stop(owner_id: str) -> None:
    order = start_job(owner_id)
    before = read_job(order.job_id).lease_expires_at
    assert _report(order, step=3, total_steps=9, eta_seconds=5.0).want == "continue"
    job = read_job(order.job_id)
    assert (job.step, job.total_steps, job.eta_seconds) == (3, 9, 5.0)
    assert job.lease_expires_at is not None
    assert before is not None
    assert job.lease_expires_at > before
    with transaction() as session:
        jobs.stop(session, session.get_one(User, owner_id), order.job_id)
    assert read_job(order.job_id).status == "running"
    assert _report(order).want == "stop"


@pytest.mark.parametrize(
    "change", [{"lease_token": "x"}, {"lease_token": ""}, {"attempt": 2}, {"attempt": 0}]
)
def test_another_lease_or_attempt_may_not_speak(owner_id: str, change: dict[str, Any]) -> None:
    order = start_job(owner_id)
    with pytest.raises(Conflict):
        _report(order.model_copy(update=change), _point(1, loss=1.0))
    finish_job(order.model_copy(update=change))
    assert read_job(order.job_id).status == "running"
    assert _read_points(order.job_id) == []


def test_after_a_requeue_the_old_lease_is_dead_and_the_new_one_goes_on(owner_id: str) -> None:
    first = start_job(owner_id)
    finish_job(first, "node_stopped", checkpoint_step=4)
    assert read_job(first.job_id).status == "queued"
    with pytest.raises(Conflict):
        _report(first)
    assign_jobs()
    second = claim_job(first.job_id)
    assert (second.attempt, second.resume_from_attempt) == (2, 1)
    assert second.lease_token != first.lease_token
    with pytest.raises(Conflict):
        _report(first)
    with pytest.raises(Conflict):
        _report(second.model_copy(update={"lease_token": first.lease_token}))
    finish_job(first, "crashed")
    assert _report(second).want == "continue"
    job = read_job(first.job_id)
    assert (job.status, job.faults, job.checkpoint_step) == ("running", 0, 4)


# -- points ------------------------------------------------------------------------------------------------


def test_points_sent_twice_in_pieces_and_out_of_order_are_one_curve(owner_id: str) -> None:
    order = start_job(owner_id)
    _report(order, _point(2, loss=2.0), _point(1, loss=1.0))
    _report(order, _point(1, loss=1.0), _point(2, loss=2.0), _point(2, eval_loss=2.5), _point(3, loss=3.0))
    _report(order, _point(3, eval_loss=3.5))
    _report(order, _point(2, loss=2.25))
    assert _read_points(order.job_id) == [(1, 1, 1.0, None), (2, 1, 2.25, 2.5), (3, 1, 3.0, 3.5)]


def test_points_sent_again_unchanged_are_not_news(owner_id: str) -> None:
    order = start_job(owner_id)
    _report(order, _point(1, loss=1.0), _point(2, loss=2.0))
    with transaction() as session:
        noted = {row.step: row.noted_at for row in session.scalars(select(MetricRow))}
    _report(order, _point(1, loss=1.0), _point(2, loss=2.0, eval_loss=0.5))
    with transaction() as session:
        again = {row.step: row.noted_at for row in session.scalars(select(MetricRow))}
    assert again[1] == noted[1]
    assert again[2] > noted[2]


def test_a_later_attempts_point_replaces_the_whole_earlier_one(owner_id: str) -> None:
    first = start_job(owner_id)
    _report(first, *(_point(step, loss=float(step), eval_loss=9.0) for step in (1, 2, 3)))
    finish_job(first, "node_stopped")
    assign_jobs()
    second = claim_job(first.job_id)
    _report(second, _point(2, loss=20.0), _point(3, loss=30.0), _point(3, eval_loss=31.0))
    assert _read_points(first.job_id) == [(1, 1, 1.0, 9.0), (2, 2, 20.0, None), (3, 2, 30.0, 31.0)]


def test_devices_are_sampled(owner_id: str) -> None:
    order = start_job(owner_id)
    device = build_devices(1, name="node-1")[0].model_dump() | {"utilization": 55.0, "memory_used_bytes": 7}
    _report(order, devices=[device, device])
    with transaction() as session:
        samples = session.scalars(select(GpuSample)).all()
        assert [(sample.device, sample.utilization, sample.memory_used_bytes) for sample in samples] == [
            ("node-1-0", 55.0, 7)
        ]


def test_of_many_samples_a_few_over_the_whole_time_are_listed(owner_id: str) -> None:
    order = start_job(owner_id)
    with transaction() as session:
        for moment in range(100):
            for device in ("a", "b"):
                session.add(
                    GpuSample(job_id=order.job_id, at=NOON + timedelta(seconds=moment), device=device)
                )
    with transaction() as session:
        job = session.get_one(Job, order.job_id)
        assert len(jobs.list_gpu_samples(session, job)) == 200
        few = jobs.list_gpu_samples(session, job, 50)
    assert len(few) <= 50
    assert {sample.device for sample in few} == {"a", "b"}
    assert few[0].at == NOON
    assert few[-1].at >= NOON + timedelta(seconds=95)


def test_samples_of_one_moment_are_kept_once(owner_id: str) -> None:
    order = start_job(owner_id)
    device = build_devices(1, name="node-1")[0]
    for _ in range(3):
        _report(order, devices=[device.model_dump()])
    with transaction() as session:
        assert len(session.scalars(select(GpuSample)).all()) == 1


# -- the end -----------------------------------------------------------------------------------------------


def test_the_logs_of_all_attempts_share_one_limit(owner_id: str) -> None:
    order = start_job(owner_id)
    assert order.log_limit_bytes == LOG_LIMIT_BYTES
    log = write_attempt_file(order.job_id, 1, "job.log", b"a line\n")
    finish_job(order, "preempted")
    assign_jobs()
    order = claim_job(order.job_id)
    assert order.log_limit_bytes == LOG_LIMIT_BYTES - 7
    with log.open("r+b") as file:
        file.truncate(LOG_LIMIT_BYTES)  # a hole, which takes no room
    finish_job(order, "preempted")
    assign_jobs()
    assert claim_job(order.job_id).log_limit_bytes == LEAST_LOG_BYTES


def test_a_finish_sent_twice_ends_and_charges_once(owner_id: str) -> None:
    order = start_job(owner_id)
    for _ in range(2):
        finish_job(
            order,
            run_seconds=3600.0,
            results={"train_loss": 0.25},
            artifacts=[{"name": "adapter.safetensors", "size_bytes": 5}],
            phase_seconds={"training": 3000.0},
            points=[_point(10, loss=0.1)],
        )
    job = read_job(order.job_id)
    assert (job.status, job.end_reason, job.phase, job.error) == ("succeeded", "completed", "finished", None)
    assert job.results == {"train_loss": 0.25}
    assert job.actual == {"duration_seconds": 3600.0, "phase_seconds": {"training": 3000.0}}
    charges = _list_charges()
    assert [(charge.attempt, charge.device_seconds) for charge in charges] == [(1, 3600.0)]
    assert job.cost_e4 == charges[0].amount_e4 == 3000
    with transaction() as session:
        assert session.get_one(User, owner_id).balance_e4 == -3000
        moves = [event.new for event in jobs.list_events(session, job, PageWish()).rows]
        assert [file.name for file in jobs.list_artifacts(session, job, PageWish()).rows] == [
            "adapter.safetensors"
        ]
    assert moves == ["succeeded", "running", "assigned", "queued"]


def test_jobs_of_one_owner_that_end_at_once_do_not_wait_for_each_other(owner_id: str) -> None:
    """Each end enters a charge, which shares the owner's key, before it counts it: so none may ask for that key alone."""
    order = start_job(owner_id)
    ending = {"phase": "finished", "step": 10, "log_bytes": 0, "end_reason": "completed", "run_seconds": 36.0}
    with transaction() as other, transaction() as session:
        other.execute(select(User.id).where(User.id == owner_id).with_for_update(read=True, key_share=True))
        session.execute(text("SET LOCAL lock_timeout = '5s'"))
        message = FinalReport.model_validate(ending)
        reports.finish(session, order.job_id, order.attempt, order.lease_token, message)
    assert read_job(order.job_id).status == "succeeded"


def test_the_last_word_in_the_middle_of_another_end_waits_for_it(owner_id: str) -> None:
    """A lost node's job is ended by us while its supervisor, heard again, says its last word: one of them counts."""
    order, said = start_job(owner_id), []

    def speak(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO ledger_entries") and not said:
            said.append(pool.submit(finish_job, order))
            time.sleep(0.5)  # until it stands where the two could wait for each other

    with ThreadPoolExecutor(1) as pool:
        event.listen(get_engine(), "after_cursor_execute", speak)
        try:
            with transaction() as session:
                endings.end_attempt(session, session.get_one(Job, order.job_id), EndReason.NODE_LOST)
        finally:
            event.remove(get_engine(), "after_cursor_execute", speak)
        said[0].result(10)
    job = read_job(order.job_id)
    assert (job.status, job.attempt, len(_list_charges())) == ("queued", 2, 1)


def test_every_attempt_is_charged_and_their_times_add_up(owner_id: str) -> None:
    first = start_job(owner_id)
    finish_job(first, "node_stopped", run_seconds=1800.0, phase_seconds={"loading": 10.0})
    assign_jobs()
    second = claim_job(first.job_id)
    finish_job(second, run_seconds=900.0, phase_seconds={"loading": 5.0, "saving": 1.0})
    job = read_job(first.job_id)
    assert [charge.attempt for charge in _list_charges()] == [1, 2]
    assert job.cost_e4 == sum(charge.amount_e4 for charge in _list_charges()) == 2250
    assert job.actual["duration_seconds"] == 2700.0
    assert job.actual["phase_seconds"] == {"loading": 15.0, "saving": 1.0}


@pytest.mark.parametrize("reason", list(EndReason))
def test_every_end_reason_ends_or_requeues_and_a_failure_says_what_to_do(
    owner_id: str, reason: EndReason
) -> None:
    order = start_job(owner_id)
    finish_job(order, reason.value, detail="what happened", log_excerpt="last line")
    job = read_job(order.job_id)
    assert len(_list_charges()) == 1
    if job.status == "queued":
        assert (job.attempt, job.end_reason, job.finished_at, job.lease_hash) == (2, None, None, None)
        return
    assert job.end_reason == reason
    assert job.finished_at is not None
    if job.status == "failed":
        assert job.error is not None
        assert (job.error["code"], job.error["detail"]) == (reason.value, "what happened")
        assert job.error["log_excerpt"] == "last line"
        assert all(job.error[name] for name in ("title", "hint", "title_zh", "hint_zh"))


@pytest.mark.parametrize("reason", [reason.value for reason in EndReason])
def test_a_job_asked_to_stop_never_goes_back_to_the_queue(owner_id: str, reason: str) -> None:
    order = start_job(owner_id)
    with transaction() as session:
        jobs.stop(session, session.get_one(User, owner_id), order.job_id)
    finish_job(order, reason)
    assert read_job(order.job_id).status in ("succeeded", "cancelled", "failed")


def test_a_job_resumed_after_its_end_takes_no_word_of_the_old_attempt(
    owner_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start_job(owner_id)
    finish_job(first, "crashed", detail="first end")
    monkeypatch.setattr(jobs.storage, "has_checkpoint", lambda job_id: True)
    with transaction() as session:
        jobs.resume(session, session.get_one(User, owner_id), first.job_id)
    finish_job(first, "completed")
    job = read_job(first.job_id)
    assert (job.status, job.attempt, job.error, job.end_reason, job.faults) == ("queued", 2, None, None, 0)


def test_a_fault_between_report_and_finish_rolls_everything_back(
    owner_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = start_job(owner_id)

    def break_down(*_: Any, **__: Any) -> None:
        raise RuntimeError("the disk is gone")

    with monkeypatch.context() as broken:
        broken.setattr(endings, "move", break_down)
        with pytest.raises(RuntimeError):
            finish_job(order, run_seconds=3600.0)
    assert read_job(order.job_id).status == "running"
    assert _list_charges() == []
    finish_job(order, run_seconds=3600.0)
    assert len(_list_charges()) == 1


def test_a_balance_runs_far_below_nothing(owner_id: str) -> None:
    order = start_job(owner_id, gpu_count=1)
    with transaction() as session:
        session.get_one(User, owner_id).balance_e4 = -(2**31)
    finish_job(order, run_seconds=3600.0)
    with transaction() as session:
        assert session.get_one(User, owner_id).balance_e4 == -(2**31) - 3000
        assert session.get_one(Job, order.job_id).status == "succeeded"


# -- how often ---------------------------------------------------------------------------------------------


def test_the_reply_stretches_the_interval_by_how_many_jobs_run(
    owner_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_node("node-2", build_devices(3, name="node-2"))
    monkeypatch.setattr(pace, "_counted", (float("-inf"), 0))
    monkeypatch.setattr("backend.domain.pace.REPORTS_PER_SECOND", 0.5)
    order = start_job(owner_id)
    assert _report(order).report_in_seconds == 2.0
    for _ in range(3):
        job_id = submit_job(owner_id)
        assign_jobs()
        claim_job(job_id, "node-2")
    # Not counted anew at every report.
    assert _report(order).report_in_seconds == 2.0
    monkeypatch.setattr(pace, "COUNT_EVERY_SECONDS", 0.0)
    assert _report(order).report_in_seconds == 8.0
