"""A person's files, and beside them, to be read only, what their jobs left: the folder `jobs`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from backend import storage_files
from backend.domain.audit import Action
from backend.domain.errors import Conflict, Invalid, NotFound, Problem
from backend.domain.file_names import split_path
from backend.services import audit, jobs, results
from backend.storage_files import Entry, stream_zip
from backend.tables.artifact import Artifact
from backend.tables.job import Job
from backend.tables.user import User

__all__ = [
    "JOBS_FOLDER",
    "Content",
    "delete",
    "get_content",
    "list_entries",
    "make_folder",
    "rename",
    "stream_zip",
]

JOBS_FOLDER = "jobs"
_MOST_JOBS = 1000


@dataclass(frozen=True)
class Content:
    """What a download gives: one file, or the files of a folder that are streamed as a zip."""

    name: str
    path: Path | None
    tree: Iterator[tuple[str, Path]] | None


def list_entries(session: Session, user: User, path: str) -> tuple[str, list[Entry]]:
    """Return the path as it is kept, and what lies there."""
    parts = split_path(path)
    if parts[:1] == (JOBS_FOLDER,):
        return "/".join(parts), _list_results(session, user, parts[1:])
    entries = storage_files.list_entries(user.id, parts)
    if not parts:
        found = _list_jobs(session, user)
        newest = [Entry(JOBS_FOLDER, "folder", 0, found[0].created_at)] if found else []
        entries = newest + entries
    return "/".join(parts), entries


def make_folder(session: Session, user: User, path: str) -> str:
    """Make a folder, and those above it."""
    parts = _split_writable(path, "path")
    storage_files.make_folder(user.id, parts)
    audit.record(session, Action.FILE_CHANGED, user, what="folder", path="/".join(parts))
    return "/".join(parts)


def rename(session: Session, user: User, path: str, new_path: str) -> str:
    """Give a file or folder another name or place."""
    parts, new_parts = _split_writable(path, "path"), _split_writable(new_path, "new_path")
    storage_files.rename(user.id, parts, new_parts)
    audit.record(
        session, Action.FILE_CHANGED, user, what="rename", path="/".join(parts), new_path="/".join(new_parts)
    )
    return "/".join(new_parts)


def delete(session: Session, user: User, path: str) -> None:
    """Remove a file, or a folder with all it holds."""
    parts = _split_writable(path, "path")
    storage_files.delete(user.id, parts)
    audit.record(session, Action.FILE_DELETED, user, path="/".join(parts))


def _split_writable(path: str, loc: str) -> tuple[str, ...]:
    parts = split_path(path, loc)
    if not parts:
        raise Invalid([Problem((loc,), "name a file or a folder", "请指定文件或文件夹")])
    if parts[0] == JOBS_FOLDER:
        raise Conflict(
            "Jobs' results cannot be changed here; delete the job to remove them.",
            zh="任务结果在此只读；如需删除，请删除对应任务。",
            code="read_only",
        )
    return parts


def get_content(session: Session, user: User, path: str) -> Content:
    """Return the file, or the folder's files, at a path."""
    parts = split_path(path)
    if parts[:1] == (JOBS_FOLDER,):
        return _get_result(session, user, parts[1:])
    found = storage_files.find_path(user.id, parts)
    if found.is_dir():
        return Content(parts[-1] if parts else "files", None, storage_files.list_tree(found))
    return Content(found.name, found, None)


# -- what jobs left ----------------------------------------------------------------------------------------


def _list_jobs(session: Session, user: User) -> Sequence[Job]:
    """Return the person's newest jobs that left files."""
    has_files = select(Artifact.job_id).where(Artifact.job_id == Job.id).exists()
    query = select(Job).where(Job.owner_id == user.id, has_files).order_by(Job.id.desc()).limit(_MOST_JOBS)
    return session.scalars(query).all()


def _name_job(job: Job) -> str:
    """The id tells jobs of one name apart; a slash in a name would be a folder."""
    name = "".join("_" if letter in "/\\" or not letter.isprintable() else letter for letter in job.name)
    return f"{name[:60].strip()}-{job.id}"


def _find_job(session: Session, user: User, name: str) -> Job:
    job = jobs.get_job(session, user, name.rpartition("-")[2])
    if job.owner_id != user.id:
        raise NotFound("There is no such file or folder.", zh="没有这个文件或文件夹。")
    return job


def _list_results(session: Session, user: User, parts: tuple[str, ...]) -> list[Entry]:
    if not parts:
        return [Entry(_name_job(job), "folder", 0, job.created_at) for job in _list_jobs(session, user)]
    job = _find_job(session, user, parts[0])
    folders: set[str] = set()
    files: list[Entry] = []
    for artifact, inner in _list_below(session, job, parts[1:]):
        name, slash, _ = inner.partition("/")
        if slash:
            folders.add(name)
        elif name:
            files.append(Entry(name, "file", artifact.size_bytes, job.created_at))
    if not folders and not files:
        raise NotFound("There is no such file or folder.", zh="没有这个文件或文件夹。")
    return [Entry(name, "folder", 0, job.created_at) for name in sorted(folders)] + files


def _list_below(session: Session, job: Job, parts: tuple[str, ...]) -> Iterator[tuple[Artifact, str]]:
    """Yield the job's files in a folder, with their paths below it."""
    prefix = "".join(f"{part}/" for part in parts)
    query = select(Artifact).where(Artifact.job_id == job.id).order_by(Artifact.name)
    for artifact in session.scalars(query):
        if artifact.name.startswith(prefix):
            yield artifact, artifact.name.removeprefix(prefix)


def _get_result(session: Session, user: User, parts: tuple[str, ...]) -> Content:
    if not parts:
        raise Conflict("Choose one job to download.", zh="请选择一个任务下载。")
    job = _find_job(session, user, parts[0])
    below = list(_list_below(session, job, parts[1:]))
    if below:
        files = [(inner, results.get_artifact_path(session, job, artifact.name)) for artifact, inner in below]
        return Content(parts[-1], None, iter(files))
    path = results.get_artifact_path(session, job, "/".join(parts[1:]))
    return Content(path.name, path, None)
