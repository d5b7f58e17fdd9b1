"""Unfinished uploads under TUNEFORGE_HOME: one file each, whose length is how much has arrived."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from backend.settings import get_settings


class OffsetMismatch(Exception):
    """A piece does not go on where the file ends; `received_bytes` is where it does."""

    def __init__(self, received_bytes: int) -> None:
        super().__init__(received_bytes)
        self.received_bytes = received_bytes


class DiskFull(Exception):
    """There is no room on the disk for this piece; nothing of it was kept."""


def get_upload_path(upload_id: str) -> Path:
    """Return where an upload's bytes are."""
    return get_settings().uploads_dir / upload_id


def measure_received(upload_id: str) -> int:
    """Return how many bytes of an upload are here."""
    try:
        return get_upload_path(upload_id).stat().st_size
    except FileNotFoundError:
        return 0


def append_piece(upload_id: str, offset: int, piece: bytes, size_bytes: int) -> int:
    """Add a piece that begins at `offset`, on the disk before this returns; return how much is here now.

    What of the piece is here already is passed over, so a piece may come twice, or again after half of it was kept.
    The caller lets one piece of an upload in at a time.
    """
    path = get_upload_path(upload_id)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        here = os.fstat(descriptor).st_size
        if offset > here or offset + len(piece) > size_bytes:
            raise OffsetMismatch(here)
        rest = memoryview(piece)[here - offset :]
        try:
            written = here
            while rest:
                count = os.pwrite(descriptor, rest, written)
                rest, written = rest[count:], written + count
            os.fsync(descriptor)
        except OSError as error:
            os.ftruncate(descriptor, here)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull from error
            raise
        return written
    finally:
        os.close(descriptor)


def delete_upload(upload_id: str) -> None:
    """Remove an upload's bytes; that they are gone already does no harm."""
    get_upload_path(upload_id).unlink(missing_ok=True)


def list_uploads() -> Iterator[tuple[str, float]]:
    """Yield (upload id, when it last grew in seconds since 1970) of every upload that has bytes here."""
    root = get_settings().uploads_dir
    if root.is_dir():
        for path in root.iterdir():
            try:
                yield path.name, path.stat().st_mtime
            except FileNotFoundError:
                continue


def measure_free_bytes() -> int:
    """Return how much the disk under the home may still take, the reserve set aside."""
    settings = get_settings()
    return max(0, shutil.disk_usage(settings.home).free - settings.disk_reserve_bytes)
