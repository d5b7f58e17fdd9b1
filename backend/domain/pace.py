"""How often supervisors report: often enough to feel live, seldom enough that one web process keeps up with all."""

from __future__ import annotations

REPORTS_PER_SECOND = 100.0
"""What all supervisors together shall send, as long as no job has to wait longer than the longest interval."""

SHORTEST_SECONDS = 1.0
LONGEST_SECONDS = 10.0

_EARLIEST = 0.8


def choose_report_seconds(running_jobs: int) -> float:
    """Return the seconds between two reports of one job when so many run: 1 up to 100 jobs, 10 from 1,000 on."""
    return min(LONGEST_SECONDS, max(SHORTEST_SECONDS, running_jobs / REPORTS_PER_SECOND))


def spread_pause(seconds: float, chance: float) -> float:
    """Return a pause of at most `seconds`, a fifth shorter at most, by a `chance` from 0 to 1.

    Supervisors that came at once, as after an outage, so drift apart within a few reports; none comes later
    than it was told.
    """
    return seconds * (_EARLIEST + (1 - _EARLIEST) * chance)
