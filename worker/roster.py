"""Which attempts this node runs: one locked file per attempt, so that an attempt has one supervisor at most."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from backend.domain.protocol import AttemptKey
from worker.checkpoints import read_json
from worker.marks import ProcessMark, build_attempt_mark, parse_mark, read_own_mark


@dataclass(frozen=True)
class Entry:
    """An attempt of this node, and its supervisor if that lives."""

    key: AttemptKey
    supervisor: ProcessMark | None


@dataclass
class Seat:
    """A supervisor's hold on an attempt, until it is given up or the process ends.

    `claim_name` is the name under which the attempt is claimed. It stays with the seat: a supervisor that dies right
    after its claim leaves it to the next, who is then given the same lease instead of being refused.
    """

    path: Path
    descriptor: int
    claim_name: str

    def give_up(self) -> None:
        """The attempt is over: take it off the roster."""
        self.path.unlink(missing_ok=True)
        self.leave()

    def leave(self) -> None:
        """Let go of the attempt but leave it on the roster, for the next supervisor."""
        with contextlib.suppress(OSError):
            os.close(self.descriptor)


class Roster:
    """The folder of one node's attempts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take_seat(self, key: AttemptKey) -> Seat | None:
        """Return the seat of an attempt's supervisor, or None when it is taken."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / build_attempt_mark(key.job_id, key.attempt, key.node_rank)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last holder may have removed the file between our opening and our locking it.
            if os.fstat(descriptor).st_ino != path.stat().st_ino:
                raise FileNotFoundError
        except OSError:
            os.close(descriptor)
            return None
        claim_name = _read_claim_name(path) or secrets.token_hex(16)
        written = os.pwrite(
            descriptor, json.dumps(read_own_mark().to_json() | {"claim_name": claim_name}).encode(), 0
        )
        os.ftruncate(descriptor, written)
        return Seat(path, descriptor, claim_name)

    def list_entries(self) -> list[Entry]:
        """Return all attempts on the roster."""
        entries = []
        with contextlib.suppress(FileNotFoundError):
            for path in sorted(self._folder.iterdir()):
                key = _parse_key(path.name)
                if key is not None:
                    mark = parse_mark(read_json(path))
                    entries.append(Entry(key, mark if mark is not None and mark.is_alive else None))
        return entries


def _read_claim_name(path: Path) -> str | None:
    found = read_json(path)
    name = found.get("claim_name") if isinstance(found, dict) else None
    return name if isinstance(name, str) and name else None


def _parse_key(name: str) -> AttemptKey | None:
    try:
        job_id, attempt, rank = (*name.split("."), "0")[:3]
        return AttemptKey(job_id=job_id, attempt=int(attempt), node_rank=int(rank))
    except (ValidationError, ValueError):
        return None
