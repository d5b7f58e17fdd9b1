"""Does the oldest count of lengths in a process of its own, as the librarian does, where a test says when."""

from __future__ import annotations

import subprocess
import sys

from backend.database import transaction
from backend.services import chores
from backend.services.profiles import KIND

_CHILD = """
import sys
from backend.librarian import profile_dataset
from backend.librarian.child import main
profile_dataset._MOST_SECONDS = float(sys.argv[2])
sys.exit(main(sys.argv[1]))
"""


def do_chore(most_seconds: float = 120.0) -> tuple[str, int]:
    """Return the id of the chore and the exit code of its process; a batch may take `most_seconds`."""
    with transaction() as session:
        chore = chores.claim_next(session, [KIND])
        assert chore is not None, "nothing is queued"
        chore_id, claim = chore.id, str(chore.claim)
    process = subprocess.Popen(
        [sys.executable, "-c", _CHILD, chore_id, str(most_seconds)], stdin=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    process.stdin.write(claim + "\n")
    process.stdin.flush()  # and it stays open: the process ends with its keeper
    return chore_id, process.wait(120)
