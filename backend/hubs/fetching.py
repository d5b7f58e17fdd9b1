"""A repository into a folder: what lies there already is not asked for again, what is whole has been verified.

A file is written as `<name>.part` and gets its name once size and hash are right. So a process may be killed at any
moment, and another goes on from the byte that the first one reached.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import httpx

from backend.domain.hub_files import RepoFile, choose_dataset_files, choose_model_files, require_safe_names
from backend.domain.hub_splits import (
    ROW_SUFFIXES,
    Subset,
    choose_split,
    drop_others,
    list_subsets,
    require_no_script,
)
from backend.hubs import faults
from backend.hubs.connection import HubConnection, read_address
from backend.hubs.protocols import HubSource, Repository, build_file_path, read_repository
from backend.settings import get_settings

STATE_FILE = ".tuneforge-download.json"
_BLOCK = 1 << 20
MOST_TRIES = 5
"""So often may a request fail in a row; bytes that arrive start the count anew."""
_WAITS = (0.5, 2.0, 5.0, 15.0)
_LONGEST_WAIT = 120.0

OnProgress = Callable[[int, int], None]
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Snapshot:
    """What was fetched: the commit it is pinned to, its files, and the licence the hub names. `rows` are the paths of one
    split's data files where the repository has more than one split."""

    commit: str
    files: list[RepoFile]
    total_bytes: int
    licence: str | None
    rows: list[str] = field(default_factory=list)


def fetch(
    source: HubSource,
    draft: Path,
    on_progress: OnProgress,
    before: Callable[[int], None] = lambda total: None,
) -> Snapshot:
    """Bring a repository into the folder `draft`, going on from what lies there.

    `on_progress(received_bytes, total_bytes)` is called after each block and may raise to stop; `before(total_bytes)`
    is called once before the first byte, and may refuse. Raises HubFault, Conflict, and whatever those two raise.
    """
    draft.mkdir(parents=True, exist_ok=True)
    with HubConnection(read_address(source.hub)) as connection:
        snapshot = _read_state(draft, source) or _begin(connection, source, draft)
        before(snapshot.total_bytes)
        progress = _Progress(snapshot, draft, on_progress)
        for file in snapshot.files:
            if not _is_whole(draft / file.path, file):
                _fetch_file(connection, source, snapshot.commit, file, draft, progress)
    (draft / STATE_FILE).unlink()
    return snapshot


class _Progress:
    """Counts bytes over all files."""

    def __init__(self, snapshot: Snapshot, draft: Path, on_progress: OnProgress) -> None:
        self.total, self._tell = snapshot.total_bytes, on_progress
        self.received = sum(
            file.size_bytes if _is_whole(draft / file.path, file) else _measure(_name_part(draft, file))
            for file in snapshot.files
        )
        self.add(0)

    def add(self, count: int) -> None:
        self.received += count
        self._tell(self.received, self.total)


# -- what is fetched ---------------------------------------------------------------------------------------


def _begin(connection: HubConnection, source: HubSource, draft: Path) -> Snapshot:
    """Ask the hub what there is, and write down which commit this download is of."""
    repository = _ask(connection, source, lambda: read_repository(connection, source))
    require_safe_names(repository.files)
    files, rows = (
        _choose_data(source, repository) if source.kind == "dataset" else (_choose(source, repository), [])
    )
    total = sum(file.size_bytes for file in files)
    snapshot = Snapshot(repository.commit, files, total, repository.licence, rows)
    state = {"source": asdict(source), **asdict(snapshot)}
    unfinished = draft / f"{STATE_FILE}.part"
    unfinished.write_text(json.dumps(state))
    unfinished.replace(draft / STATE_FILE)
    return snapshot


def list_dataset(source: HubSource) -> tuple[Repository, list[Subset]]:
    """Return what a dataset's repository holds, without a byte of its files. Raises HubFault and Conflict, and soon."""
    with HubConnection(read_address(source.hub)) as connection:
        repository = _ask(connection, source, lambda: read_repository(connection, source), most_tries=2)
    require_safe_names(repository.files)
    require_no_script(repository.files, source.repo_id)
    return repository, list_subsets(choose_dataset_files(repository.files), repository.card)


def _choose_data(source: HubSource, repository: Repository) -> tuple[list[RepoFile], list[str]]:
    """Return the files to fetch, and which of them are the rows where others are left out."""
    require_no_script(repository.files, source.repo_id)
    files = choose_dataset_files(repository.files)
    subsets = list_subsets(files, repository.card)
    is_wished = source.subset is not None or source.split is not None
    is_described = any(file.path == "dataset_info.json" for file in files)
    is_single = len(subsets) < 2 and all(len(subset.splits) < 2 for subset in subsets)
    if not is_wished and (source.whole or is_described or is_single):
        return files, []
    _, chosen = choose_split(subsets, source.subset, source.split)
    rows = [file.path for file in chosen.files if PurePosixPath(file.path).suffix in ROW_SUFFIXES]
    return drop_others(files, subsets, chosen), rows


def _choose(source: HubSource, repository: Repository) -> list[RepoFile]:
    settings = get_settings()
    return choose_model_files(
        repository.files,
        pickled_weights=settings.pickled_weights == "on",
        code=f"{source.repo_id}@{repository.commit}" in settings.trusted_model_code.split(","),
    )


def _read_state(draft: Path, source: HubSource) -> Snapshot | None:
    """Return what an earlier process began here, if it was the same repository; else what it left is not used."""
    try:
        state: dict[str, Any] = json.loads((draft / STATE_FILE).read_text())
    except (OSError, ValueError):
        return None
    if state.pop("source") != asdict(source):
        return None
    files = [RepoFile(**file) for file in state.pop("files")]
    return Snapshot(files=files, **state)


# -- one file ----------------------------------------------------------------------------------------------


def _fetch_file(
    connection: HubConnection,
    source: HubSource,
    commit: str,
    file: RepoFile,
    draft: Path,
    progress: _Progress,
) -> None:
    part = _name_part(draft, file)
    part.parent.mkdir(parents=True, exist_ok=True)
    path = build_file_path(source, commit, file.path)
    failures = 0
    while (had := _measure(part)) < file.size_bytes:
        try:
            _receive(connection, source, path, part, file, progress)
        except (httpx.HTTPError, httpx.StreamError) as error:
            failures = 1 if _measure(part) > had else failures + 1
            _wait_or_give_up(connection, source, error, failures, lambda: progress.add(0))
    part.touch()
    if not _is_right(part, file):
        progress.add(-_measure(part))
        part.unlink()
        raise faults.wrong_content(connection.address.name, file.path)
    part.replace(draft / file.path)


def _receive(
    connection: HubConnection, source: HubSource, path: str, part: Path, file: RepoFile, progress: _Progress
) -> None:
    """Append to `part` what it still lacks; what the answer holds beyond the listed size is a fault."""
    had = _measure(part)
    with connection.open(path, {"Range": f"bytes={had}-"} if had else {}) as response:
        if response.status_code not in (200, 206):
            response.raise_for_status()
            raise httpx.RemoteProtocolError(f"status {response.status_code}")
        if had and response.status_code == 200:
            # This server knows no ranges: the file begins anew.
            progress.add(-had)
            part.unlink()
            had = 0
        elif had and not response.headers.get("content-range", "").startswith(f"bytes {had}-"):
            raise httpx.RemoteProtocolError("another range than asked for")
        left = file.size_bytes - had
        with part.open("ab", buffering=0) as out:
            # As they come: gathered into larger blocks, the last ones would be lost when the connection breaks.
            for block in response.iter_raw():
                if len(block) > left:
                    progress.add(-_measure(part))
                    part.unlink()
                    raise faults.wrong_content(connection.address.name, file.path)
                out.write(block)
                left -= len(block)
                progress.add(len(block))
        if left:
            raise httpx.RemoteProtocolError("the answer ended too early")


def _is_right(part: Path, file: RepoFile) -> bool:
    """Whether the bytes are those that the hub lists: by hash where it gives one, by size always."""
    if _measure(part) != file.size_bytes:
        return False
    if file.sha256:
        return _hash(part, hashlib.sha256()) == file.sha256
    if file.git_sha1:
        blob = hashlib.sha1(f"blob {file.size_bytes}\0".encode(), usedforsecurity=False)
        return _hash(part, blob) == file.git_sha1
    return True


def _hash(path: Path, digest: Any) -> str:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return str(digest.hexdigest())


def _name_part(draft: Path, file: RepoFile) -> Path:
    return draft / f"{file.path}.part"


def _measure(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _is_whole(path: Path, file: RepoFile) -> bool:
    return path.is_file() and path.stat().st_size == file.size_bytes


# -- failures ----------------------------------------------------------------------------------------------


def _ask(
    connection: HubConnection, source: HubSource, ask: Callable[[], Answer], *, most_tries: int = MOST_TRIES
) -> Answer:
    failures = MOST_TRIES - most_tries
    while True:
        try:
            return ask()
        except (httpx.HTTPError, httpx.StreamError) as error:
            failures += 1
            _wait_or_give_up(connection, source, error, failures)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise faults.unavailable(
                connection.address.name, f"{type(error).__name__} in its answer"
            ) from error


def _wait_or_give_up(
    connection: HubConnection,
    source: HubSource,
    error: Exception,
    failures: int,
    on_wait: Callable[[], None] = lambda: None,
) -> None:
    """Wait before another try, or raise what a person is told; `on_wait` may raise to stop waiting."""
    name = connection.address.name
    response = error.response if isinstance(error, httpx.HTTPStatusError) else None
    status = response.status_code if response is not None else None
    if status in (401, 403):
        raise faults.refused(name, source.repo_id) from error
    if status in (404, 410):
        raise faults.not_found(name, source.repo_id, source.revision) from error
    passing = status is None or status in (408, 416, 425, 429) or status >= 500
    if failures >= MOST_TRIES or not passing:
        why = f"{status}" if status is not None else type(error).__name__
        raise (faults.busy(name) if status == 429 else faults.unavailable(name, why)) from error
    wished = response.headers.get("retry-after", "") if response is not None else ""
    asked = float(wished) if wished.isdecimal() and len(wished) < 6 else 0.0
    end = time.monotonic() + min(_LONGEST_WAIT, max(asked, _WAITS[min(failures, len(_WAITS)) - 1]))
    while (left := end - time.monotonic()) > 0:
        on_wait()
        time.sleep(min(left, 0.5))
