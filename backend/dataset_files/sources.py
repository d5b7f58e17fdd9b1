"""All rows of a dataset, file after file, held to the types that its first part settled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backend.dataset_files.arrow_types import Fields, TypesDiffer, check_cast
from backend.dataset_files.json_lines import read_lines
from backend.dataset_files.json_lists import read_list
from backend.dataset_files.reading import DataFile, FileProblem, Part, Unreadable, list_data_files
from backend.dataset_files.table_files import read_arrow, read_csv, read_parquet, read_text


def read_json(file: DataFile) -> Iterator[Part]:
    """Yield the rows of a JSON file in parts."""
    yield from read_list(file) if is_list(file) else read_lines(file)


READERS = {
    "json": read_json,
    "csv": read_csv,
    "parquet": read_parquet,
    "arrow": read_arrow,
    "text": read_text,
}


@dataclass(frozen=True)
class FilePart:
    """A part of one file, and how much of all files has been read (0 to 1)."""

    file: DataFile
    part: Part
    fraction: float


class Source:
    """Reads a dataset's files; `fields` are its columns once all has been read."""

    def __init__(self, folder: Path, file_name: str) -> None:
        self.files = list_data_files(folder, file_name)
        self.fields: Fields = {}
        self._settled = False

    def read(self) -> Iterator[FilePart]:
        """Yield all parts; what makes a part unfit for the ones before it is added to its problems."""
        sizes = [max(1, file.path.stat().st_size) for file in self.files]
        done, total = 0, sum(sizes)
        for file, size in zip(self.files, sizes, strict=True):
            # A list is one table of `datasets`, however many parts are made of it here: its types grow.
            grows = file.kind == "json" and is_list(file)
            before: Fields = dict(self.fields)
            for part in READERS[file.kind or ""](file):
                if part.fields is not None:
                    self._take(part, grows=grows and not before)
                yield FilePart(file, part, (done + size * part.fraction) / total)
            done += size

    def _take(self, part: Part, *, grows: bool) -> None:
        assert part.fields is not None
        if grows or not self._settled:
            self.fields = part.fields
            self._settled = True
            return
        if part.problems:
            return
        try:
            check_cast(part.fields, self.fields)
        except TypesDiffer as error:
            part.problems.append(_locate(part, error))


def _locate(part: Part, error: TypesDiffer) -> FileProblem:
    name = error.path.partition(".")[0].partition("[")[0]
    position = next((at for at, row in enumerate(part.rows) if row.get(name) is not None), 0)
    return FileProblem(
        "columns_differ" if error.new_column else "types_differ",
        part.lines[position] if part.lines else None,
        position,
        error.path,
        f"{error.path}: {error.detail}",
        f"{error.path}：与文件开头不一致（{error.detail}）",
    )


def is_list(file: DataFile) -> bool:
    """Whether a JSON file is one list, rather than one object a line."""
    with file.path.open("rb") as raw:
        head = raw.read(1 << 16)
    # In UTF-16, too, a file is read as a list, if only to tell what is wrong with it.
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"[" or head[:2] in (b"\xff\xfe", b"\xfe\xff")


def open_source(folder: Path, file_name: str) -> Source | FileProblem:
    """Return the source, or why there is nothing to read."""
    try:
        return Source(folder, file_name)
    except Unreadable as error:
        return error.problem
