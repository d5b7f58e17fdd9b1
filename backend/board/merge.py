"""Gathers the logs of a job's attempts into one folder that a board can show, each attempt an experiment.

SwanLab's local mode keeps the values of a run as text files and only their names in a small SQLite database, one per
attempt here. The values are linked to. The names are copied: the databases are never opened where they lie,
as a run may be writing them from another machine, and their write-ahead log does not work across a network.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

DATABASE = "runs.swanlab"
RUNNING, STOPPED, FINISHED = 0, -1, 1

_TABLES = ("project", "experiment", "tag", "namespace", "chart", "display", "source")
_SAFE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,250}")
_READ_FOLDERS = ("logs", "files", "console")

Row = dict[str, object]
Signature = tuple[object, ...]


@dataclass(frozen=True)
class Source:
    """One attempt's log folder; `exit_code` is None while the attempt may still be running."""

    folder: Path
    exit_code: int | None


def list_sources(swanlog_dirs: list[Path], ended: bool) -> list[Source]:
    """Return the attempts that have something to show, oldest first.

    An attempt is over when its `exit_code` file says so, when a later attempt began, or when the job `ended`; a
    process that was killed could not tell its own log.
    """
    with_names = [folder for folder in swanlog_dirs if (folder / DATABASE).is_file()]
    sources = []
    for folder in with_names:
        exit_code = _read_exit_code(folder.parent / "exit_code")
        is_over = ended or folder != swanlog_dirs[-1]
        sources.append(Source(folder, 1 if exit_code is None and is_over else exit_code))
    return sources


def sign(sources: list[Source]) -> Signature:
    """Return a value that changes when merging again would show something new."""
    return tuple((source, *_sign_files(source.folder)) for source in sources)


def merge(sources: list[Source], target: Path) -> None:
    """Write the names of all `sources` into the folder `target`, with a link to each run's values.

    Ids are given out in order, so that an experiment keeps its id while later ones come. Rows that could lead
    out of their folder are left out: the databases were written by the jobs' processes.
    """
    with closing(sqlite3.connect(target / DATABASE, timeout=10)) as board:
        board.execute("PRAGMA journal_mode = wal")
        with board:
            board.execute("BEGIN IMMEDIATE")
            is_empty = not board.execute("SELECT 1 FROM sqlite_master").fetchone()
            for number, source in enumerate(sources, start=1):
                with _open_copy(source.folder) as attempt:
                    if is_empty:
                        _copy_schema(attempt, board)
                        is_empty = False
                    if number == 1:
                        _clear(board)
                        _copy_project(attempt, board, len(sources))
                    _copy_attempt(attempt, board, source, target, number if len(sources) > 1 else None)


def _copy_attempt(
    attempt: sqlite3.Connection, board: sqlite3.Connection, source: Source, target: Path, number: int | None
) -> None:
    new_ids: dict[str, dict[object, object]] = {table: {} for table in _TABLES}

    def copy(table: str, row: Row, **changes: object) -> None:
        new_ids[table][row["id"]] = _insert(board, table, {**row, **changes})

    for row in _read(attempt, "experiment"):
        name = str(row["run_id"])
        if _is_safe(name) and _link(source.folder / name, target / name):
            copy("experiment", row, project_id=1, **_describe_experiment(row, source, number))
    for row in _read(attempt, "tag"):
        if row["experiment_id"] in new_ids["experiment"] and _is_safe(str(row["folder"])):
            copy("tag", row, experiment_id=new_ids["experiment"][row["experiment_id"]])
    # The project's own charts, which compare experiments, are made by the board itself when asked for.
    for table in ("namespace", "chart"):
        for row in _read(attempt, table):
            if row["experiment_id"] in new_ids["experiment"]:
                copy(table, row, experiment_id=new_ids["experiment"][row["experiment_id"]], project_id=None)
    for table, others in (("display", ("chart", "namespace")), ("source", ("tag", "chart"))):
        for row in _read(attempt, table):
            if all(row[f"{other}_id"] in new_ids[other] for other in others):
                copy(table, row, **{f"{other}_id": new_ids[other][row[f"{other}_id"]] for other in others})


def _describe_experiment(row: Row, source: Source, number: int | None) -> Row:
    changes: Row = {"sort": (number or 1) - 1}
    if number is not None:
        changes["name"] = f"{str(row['name'])[:90]} #{number}"
    if row["status"] == RUNNING and source.exit_code is not None:
        changes["status"] = FINISHED if source.exit_code == 0 else STOPPED
        changes["finish_time"] = row["finish_time"] or row["update_time"]
    return changes


def _copy_project(attempt: sqlite3.Connection, board: sqlite3.Connection, count: int) -> None:
    for row in _read(attempt, "project"):
        _insert(board, "project", {**row, "charts": 0, "sum": count}, keep_id=True)
        return


def _copy_schema(attempt: sqlite3.Connection, board: sqlite3.Connection) -> None:
    names = ", ".join("?" for _ in _TABLES)
    query = (
        f"SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name IN ({names}) ORDER BY type DESC"  # noqa: S608
    )
    for (statement,) in attempt.execute(query, _TABLES).fetchall():
        board.execute(statement)


def _clear(board: sqlite3.Connection) -> None:
    for table in reversed(_TABLES):
        board.execute(f"DELETE FROM {table}")  # noqa: S608


def _read(attempt: sqlite3.Connection, table: str) -> list[Row]:
    cursor = attempt.execute(f"SELECT * FROM {table} ORDER BY id")  # noqa: S608
    columns = [column[0] for column in cursor.description]
    return [dict(zip(columns, values, strict=True)) for values in cursor.fetchall()]


def _insert(board: sqlite3.Connection, table: str, row: Row, *, keep_id: bool = False) -> int | None:
    columns = [column for column in row if keep_id or column != "id"]
    names, marks = ", ".join(f'"{column}"' for column in columns), ", ".join("?" for _ in columns)
    values = [row[column] for column in columns]
    return board.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", values).lastrowid  # noqa: S608


@contextmanager
def _open_copy(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open a private copy of an attempt's database, taken while nobody moved its write-ahead log into it."""
    with tempfile.TemporaryDirectory(prefix="tuneforge-names-") as place:
        for _ in range(5):
            before = _sign_file(folder / DATABASE)
            for name in (DATABASE, f"{DATABASE}-wal"):
                if (folder / name).is_file():
                    shutil.copyfile(folder / name, Path(place) / name)
            if _sign_file(folder / DATABASE) == before:
                break
        with closing(sqlite3.connect(Path(place) / DATABASE)) as connection:
            yield connection


def _link(run_folder: Path, link: Path) -> bool:
    """Link to a run's folder when it is one and nothing the board reads in it leads elsewhere."""
    if run_folder.is_symlink() or not run_folder.is_dir():
        return False
    if any(os.path.islink(path) for path in _walk(run_folder)):
        return False
    if not link.is_symlink():
        link.symlink_to(run_folder.absolute())
    return True


def _walk(run_folder: Path) -> Iterator[str]:
    for name in _READ_FOLDERS:
        yield str(run_folder / name)
        for place, folders, files in os.walk(run_folder / name):
            yield from (os.path.join(place, entry) for entry in (*folders, *files))


def _is_safe(name: str) -> bool:
    return _SAFE_NAME.fullmatch(name) is not None


def _read_exit_code(file: Path) -> int | None:
    try:
        return int(file.read_text().strip() or 1)
    except ValueError:
        return 1
    except OSError:
        return None


def _sign_files(folder: Path) -> Signature:
    return tuple(_sign_file(folder / f"{DATABASE}{ending}") for ending in ("", "-wal"))


def _sign_file(file: Path) -> Signature | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
