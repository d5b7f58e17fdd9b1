"""The process `tuneforge librarian`: claims chores and has each done by a process of its own, two at a time."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from backend.database import transaction
from backend.librarian.child import AGAIN_EXIT, CRASHED
from backend.librarian.kinds import MODULES, load_module
from backend.librarian.running import LOST_EXIT
from backend.services import chores
from backend.services.uptime import LIBRARIAN, RENEW_SECONDS, note_alive
from backend.tables.base import utc_now

logger = logging.getLogger(__name__)

MOST_AT_ONCE = 2
LOOK_SECONDS = 0.5
_GRACE_SECONDS = 5.0


@dataclass(frozen=True)
class _Started:
    """A chore whose process runs."""

    chore_id: str
    kind: str
    subject_id: str
    claim: str
    process: subprocess.Popen[str]


class Keeper:
    """Claims, starts, and looks after processes until told to stop."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.started: list[_Started] = []
        self._noted_at = -RENEW_SECONDS

    def run(self) -> None:
        """Work until SIGTERM or SIGINT; what is under way then is queued again and goes on from what it had."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopping.set())
        logger.info("The librarian is at work")
        while not self.stopping.wait(LOOK_SECONDS):
            try:
                self._look()
            except SQLAlchemyError as error:
                logger.warning("The database is away (%s); looking again", type(error).__name__)
        self._stop()

    def _look(self) -> None:
        if time.monotonic() - self._noted_at >= RENEW_SECONDS:
            with transaction() as session:
                note_alive(session, LIBRARIAN, utc_now())
            self._noted_at = time.monotonic()
        for one in [one for one in self.started if one.process.poll() is not None]:
            self._settle(one)
            self.started.remove(one)
        while len(self.started) < MOST_AT_ONCE and self._start_next():
            continue

    def _start_next(self) -> bool:
        with transaction() as session:
            chore = chores.claim_next(session, MODULES)
        if chore is None:
            return False
        assert chore.claim is not None
        logger.info("%s %s of %s, attempt %d", chore.kind, chore.id, chore.subject_id, chore.attempt)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "backend.librarian.child", chore.id],
            stdin=subprocess.PIPE,
            text=True,
        )
        assert process.stdin is not None
        # The claim is a secret of this chore: other users of the machine see arguments, but no pipes.
        process.stdin.write(chore.claim + "\n")
        process.stdin.flush()
        self.started.append(_Started(chore.id, chore.kind, chore.subject_id, chore.claim, process))
        return True

    def _settle(self, one: _Started) -> None:
        """Queue a chore again whose process said no last word; one that keeps killing its process has failed."""
        code = one.process.returncode
        if code in (0, LOST_EXIT):
            return
        logger.warning("The process of chore %s ended with %s", one.chore_id, code)
        try:
            with transaction() as session:
                crashed = code != AGAIN_EXIT
                if chores.give_back(session, one.chore_id, one.claim, crashed=crashed):
                    return
                chores.finish(session, one.chore_id, one.claim, "failed", CRASHED)
                load_module(one.kind).note_end(session, one.subject_id, "failed", CRASHED)
        except chores.ChoreLost:
            return

    def _stop(self) -> None:
        for one in self.started:
            assert one.process.stdin is not None
            one.process.stdin.close()
        end = time.monotonic() + _GRACE_SECONDS
        for one in self.started:
            try:
                one.process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()
            try:
                self._settle(one)
            except SQLAlchemyError:
                logger.warning("Chore %s waits until its heartbeat is old", one.chore_id)


def main() -> None:
    """Run the librarian in this process."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    Keeper().run()
