"""The files under TUNEFORGE_HOME that the backend reads: models, datasets, attempts, logs and artifacts."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from backend.domain.errors import NotFound
from backend.settings import get_settings

FACTS_FILE = "tuneforge.json"
MAX_FACTS_BYTES = 4 << 20


def get_home() -> Path:
    """Return TUNEFORGE_HOME."""
    return get_settings().home


def resolve(root: Path, name: str) -> Path:
    """Return the path of `name` below `root`.

    Raises NotFound for what is not there, and for anything that would lead out of it, by `..`, an absolute
    path or a link.
    """
    parts = PurePosixPath(name).parts
    if not parts or "\0" in name or PurePosixPath(name).is_absolute() or ".." in parts:
        raise NotFound("There is no such file.")
    path = root.joinpath(*parts)
    try:
        inside = path.resolve(strict=True).is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # not there, a name too long, a circle of links
        inside = False
    if not inside:
        raise NotFound("There is no such file.")
    return path


def has_file(root: Path, name: str) -> bool:
    """Whether `name` says a file below `root`; quicker than `resolve`, as it follows links out of it."""
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts:
        return False
    try:
        return (root / parts).is_file()
    except (OSError, ValueError):  # a name too long, a NUL character
        return False


def list_facts(kind: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield (folder, facts) of everything ready in `models` or `datasets`; the unreadable is passed over."""
    root = get_home() / kind
    if not root.is_dir():
        return
    for folder in sorted(root.iterdir()):
        facts = read_json(folder / FACTS_FILE)
        if isinstance(facts, dict) and not folder.name.startswith("."):
            yield folder, facts


def list_undescribed(kind: str) -> Iterator[Path]:
    """Yield the folders in `models` or `datasets` that have no facts, but hidden ones, which are drafts."""
    root = get_home() / kind
    if not root.is_dir():
        return
    for folder in sorted(root.iterdir()):
        if not folder.name.startswith(".") and folder.is_dir() and not (folder / FACTS_FILE).exists():
            yield folder


def read_json(path: Path) -> Any:
    """Return what the JSON file holds, or None when it is absent, too large or not JSON."""
    try:
        if path.stat().st_size > MAX_FACTS_BYTES:
            return None
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def measure_folder(folder: Path) -> int:
    """Return the bytes of all regular files below `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


# -- attempts ----------------------------------------------------------------------------------------------


def get_job_folder(job_id: str) -> Path:
    """Return the folder that holds a job's attempts."""
    return get_home() / "jobs" / job_id


def get_attempt_folder(job_id: str, attempt: int) -> Path:
    """Return one attempt's folder."""
    return get_job_folder(job_id) / "attempts" / str(attempt)


def delete_job_folder(job_id: str) -> None:
    """Remove all that a job left on disk; links are removed, never followed."""
    folder = get_job_folder(job_id)
    if folder.is_dir():
        shutil.rmtree(folder)


def list_swanlogs(job_id: str) -> list[Path]:
    """Return the folders of SwanLab's local mode, one per attempt that has one, oldest first."""
    root = get_job_folder(job_id) / "attempts"
    folders = (root / str(attempt) / "swanlog" for attempt in _list_attempts(job_id))
    return [folder for folder in folders if folder.is_dir()]


def _list_attempts(job_id: str) -> list[int]:
    root = get_job_folder(job_id) / "attempts"
    if not root.is_dir():
        return []
    return sorted(int(entry.name) for entry in root.iterdir() if entry.name.isdigit())


def has_checkpoint(job_id: str) -> bool:
    """Whether any attempt of the job left a checkpoint folder."""
    root = get_job_folder(job_id) / "attempts"
    return any(root.glob("*/output/checkpoint-*/trainer_state.json"))


def list_checkpoints(job_id: str) -> list[tuple[int, int]]:
    """Return (attempt, step) of every checkpoint folder of the job."""
    root = get_job_folder(job_id) / "attempts"
    names = [(path.parts[-3], path.name.partition("-")[2]) for path in root.glob("*/output/checkpoint-*")]
    return sorted(
        (int(attempt), int(step)) for attempt, step in names if attempt.isdigit() and step.isdigit()
    )


def delete_checkpoint(job_id: str, attempt: int, step: int) -> None:
    """Remove one checkpoint of an attempt; that it is gone already does no harm."""
    shutil.rmtree(get_attempt_folder(job_id, attempt) / "output" / f"checkpoint-{step}", ignore_errors=True)


# -- logs --------------------------------------------------------------------------------------------------


def measure_log(job_id: str, node_rank: int = 0) -> int:
    """Return the size in bytes of a job's log over all attempts, as it was written on one of its nodes."""
    return sum(size for _, size in _list_logs(job_id, node_rank))


def _list_logs(job_id: str, node_rank: int) -> list[tuple[Path, int]]:
    name = f"nodes/{node_rank}/job.log" if node_rank else "job.log"
    paths = (get_attempt_folder(job_id, attempt) / name for attempt in _list_attempts(job_id))
    return [(path, path.stat().st_size) for path in paths if path.is_file() and not path.is_symlink()]


def read_log(
    job_id: str, offset: int, limit: int, *, node_rank: int = 0, whole_characters: bool = True
) -> bytes:
    """Return up to `limit` bytes of the job's log from byte `offset`, running on across attempts.

    The cut falls between UTF-8 characters: the part of one at the end of what is written so far is left for
    later. A limit below 4 counts as 4, so that any character fits.
    """
    pieces: list[bytes] = []
    wanted, start = max(limit, 4), offset
    for path, size in _list_logs(job_id, node_rank):
        if start >= size:
            start -= size
            continue
        with path.open("rb") as file:
            file.seek(start)
            piece = file.read(min(wanted, size - start))
        pieces.append(piece)
        wanted -= len(piece)
        start = 0
        if wanted <= 0:
            break
    data = b"".join(pieces)
    return trim_partial_character(data) if whole_characters else data


def trim_partial_character(data: bytes) -> bytes:
    """Return `data` without the beginning of a UTF-8 character that its end cuts in two."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0b1100_0000 == 0b1000_0000:
            continue
        length = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
        return data[:-back] if length > back else data
    return data


# -- predictions -------------------------------------------------------------------------------------------


def read_predictions(job_id: str, attempt: int, offset: int, limit: int) -> list[dict[str, str]]:
    """Return rows `offset` … `offset + limit` of an evaluate job's `generated_predictions.jsonl`."""
    return list(itertools.islice(iterate_predictions(job_id, attempt), offset, offset + limit))


def iterate_predictions(job_id: str, attempt: int) -> Iterator[dict[str, str]]:
    """Yield all rows of an evaluate job's predictions, in the order of its dataset.

    A line that is no row ends them: it is still being written, or the run ended in it.
    """
    path = get_attempt_folder(job_id, attempt) / "output" / "generated_predictions.jsonl"
    if not path.is_file():
        return
    with path.open("rb") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                return
            if not isinstance(row, dict):
                return
            yield row


@lru_cache(maxsize=256)
def _count_lines(path: str, mtime_ns: int) -> int:
    with Path(path).open("rb") as lines:
        return sum(1 for line in lines if line.strip())


def count_predictions(job_id: str, attempt: int) -> int:
    """Return how many predictions an evaluate job made."""
    path = get_attempt_folder(job_id, attempt) / "output" / "generated_predictions.jsonl"
    return _count_lines(str(path), path.stat().st_mtime_ns) if path.is_file() else 0
