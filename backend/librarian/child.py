"""The process of one chore: `python -m backend.librarian.child <chore id>`, its claim on the standard input.

It ends with its keeper: the input closes then, and the chore is claimed again once its heartbeat is old.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import resource
import secrets
import sys
import threading
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError

from backend.database import transaction
from backend.domain.errors import TuneforgeError
from backend.librarian.kinds import load_module
from backend.librarian.running import LOST_EXIT, ChoreCancelled, RunningChore
from backend.services import chores
from backend.settings import get_settings

logger = logging.getLogger(__name__)

MEMORY_BYTES = 4 << 30
"""What one chore may hold; the checker needs a quarter of it."""
AGAIN_EXIT = 75
"""The exit code of a process that could not go on for something that passes, such as a database that is away."""


def main(chore_id: str) -> int:
    """Do the chore and say its last word; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    claim = sys.stdin.readline().strip()
    threading.Thread(target=_end_with_keeper, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    try:
        with transaction() as session:
            row = chores.get_claimed(session, chore_id, claim)
            kind = row.kind
            chore = RunningChore(row.id, claim, row.subject_id, row.owner_id, row.payload)
        with _hold_subject(chore.subject_id):
            status, error = _run(kind, chore)
            chore.close()
            _end(kind, chore, status, error)
    except chores.ChoreLost:
        return LOST_EXIT
    except OperationalError:
        logger.exception("The database is away; the chore waits")
        return AGAIN_EXIT
    return 0


def _run(kind: str, chore: RunningChore) -> tuple[str, dict[str, Any] | None]:
    """Return how the chore ended, and what a person is told when it did not end well."""
    try:
        load_module(kind).run(chore)
    except ChoreCancelled:
        return "cancelled", None
    except (chores.ChoreLost, OperationalError):
        raise
    except TuneforgeError as error:
        return "failed", {"code": error.code, "detail": error.detail, "detail_zh": error.detail_zh}
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return "failed", DISK_FULL
        return "failed", _describe_fault()
    except MemoryError:
        return "failed", TOO_LARGE
    except Exception:
        return "failed", _describe_fault()
    return "done", None


def _end(kind: str, chore: RunningChore, status: str, error: dict[str, Any] | None) -> None:
    with transaction() as session:
        chores.finish(session, chore.id, chore.claim, status, error)
        if status != "done":
            load_module(kind).note_end(session, chore.subject_id, status, error)


def _describe_fault() -> dict[str, Any]:
    number = secrets.token_hex(6)
    logger.exception("Fault %s", number)
    return {
        "code": "internal_error",
        "detail": f"Something broke on our side. Tell an administrator this number: {number}",
        "detail_zh": f"平台内部出错，请把这个编号告诉管理员：{number}",
    }


class _hold_subject:  # noqa: N801 (reads as a function)
    """Holds a lock file of the subject: a process that was thought dead may still be at its files."""

    def __init__(self, subject_id: str) -> None:
        self.path: Path = get_settings().run_dir / "chores" / f"{subject_id}.lock"

    def __enter__(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)


def _end_with_keeper() -> None:
    sys.stdin.read()
    os._exit(AGAIN_EXIT)


DISK_FULL = {
    "code": "disk_full",
    "detail": "The disk of the platform is full. Delete what you do not need, or ask an administrator for room.",
    "detail_zh": "平台磁盘已满。请删除不需要的内容，或联系管理员扩容，然后重试。",
}
TOO_LARGE = {
    "code": "too_large",
    "detail": "This needs more memory than one import may take. Split the file into parts, or use jsonl or parquet.",
    "detail_zh": "处理它所需的内存超过上限。请拆分文件，或改用 jsonl、parquet 格式。",
}
CRASHED = {
    "code": "crashed",
    "detail": "Reading it crashed several times: a file in it is damaged, or needs more memory than one import may "
    "take. Write the file anew and upload it again; split it into parts if it is large.",
    "detail_zh": "读取时多次崩溃：其中的文件已损坏，或所需内存超过上限。请重新生成该文件后再上传；文件较大时请先拆分。",
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
