"""Jobs: submit, list, read, stop, resume, rename, delete."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import FileResponse

from backend.domain.comparison import RowChoice
from backend.domain.job import MAX_NODES
from backend.domain.spec import Body, JobBody, JobName, Moment
from backend.services import idempotency, jobs, nodes, results, scheduling, submission
from backend.services.jobs import JobFilter
from backend.tables.artifact import Artifact
from backend.tables.job import Job
from backend.web.api import shapes
from backend.web.api.idempotency import Key
from backend.web.api.paging import Paging, show_page
from backend.web.deps import DatabaseSession, SignedIn

router = APIRouter(tags=["jobs"])

JobId = Annotated[str, Path(pattern=r"^[a-z0-9]{8,40}$")]
Limit = Annotated[int, Query(ge=1, le=100)]
Offset = Annotated[int, Query(ge=0, le=2**53)]


def _show(session: DatabaseSession, job: Job) -> dict[str, Any]:
    prospect = scheduling.find_prospect(session, job)
    return shapes.show_job(job, prospect=prospect, node_name=nodes.find_name(session, job.node_id))


@router.post("/jobs", status_code=201)
def submit_job(
    body: JobBody, user: SignedIn, session: DatabaseSession, response: Response, key: Key = None
) -> dict[str, Any]:
    """Check a job whole and queue it."""

    def create() -> str:
        return jobs.submit(session, user, submission.prepare_job(session, user, body)).id

    job_id = idempotency.create_once(session, user.id, key, "jobs", body.model_dump_json(), create)
    response.headers["Location"] = f"/api/v1/jobs/{job_id}"
    return _show(session, jobs.get_job(session, user, job_id))


@router.post("/estimates")
def estimate(body: JobBody, user: SignedIn, session: DatabaseSession) -> dict[str, Any]:
    """Say what a job would take, without queuing it."""
    return submission.prepare_job(session, user, body).estimate


@router.post("/configs")
def preview_config(body: JobBody, user: SignedIn, session: DatabaseSession) -> Response:
    """Return the YAML that a job would run."""
    return Response(submission.prepare_job(session, user, body).config_yaml, media_type="text/yaml")


@router.get("/jobs")
def list_jobs(
    user: SignedIn,
    session: DatabaseSession,
    kind: Annotated[str | None, Query(max_length=20)] = None,
    status: Annotated[str | None, Query(max_length=100)] = None,
    q: Annotated[str | None, Query(max_length=200)] = None,
    created_after: Moment | None = None,
    created_before: Moment | None = None,
    sort: Literal["created_at", "-created_at"] = "-created_at",
    after: Annotated[str | None, Query(max_length=40)] = None,
    limit: Limit = 20,
) -> dict[str, Any]:
    """Return the asker's jobs, newest first, and how many stand in each status."""
    statuses = tuple(status.split(",")) if status else ()
    wanted = JobFilter(kind, statuses, q, created_after, created_before)
    found, has_more = jobs.list_jobs(session, user, wanted, sort=sort, after=after, limit=limit)
    prospects = scheduling.find_prospects(session, found)
    shown = [
        shapes.show_job(job, prospect=prospects.get(job.id), node_name=nodes.find_name(session, job.node_id))
        for job in found
    ]
    return {
        "data": shown,
        "has_more": has_more,
        "next": found[-1].id if has_more else None,
        "counts": jobs.count_jobs(session, user, wanted),
    }


@router.get("/jobs/{job_id}")
def get_job(job_id: JobId, user: SignedIn, session: DatabaseSession) -> dict[str, Any]:
    """Return one job."""
    return _show(session, jobs.get_job(session, user, job_id))


class JobChange(Body):
    """What of a job can be changed."""

    name: JobName


@router.patch("/jobs/{job_id}")
def rename_job(job_id: JobId, body: JobChange, user: SignedIn, session: DatabaseSession) -> dict[str, Any]:
    """Give a job another name."""
    return _show(session, jobs.rename(session, user, job_id, body.name))


@router.delete("/jobs/{job_id}", status_code=204)
def delete_job(job_id: JobId, user: SignedIn, session: DatabaseSession) -> None:
    """Delete a finished job and its files."""
    jobs.delete(session, user, job_id)


class StopBody(Body):
    """`keep` says that what is trained so far shall be kept; the platform always keeps it."""

    keep: Literal[True] = True


@router.post("/jobs/{job_id}/stop", status_code=202)
def stop_job(
    job_id: JobId, user: SignedIn, session: DatabaseSession, body: StopBody | None = None
) -> dict[str, Any]:
    """Ask a job to stop; it keeps what is trained."""
    return _show(session, jobs.stop(session, user, job_id))


@router.post("/jobs/{job_id}/resume", status_code=202)
def resume_job(job_id: JobId, user: SignedIn, session: DatabaseSession) -> dict[str, Any]:
    """Let a cancelled or failed job go on from its last checkpoint."""
    return _show(session, jobs.resume(session, user, job_id))


@router.get("/jobs/{job_id}/config")
def get_config(job_id: JobId, user: SignedIn, session: DatabaseSession) -> Response:
    """Return the YAML that LLaMA-Factory is given."""
    return Response(jobs.get_job(session, user, job_id).config_yaml, media_type="text/yaml")


@router.get("/jobs/{job_id}/events")
def list_events(
    job_id: JobId,
    user: SignedIn,
    session: DatabaseSession,
    paging: Paging,
    sort: Literal["created_at", "-created_at"] = "-created_at",
) -> dict[str, Any]:
    """Return the job's moves, newest first."""
    job = jobs.get_job(session, user, job_id)
    page = jobs.list_events(session, job, paging, oldest_first=sort == "created_at")
    return show_page(page, shapes.show_event)


@router.get("/jobs/{job_id}/logs")
def read_log(
    job_id: JobId,
    user: SignedIn,
    session: DatabaseSession,
    offset: Offset = 0,
    limit: Annotated[int, Query(ge=1, le=8 << 20)] = 1 << 20,
    node_rank: Annotated[int, Query(ge=0, lt=MAX_NODES)] = 0,
) -> Response:
    """Return bytes of the log; `X-Log-Size` says where it ends now, for who wants to begin near there.

    Of a job over several nodes, rank 0's is the job's log and `node_rank` names another's.
    """
    job = jobs.get_job(session, user, job_id)
    data, following, complete = results.read_log(job, offset, limit, node_rank)
    headers = {
        "X-Log-Next-Offset": str(following),
        "X-Log-Complete": "true" if complete else "false",
        "X-Log-Size": str(results.measure_log(job, node_rank)),
    }
    return Response(data, media_type="text/plain; charset=utf-8", headers=headers)


@router.get("/jobs/{job_id}/metrics")
def list_metrics(
    job_id: JobId,
    user: SignedIn,
    session: DatabaseSession,
    after_step: Annotated[int, Query(ge=-1, le=2**31 - 1)] = -1,
) -> dict[str, Any]:
    """Return the job's metric points above a step."""
    job = jobs.get_job(session, user, job_id)
    return {"points": [shapes.show_point(point) for point in jobs.list_points(session, job.id, after_step)]}


@router.get("/jobs/{job_id}/metrics/gpu")
def list_gpu_samples(job_id: JobId, user: SignedIn, session: DatabaseSession) -> dict[str, Any]:
    """Return use, memory and power of the job's devices."""
    job = jobs.get_job(session, user, job_id)
    samples = [
        {
            "at": shapes.show_time(sample.at),
            "device": sample.device,
            "utilization": sample.utilization,
            "memory_used_bytes": sample.memory_used_bytes,
            "power_watts": sample.power_watts,
        }
        for sample in jobs.list_gpu_samples(session, job)
    ]
    return {"points": samples}


@router.get("/jobs/{job_id}/results")
def get_results(job_id: JobId, user: SignedIn, session: DatabaseSession) -> dict[str, Any]:
    """Return the results as LLaMA-Factory names them."""
    return jobs.get_job(session, user, job_id).results


@router.get("/jobs/{job_id}/predictions")
def list_predictions(
    job_id: JobId, user: SignedIn, session: DatabaseSession, offset: Offset = 0, limit: Limit = 20
) -> dict[str, Any]:
    """Return an evaluate job's predictions."""
    job = jobs.get_job(session, user, job_id)
    rows = results.list_predictions(job, offset, limit + 1)
    return {"data": rows[:limit], "has_more": len(rows) > limit}


@router.get("/jobs/{job_id}/artifacts")
def list_artifacts(job_id: JobId, user: SignedIn, session: DatabaseSession, paging: Paging) -> dict[str, Any]:
    """Return the job's files."""
    job = jobs.get_job(session, user, job_id)
    return show_page(jobs.list_artifacts(session, job, paging), _show_artifact, "name")


def _show_artifact(file: Artifact) -> dict[str, Any]:
    return {
        "name": file.name,
        "size_bytes": file.size_bytes,
        "attempt": file.attempt,
        "url": f"/api/v1/jobs/{file.job_id}/artifacts/{quote(file.name)}",
    }


@router.get("/jobs/{job_id}/artifacts/{name:path}")
def get_artifact(job_id: JobId, name: str, user: SignedIn, session: DatabaseSession) -> FileResponse:
    """Stream one file; `Range` is understood."""
    job = jobs.get_job(session, user, job_id)
    path = results.get_artifact_path(session, job, name)
    return FileResponse(
        path,
        media_type="application/octet-stream",
        filename=path.name,
        headers={"Content-Security-Policy": "sandbox"},
    )


@router.get("/compare")
def compare_jobs(
    user: SignedIn,
    session: DatabaseSession,
    jobs_wanted: Annotated[str, Query(alias="jobs", min_length=1, max_length=400)],
    rows: RowChoice = "all",
    offset: Offset = 0,
    limit: Limit = 20,
) -> dict[str, Any]:
    """Lay jobs of one kind side by side; `rows` chooses those where the answers differ, or who was right."""
    wanted = [part for part in jobs_wanted.split(",") if part]
    compared = results.compare(session, user, wanted, offset, limit, rows)
    return shapes.show_comparison(compared)
