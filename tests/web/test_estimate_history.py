"""Estimates learn from the jobs that finished here: through the API, as a person would see it."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from backend.database import transaction
from backend.domain.job import EndReason
from backend.tables.estimate_record import EstimateRecord
from tests.factories import Person, assign_jobs, claim_job, finish_job
from tests.web.test_jobs import TRAIN


def run_job(owner: Person, times: float, end_reason: EndReason = EndReason.COMPLETED) -> str:
    """Submit the job and let it take `times` as long as modelled, from its first step on."""
    job = owner.post("/jobs", json=TRAIN).json()
    modelled = job["estimate"]["modelled_seconds"]
    assign_jobs()
    phases = {
        "preparing": 1.0, "loading": modelled["setup"] - 2, "tokenizing": 1.0,
        "training": modelled["work"] * times - 1, "saving": 1.0, "finished": 0.1,
    }  # fmt: skip
    finish_job(claim_job(job["id"]), end_reason.value, phase_seconds=phases)
    return str(job["id"])


def list_records() -> list[EstimateRecord]:
    """Return all that is learnt from, oldest first."""
    with transaction() as session:
        return list(session.scalars(select(EstimateRecord).order_by(EstimateRecord.id)))


def test_the_estimate_follows_what_jobs_took_and_says_so(platform: None, owner: Person) -> None:
    first = owner.post("/estimates", json=TRAIN).json()
    assert (first["basis"], first["learnt_from"]) == ("modelled", 0)
    for _ in range(9):
        run_job(owner, 2.0)
    later = owner.post("/estimates", json=TRAIN).json()
    assert (later["basis"], later["learnt_from"]) == ("calibrated", 9)
    assert later["modelled_seconds"] == first["modelled_seconds"]
    grown = later["breakdown_seconds"]["train"] / first["breakdown_seconds"]["train"]
    assert 1.7 < grown <= 2.0  # phases are shown in tenths of a second
    # Nine jobs of the very same length: what is still spread is how the estimates closed in on it.
    width = later["duration_seconds"]["high"] / later["duration_seconds"]["low"]
    assert width < first["duration_seconds"]["high"] / first["duration_seconds"]["low"] * 1.4
    assert float(later["cost"]["expected"]) > float(first["cost"]["expected"])


def test_a_record_holds_estimate_and_truth_once_and_outlives_its_job(platform: None, owner: Person) -> None:
    job_id = run_job(owner, 1.5)
    (record,) = list_records()
    modelled = owner.get(f"/jobs/{job_id}").json()["estimate"]["modelled_seconds"]
    assert (record.stage, record.finetuning_type, record.gpu_kind) == ("sft", "lora", "cpu")
    assert record.actual_work_seconds == pytest.approx(1.5 * modelled["work"], abs=0.01)
    assert record.actual_setup_seconds == pytest.approx(modelled["setup"], abs=0.01)
    assert record.modelled_work_seconds == modelled["work"]
    owner.request("DELETE", f"/jobs/{job_id}")
    (kept,) = list_records()
    assert (kept.id, kept.job_id) == (record.id, None)


@pytest.mark.parametrize("reason", [EndReason.OUT_OF_MEMORY, EndReason.USER_CANCELLED])
def test_what_did_not_run_whole_teaches_nothing(platform: None, owner: Person, reason: EndReason) -> None:
    run_job(owner, 1.0, reason)
    assert list_records() == []


def test_an_evaluation_of_an_untouched_model_is_a_group_of_its_own(platform: None, owner: Person) -> None:
    body = {"kind": "evaluate", "model": TRAIN["model"], "datasets": TRAIN["datasets"]}
    group = owner.post("/estimates", json=body).json()["group"]
    assert group["stage"] == "evaluate_untouched"
    assert owner.post("/estimates", json=TRAIN).json()["group"] | {"stage": ""} == group | {
        "stage": "", "finetuning_type": "lora",
    }  # fmt: skip
