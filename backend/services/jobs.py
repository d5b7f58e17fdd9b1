"""Jobs as people see them: submit, find, rename, stop, resume, delete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select, true, tuple_
from sqlalchemy.orm import Session, aliased, joinedload

from backend import queue, storage
from backend.domain.audit import Action
from backend.domain.errors import Conflict, NotFound
from backend.domain.job import ACTIVE, FINISHED, JobKind, JobStatus
from backend.domain.spec import PreparedJob
from backend.services import audit
from backend.services.moves import StaleJob, move
from backend.services.offers import require_fetched
from backend.services.pages import Page, PageWish, read_page, read_page_by_time
from backend.tables.artifact import Artifact
from backend.tables.base import new_id, utc_now
from backend.tables.job import GpuSample, Job, JobEvent, MetricRow
from backend.tables.user import User


def submit(session: Session, user: User, prepared: PreparedJob) -> Job:
    """Queue a prepared job and ring for its dispatch; Conflict where something it needs is not fetched."""
    require_fetched(prepared.unfetched)
    now = utc_now()
    job = Job(
        id=new_id(),
        owner_id=user.id,
        name=prepared.name,
        kind=prepared.kind.value,
        status=JobStatus.QUEUED.value,
        tier=prepared.tier,
        spec=prepared.spec,
        config_yaml=prepared.config_yaml,
        launch=prepared.launch,
        estimate=prepared.estimate,
        gpu_kind=prepared.gpu_kind,
        gpu_count=prepared.gpu_count,
        max_nodes=prepared.max_nodes,
        total_steps=prepared.estimate.get("steps"),
        tracking_mode=prepared.launch["tracking"],
        queued_at=now,
        created_at=now,
        devices=[],
    )
    session.add(job)
    session.flush()
    session.add(JobEvent(job_id=job.id, old=None, new=JobStatus.QUEUED.value, reason="submitted", attempt=1))
    session.flush()
    audit.record(session, Action.JOB_SUBMITTED, user, target=(job.id, job.name), kind=job.kind)
    queue.ring_dispatch(session)
    return job


# -- finding -----------------------------------------------------------------------------------------------


def _visible(user: User) -> ColumnElement[bool]:
    return true() if user.role == "administrator" else Job.owner_id == user.id


def get_job(session: Session, user: User, job_id: str, *, lock: bool = False) -> Job:
    """Return the job if `user` may see it: its owner and administrators may."""
    query = select(Job).where(Job.id == job_id, _visible(user))
    job = session.scalars(query.with_for_update() if lock else query).first()
    if job is None:
        raise NotFound("There is no such job.", zh="没有这个任务。")
    return job


@dataclass(frozen=True)
class JobFilter:
    """What a list of jobs is narrowed to; `q` is looked for in names, ids and models."""

    kind: str | None = None
    statuses: tuple[str, ...] = ()
    q: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    owned_only: bool = True


def list_jobs(
    session: Session,
    user: User,
    wanted: JobFilter,
    *,
    sort: str = "-created_at",
    after: str | None,
    limit: int,
) -> tuple[Sequence[Job], bool]:
    """Return up to `limit` jobs after the job `after`, newest first by default, and has_more."""
    query = _filter(select(Job), user, wanted)
    if wanted.statuses:
        query = query.where(Job.status.in_(wanted.statuses))
    oldest_first = sort == "created_at"
    if after:
        query = query.where(Job.id > after if oldest_first else Job.id < after)
    query = query.order_by(Job.id.asc() if oldest_first else Job.id.desc()).limit(limit + 1)
    found = session.scalars(query.options(joinedload(Job.owner))).all()
    return found[:limit], len(found) > limit


def count_jobs(session: Session, user: User, wanted: JobFilter) -> dict[str, int]:
    """Return how many jobs stand in each status, whatever status the list is narrowed to."""
    query = _filter(select(Job.status, func.count()), user, wanted).group_by(Job.status)
    counts = {status.value: 0 for status in JobStatus}
    counts.update((status, count) for status, count in session.execute(query))
    return counts


def _filter(query: Any, user: User, wanted: JobFilter) -> Any:
    query = query.where(Job.owner_id == user.id if wanted.owned_only else _visible(user))
    if wanted.kind:
        query = query.where(Job.kind == wanted.kind)
    if wanted.q:
        pattern = "%" + wanted.q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        query = query.where(
            or_(Job.name.ilike(pattern), Job.id == wanted.q, Job.spec["model"].astext.ilike(pattern))
        )
    if wanted.created_after:
        query = query.where(Job.created_at >= wanted.created_after)
    if wanted.created_before:
        query = query.where(Job.created_at < wanted.created_before)
    return query


def list_events(session: Session, job: Job, page: PageWish, *, oldest_first: bool = False) -> Page[JobEvent]:
    """Return a page of the job's moves, newest first by default."""
    query = select(JobEvent).where(JobEvent.job_id == job.id)
    return read_page_by_time(session, query, JobEvent, page, oldest_first=oldest_first)


def list_points(session: Session, job_id: str, after_step: int, limit: int = 20_000) -> Sequence[MetricRow]:
    """Return the job's metric points with a step above `after_step`, in order."""
    query = select(MetricRow).where(MetricRow.job_id == job_id, MetricRow.step > after_step)
    return session.scalars(query.order_by(MetricRow.step).limit(limit)).all()


def list_points_noted(session: Session, job_id: str, since: datetime, step: int) -> Sequence[MetricRow]:
    """Return the points that reached us after the one of (`since`, `step`), as they came."""
    after = tuple_(MetricRow.noted_at, MetricRow.step) > (since, step)
    query = select(MetricRow).where(MetricRow.job_id == job_id, after)
    return session.scalars(query.order_by(MetricRow.noted_at, MetricRow.step).limit(20_000)).all()


def list_gpu_samples(session: Session, job: Job, most: int = 5000) -> Sequence[GpuSample]:
    """Return how the job's devices stood over its whole time, oldest first; of very many moments every n-th."""
    of_job = GpuSample.job_id == job.id
    count = session.scalar(select(func.count()).where(of_job)) or 0
    moment = func.dense_rank().over(order_by=GpuSample.at).label("moment")
    ranked = select(GpuSample, moment).where(of_job).subquery()
    sample = aliased(GpuSample, ranked)
    query = select(sample).where((ranked.c.moment - 1) % (count // most + 1) == 0)
    return session.scalars(query.order_by(sample.at, sample.device)).all()


def list_artifacts(session: Session, job: Job, page: PageWish) -> Page[Artifact]:
    """Return a page of the job's files, by name."""
    query = select(Artifact).where(Artifact.job_id == job.id)
    return read_page(session, query, page, Artifact.name, ascending=True)


# -- changing ----------------------------------------------------------------------------------------------


def rename(session: Session, user: User, job_id: str, name: str) -> Job:
    """Give a job another name."""
    job = get_job(session, user, job_id, lock=True)
    audit.record(session, Action.JOB_RENAMED, user, target=(job.id, name), before=job.name)
    job.name = name
    return job


def stop(session: Session, user: User, job_id: str) -> Job:
    """Ask a job to stop, keeping what is trained; a queued or assigned one is cancelled at once."""
    job = get_job(session, user, job_id, lock=True)
    if JobStatus(job.status) in FINISHED:
        raise Conflict("This job is already finished.", zh="这个任务已经结束。")
    now = utc_now()
    if job.stop_requested_at is None:
        job.stop_requested_at = now
        session.flush()
        audit.record(session, Action.JOB_STOPPED, user, target=(job.id, job.name))
    if job.status in (JobStatus.QUEUED, JobStatus.ASSIGNED):
        move(
            session,
            job,
            JobStatus.CANCELLED,
            "user_cancelled",
            end_reason="user_cancelled",
            finished_at=now,
            node_id=None,
            devices=[],
        )
        queue.ring_dispatch(session)
    return job


def resume(session: Session, user: User, job_id: str) -> Job:
    """Put a cancelled or failed job back into the queue, to go on from its last checkpoint."""
    job = get_job(session, user, job_id, lock=True)
    if job.status not in (JobStatus.CANCELLED, JobStatus.FAILED):
        raise Conflict(
            "Only a cancelled or failed job can be resumed.", zh="只有已停止或失败的任务可以继续。"
        )
    if job.kind != JobKind.TRAIN or not storage.has_checkpoint(job.id):
        raise Conflict(
            "This job has no checkpoint to go on from; submit it again instead.",
            zh="这个任务没有可用的检查点，请重新提交。",
        )
    try:
        move(
            session,
            job,
            JobStatus.QUEUED,
            "resumed",
            attempt=job.attempt + 1,
            faults=0,
            end_reason=None,
            error=None,
            finished_at=None,
            stop_requested_at=None,
            node_id=None,
            devices=[],
            phase="queued",
            queued_at=utc_now(),
        )
    except StaleJob as error:
        raise Conflict(
            "The job was changed at the same moment; look at it again.",
            zh="任务状态刚刚发生了变化，请刷新后再试。",
        ) from error
    audit.record(session, Action.JOB_RESUMED, user, target=(job.id, job.name))
    queue.ring_dispatch(session)
    return job


def delete(session: Session, user: User, job_id: str) -> None:
    """Delete a finished job and all its files."""
    job = get_job(session, user, job_id, lock=True)
    if JobStatus(job.status) not in FINISHED:
        raise Conflict("This job is not finished; stop it first.", zh="任务尚未结束，请先停止。")
    if is_model_in_use(session, job):
        raise Conflict(
            "An evaluation that is not finished uses this job's model; wait for it or stop it.",
            zh="有尚未结束的评估任务正在使用该任务的模型，请等待其结束或先停止它。",
        )
    session.delete(job)
    session.flush()
    audit.record(session, Action.JOB_DELETED, user, target=(job.id, job.name))
    storage.delete_job_folder(job.id)


def is_model_in_use(session: Session, job: Job) -> bool:
    """Whether a job that has not ended reads this one's results or checkpoints."""
    paths = (Job.launch["adapter_path"].astext, Job.launch["model_path"].astext)
    inside = or_(*(path.startswith(f"jobs/{job.id}/", autoescape=True) for path in paths))
    unfinished = Job.status.in_([JobStatus.QUEUED, *ACTIVE])
    return session.scalars(select(Job.id).where(unfinished, inside)).first() is not None
