"""More requests at once than there are connections: each waits its turn, and all are answered."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import event

from backend.database import get_engine
from backend.web.turns import PLACES
from tests.factories import Person


def test_requests_never_hold_more_connections_than_there_are_places(owner: Person) -> None:
    held = []

    def note_held(*_: object) -> None:
        held.append(get_engine().pool.checkedout())  # type: ignore[attr-defined]

    event.listen(get_engine(), "checkout", note_held)
    try:
        with ThreadPoolExecutor(80) as pool:
            answers = list(pool.map(lambda _: owner.get("/jobs").status_code, range(400)))
    finally:
        event.remove(get_engine(), "checkout", note_held)
    assert Counter(answers) == {200: 400}
    # The process's own pulse may hold one for a moment.
    assert max(held) <= PLACES["people"] + 1
