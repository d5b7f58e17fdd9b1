"""What jobs leave to read: logs, predictions, artifacts, and comparisons of several jobs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy.orm import Session

from backend import storage
from backend.database import transaction
from backend.domain.comparison import RowChoice, is_exact_match, is_row_chosen
from backend.domain.errors import Conflict, Invalid, NotFound, Problem
from backend.domain.job import FINISHED, JobKind, JobStatus
from backend.domain.spec import clean_prompt
from backend.services import catalogue, jobs
from backend.tables.artifact import Artifact
from backend.tables.dataset import Dataset
from backend.tables.job import Job
from backend.tables.user import User

MAX_COMPARED = 8


def read_log(job: Job, offset: int, limit: int, node_rank: int = 0) -> tuple[bytes, int, bool]:
    """Return bytes of one node's log from `offset`, the next offset, and whether nothing can follow."""
    data = storage.read_log(job.id, offset, limit, node_rank=node_rank)
    finished = JobStatus(job.status) in FINISHED
    size = storage.measure_log(job.id, node_rank)
    if finished and not data and offset < size:
        # The log of a finished job may end in half a character; it is given as it is.
        data = storage.read_log(job.id, offset, limit, node_rank=node_rank, whole_characters=False)
    following = offset + len(data)
    return data, following, finished and following >= size


def measure_log(job: Job, node_rank: int = 0) -> int:
    """Return the bytes of one node's log as it is now, over all attempts."""
    return storage.measure_log(job.id, node_rank)


@dataclass(frozen=True)
class BoardSource:
    """What a job's board shows: the attempts' folders of SwanLab's local mode, oldest first."""

    swanlogs: list[Path]
    is_ended: bool


def get_board(user_id: str, job_id: str) -> BoardSource:
    """Return what the board of a job shows, if this user may see the job.

    In a transaction of its own: a board may take a while to start, and nothing of the database must wait for it.
    """
    with transaction() as session:
        job = jobs.get_job(session, session.get_one(User, user_id), job_id)
        return BoardSource(storage.list_swanlogs(job.id), JobStatus(job.status) in FINISHED)


def list_predictions(job: Job, offset: int, limit: int) -> list[dict[str, str]]:
    """Return predictions of an evaluate job, in the order of its dataset."""
    if job.kind != JobKind.EVALUATE:
        raise Conflict("Only evaluate jobs make predictions.", zh="只有评估任务有预测结果。")
    rows = storage.read_predictions(job.id, job.attempt, offset, limit)
    return [{name: str(row.get(name, "")) for name in ("prompt", "predict", "label")} for row in rows]


def get_artifact_path(session: Session, job: Job, name: str) -> Path:
    """Return where a file of the job lies; only files it registered can be had."""
    row = session.get(Artifact, (job.id, name))
    if row is None:
        raise NotFound("This job has no such file.", zh="这个任务没有该文件。")
    path = storage.resolve(storage.get_attempt_folder(job.id, row.attempt) / "output", name)
    if not path.is_file():
        raise NotFound("This file is gone.", zh="该文件已不存在。")
    return path


def compare(
    session: Session,
    user: User,
    job_ids: Sequence[str],
    offset: int,
    limit: int,
    rows_wanted: RowChoice = "all",
) -> dict[str, Any]:
    """Lay jobs of one kind side by side: evaluations with their rows, train jobs with their curves.

    `offset` counts the rows that are wanted, not those of the dataset.
    """
    if not 1 <= len(job_ids) <= MAX_COMPARED or len(set(job_ids)) != len(job_ids):
        raise Invalid(
            [
                Problem(
                    ("query", "jobs"),
                    f"name 1 to {MAX_COMPARED} different jobs, joined by commas",
                    f"请选择 1 到 {MAX_COMPARED} 个不同的任务",
                )
            ]
        )
    compared = [jobs.get_job(session, user, job_id) for job_id in job_ids]
    kinds = {job.kind for job in compared}
    if len(kinds) > 1:
        raise Invalid(
            [
                Problem(
                    ("query", "jobs"),
                    "compare evaluations with each other, or train jobs",
                    "只能评估任务之间对比，或微调任务之间对比",
                )
            ]
        )
    if kinds == {JobKind.EVALUATE.value}:
        return _compare_evaluations(session, user, compared, offset, limit, rows_wanted)
    return _compare_training(session, compared)


def _compare_evaluations(
    session: Session, user: User, compared: list[Job], offset: int, limit: int, rows_wanted: RowChoice
) -> dict[str, Any]:
    answered = list(itertools.islice(_iterate_answers(compared, rows_wanted), offset, offset + limit + 1))
    sources = _find_source_rows(session, user, compared, [index for index, *_ in answered[:limit]])
    rows = []
    for index, first, answers in answered[:limit]:
        source = sources.get(index, {})
        rows.append(
            {
                "index": index,
                "prompt": source.get("prompt") or clean_prompt(first["prompt"]),
                "label": first["label"],
                "images": source.get("images", []),
                "predictions": answers,
            }
        )
    summaries = [_summarize(job) | {"answers": _count_answers(job)} for job in compared]
    return {"jobs": summaries, "rows": rows, "has_more": len(answered) > limit}


def _iterate_answers(
    compared: list[Job], wanted: RowChoice
) -> Iterator[tuple[int, dict[str, str], list[str | None]]]:
    """Yield the wanted rows: index, the first job's row that is there, and every job's answer."""
    files = [storage.iterate_predictions(job.id, job.attempt) for job in compared]
    for index, found in enumerate(itertools.zip_longest(*files)):
        first = {name: str(next(row for row in found if row).get(name, "")) for name in ("prompt", "label")}
        answers = [str(row.get("predict", "")) if row else None for row in found]
        if is_row_chosen(wanted, first["label"], answers):
            yield index, first, answers


def _count_answers(job: Job) -> dict[str, int]:
    """Return how many answers a finished evaluation gave, and how many are exactly the label."""
    return dict(_count_exact_answers(job.id, job.attempt, job.status))


@lru_cache(maxsize=256)
def _count_exact_answers(job_id: str, attempt: int, status: str) -> tuple[tuple[str, int], ...]:
    right = [
        is_exact_match(str(row.get("predict", "")), str(row.get("label", "")))
        for row in storage.iterate_predictions(job_id, attempt)
    ]
    return (("total", len(right)), ("exact", sum(right)))


def _summarize(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "name": job.name,
        "metrics": job.results,
        "model": job.spec["model"],
        "adapter": job.spec.get("adapter"),
        "datasets": job.spec["datasets"],
    }


def _find_source_rows(
    session: Session, user: User, compared: list[Job], numbers: list[int]
) -> dict[int, dict[str, Any]]:
    """Return questions and pictures of these rows of the one dataset that all jobs predicted whole, row by row.

    LLaMA-Factory predicts a dataset's rows in order; with several datasets or a cut they may not line up,
    and then no pictures are shown rather than wrong ones.
    """
    names = {tuple(job.spec["datasets"]) for job in compared}
    if len(names) != 1 or len(only := next(iter(names))) != 1:
        return {}
    try:
        dataset = catalogue.get_dataset(session, user, only[0])
        _, total = catalogue.list_rows(dataset, 0, 1)
        expected = min(total, *(int(job.spec["args"].get("max_samples") or total) for job in compared))
        if any(storage.count_predictions(job.id, job.attempt) != expected for job in compared):
            return {}
        rows = catalogue.list_rows_at(dataset, numbers)
    except (NotFound, Conflict):  # gone, or not to be read any more
        return {}
    return {row["index"]: _show_source(dataset, row) for row in rows}


def _show_source(dataset: Dataset, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "prompt": _get_question(row),
        "images": [build_media_url(dataset, image) for image in row["images"]],
    }


def _get_question(row: dict[str, Any]) -> str:
    questions = [message["content"] for message in row["messages"] if message["role"] == "user"]
    return str(questions[-1]).replace("<image>", "").strip() if questions else ""


def build_media_url(dataset: Dataset, item: str | dict[str, Any]) -> str:
    """Return where a browser gets a picture of a dataset: a file by its path, or what a row holds itself."""
    base = f"/api/v1/datasets/{quote(dataset.id, safe='')}"
    if isinstance(item, str):
        return f"{base}/media/{quote(item)}"
    return f"{base}/rows/{item['row']}/media/{item['kind']}/{item['place']}"


def _compare_training(session: Session, compared: list[Job]) -> dict[str, Any]:
    summaries = []
    for job in compared:
        spec_args = [other.spec["args"] for other in compared]
        changed = {
            name: job.spec["args"].get(name)
            for name in sorted(set().union(*spec_args))
            if len({repr(args.get(name)) for args in spec_args}) > 1
        }
        started, finished = job.started_at, job.finished_at
        duration = (finished - started) / timedelta(seconds=1) if started and finished else None
        summaries.append(
            _summarize(job) | {"changed_args": changed, "cost_e4": job.cost_e4, "duration_seconds": duration}
        )
    curves = {
        job.id: [
            {"step": point.step, "loss": point.loss, "eval_loss": point.eval_loss}
            for point in jobs.list_points(session, job.id, -1)
        ]
        for job in compared
    }
    return {"jobs": summaries, "curves": curves}
