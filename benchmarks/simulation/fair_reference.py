"""What each user's fair share would give each job: a fluid cluster that can be divided without end."""

from __future__ import annotations

from collections.abc import Sequence

from backend.domain.scheduling.values import TIERS
from benchmarks.simulation.trace import TraceJob


class _Backlog:
    """The unfinished jobs of one user in one tier, oldest first, with the work left in GPU-seconds."""

    __slots__ = ("demand", "jobs")

    def __init__(self) -> None:
        self.jobs: list[list[float]] = []
        self.demand = 0

    def serve(self, rate: float, seconds: float) -> list[int]:
        """Give the user's jobs `rate` GPUs for `seconds`, the oldest up to their size; return which finished."""
        finished = []
        for job in self.jobs:
            if rate <= 0:
                break
            given = min(rate, job[1])
            rate -= given
            job[2] -= given * seconds
            if job[2] <= 0:
                finished.append(int(job[0]))
                self.demand -= int(job[1])
        if finished:
            self.jobs = [job for job in self.jobs if job[2] > 0]
        return finished


def find_fair_ends(trace: Sequence[TraceJob], busy: Sequence[float], step: float) -> list[float]:
    """Return when each job would end if the GPUs at work had been divided fairly at every moment.

    `busy` is how many GPUs were at work in each step of `step` seconds under the rule that is judged: what it
    leaves idle shows in its utilisation, and here only how it divides the rest. The division is the generalized
    processor sharing of Parekh and Gallager (1993) with tiers: better tiers take what they can use, and what is
    left to a tier is divided max-min between the users who have jobs there, none getting more than the GPUs of
    its jobs. Each user serves its own jobs oldest first, each on up to the GPUs it asked for, in any fraction
    and at once, without nodes, gangs or preemption.
    """
    ends = [0.0] * len(trace)
    backlogs: dict[str, dict[int, _Backlog]] = {tier: {} for tier in TIERS}
    now, arrived, unfinished = 0.0, 0, len(trace)
    while unfinished:
        now += step
        while arrived < len(trace) and trace[arrived].submitted <= now - step:
            job = trace[arrived]
            backlog = backlogs[job.tier].setdefault(job.user, _Backlog())
            backlog.jobs.append([job.number, job.gpus, job.gpus * job.seconds])
            backlog.demand += job.gpus
            arrived += 1
        passed = round(now / step) - 1
        left = busy[passed] if passed < len(busy) else max(busy)
        for tier in TIERS:
            users = backlogs[tier]
            waiting = len(users)
            for user in sorted(users, key=lambda one: users[one].demand):
                share = min(users[user].demand, left / waiting)
                waiting -= 1
                left -= share
                for number in users[user].serve(share, step):
                    ends[number] = now
                    unfinished -= 1
                if not users[user].jobs:
                    del users[user]
    return ends
