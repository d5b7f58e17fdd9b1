"""Rows of Parquet and Arrow files from some row on, what comes before being skipped unread."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

_ROWS = 200
_BYTES = 64 << 20
_BROKEN = (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, UnicodeDecodeError)


def choose_row_count(size_bytes: int, rows: int, most: int) -> int:
    """Return how many rows of a batch to read at once: rows with pictures in them may be megabytes each."""
    return max(1, min(most, _BYTES * rows // max(1, size_bytes)))


def open_parquet(path: Path) -> parquet.ParquetFile:
    """Open a Parquet file so that its groups of rows are not held in memory whole."""
    return parquet.ParquetFile(path, memory_map=True)


def count_parquet(path: Path) -> int:
    """Return how many rows a Parquet file says that it has, 0 where it is broken."""
    try:
        return int(open_parquet(path).metadata.num_rows)
    except _BROKEN:
        return 0


def read_parquet_from(path: Path, start: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (number, row); whole groups of rows are skipped."""
    try:
        source, first = open_parquet(path), 0
        for group in range(source.num_row_groups):
            facts = source.metadata.row_group(group)
            count = facts.num_rows
            if first + count > start:
                rows = choose_row_count(facts.total_byte_size, count, _ROWS)
                for batch in source.iter_batches(batch_size=rows, row_groups=[group]):
                    yield from _list_rows(batch, first, start)
                    first += batch.num_rows
            else:
                first += count
    except _BROKEN:
        return


def read_batches(path: Path) -> Iterator[Any]:
    """Yield the batches of an Arrow file, a stream or a file; a broken one ends early."""
    try:
        with pa.memory_map(str(path)) as raw:
            try:
                yield from pa.ipc.open_stream(raw)
            except (OSError, pa.ArrowInvalid):
                reader = pa.ipc.open_file(raw)
                for number in range(reader.num_record_batches):
                    yield reader.get_batch(number)
    except _BROKEN:
        return


def read_arrow_from(path: Path, start: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (number, row); batches, and rows within them, are skipped."""
    first = 0
    for batch in read_batches(path):
        skipped = min(batch.num_rows, max(0, start - first))
        rows = choose_row_count(batch.nbytes, batch.num_rows, _ROWS)
        for at in range(skipped, batch.num_rows, rows):
            yield from _list_rows(batch.slice(at, rows), first + at, start)
        first += batch.num_rows


def _list_rows(batch: Any, first: int, start: int) -> Iterator[tuple[int, dict[str, Any]]]:
    skipped = max(0, start - first)
    if skipped >= batch.num_rows:
        return
    yield from enumerate(batch.slice(skipped).to_pylist(), start=first + skipped)
