"""Where a job's result lies; one that was trained in full is a model of its owner's from then on."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from backend import storage
from backend.domain.errors import Problem
from backend.domain.job import FINISHED, JobKind, JobStatus
from backend.model_files import read_model_folder
from backend.services.found_models import fill_from_folder
from backend.tables.base_model import BaseModel
from backend.tables.job import Job

_WHOLE = ("full", "freeze")
"""Ways to train that leave a whole model; LoRA leaves an adapter, which evaluations choose as it is."""


def enter_results(session: Session) -> None:
    """Enter the result of every job that succeeded and left a whole model; drop those whose job was deleted."""
    session.execute(delete(BaseModel).where(BaseModel.source == "job", BaseModel.id.not_in(select(Job.id))))
    known = select(BaseModel.id)
    query = select(Job).where(
        Job.kind == JobKind.TRAIN.value,
        Job.status == JobStatus.SUCCEEDED.value,
        Job.spec["finetuning_type"].astext.in_(_WHOLE),
        Job.id.not_in(known),
    )
    for job in session.scalars(query).all():
        _enter(session, job)


def _enter(session: Session, job: Job) -> None:
    folder = storage.get_attempt_folder(job.id, job.attempt) / "output"
    found = read_model_folder(folder)
    if found is None:
        return
    base = find_base_model(session, job)
    taken = set(session.scalars(select(BaseModel.name).where(BaseModel.owner_id == job.owner_id)))
    name = job.name if job.name not in taken else f"{job.name[:100]} {job.id[-6:]}"
    model = BaseModel(id=job.id, name=name, owner_id=job.owner_id, visibility="private")
    fill_from_folder(model, folder, found.config, found.parameters)
    model.source = "job"
    if base is not None:
        model.template, model.modalities = base.template, list(base.modalities)
    model.facts = {"tuneforge": {"origin": {"kind": "job", "job_id": job.id}}, "config": found.config}
    session.add(model)
    session.flush()


def find_base_model(session: Session, job: Job) -> BaseModel | None:
    """Return the model that a job ran on, told by its folder: names may be given to another one since."""
    return session.scalars(select(BaseModel).where(BaseModel.path == job.launch.get("model_path"))).first()


def find_result_path(job: Job, step: int | None) -> str | None:
    """Return where a train job's result (or its checkpoint of `step`) lies, relative to the home."""
    name = "output" if step is None else f"output/checkpoint-{step}"
    if step is None and JobStatus(job.status) not in FINISHED:
        return None
    for attempt in range(job.attempt, 0, -1):
        folder = storage.get_attempt_folder(job.id, attempt) / name
        if any(folder.glob("adapter_model.safetensors")) or any(folder.glob("model*.safetensors")):
            return str(folder.relative_to(storage.get_home()))
    return None


def explain_missing_result(job: Job, step: int | None) -> Problem:
    """Return why `find_result_path` found nothing, and what to do."""
    if step is not None:
        return Problem(
            ("adapter",),
            f"job {job.name!r} has no checkpoint-{step}; GET /api/v1/jobs/{job.id}/artifacts lists its files",
            f"任务“{job.name}”没有检查点 checkpoint-{step}，请在任务的文件列表中另选一个",
        )
    if JobStatus(job.status) not in FINISHED:
        return Problem(
            ("adapter",),
            f"job {job.name!r} is not finished; wait for it or name one of its checkpoints",
            f"任务“{job.name}”尚未结束，请等待，或选择它的一个检查点",
        )
    return Problem(
        ("adapter",),
        f"job {job.name!r} left no trained model",
        f"任务“{job.name}”没有留下训练好的模型，请另选一个",
    )
