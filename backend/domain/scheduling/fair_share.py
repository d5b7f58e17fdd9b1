"""In which order users are served: weighted max-min shares of what they hold now and held of late."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import exp2, log
from operator import attrgetter

from backend.domain.scheduling.values import TIERS, Account, QueuedJob, RunningJob

HALF_LIFE_SECONDS = 24 * 3600.0
"""After this time, use counts half: who ran a lot yesterday yields to who did not, and is forgiven in days."""

GPU_SECONDS_PER_GPU = HALF_LIFE_SECONDS / log(2)
"""The decayed use of somebody who always held one GPU: so many GPU-seconds of late are one GPU on average."""


def decay(gpu_seconds: float, age_seconds: float) -> float:
    """Return what `gpu_seconds`, used `age_seconds` ago, count for today."""
    return gpu_seconds * exp2(-max(0.0, age_seconds) / HALF_LIFE_SECONDS)


def sum_decayed(gpu_count: int, began_ago: float, ended_ago: float = 0.0) -> float:
    """Return the decayed GPU-seconds of `gpu_count` GPUs held from `began_ago` to `ended_ago` seconds ago.

    The integral of `gpu_count * 2 ** (-age / half life)` over that time.
    """
    counted = exp2(-ended_ago / HALF_LIFE_SECONDS) - exp2(-began_ago / HALF_LIFE_SECONDS)
    return gpu_count * counted * GPU_SECONDS_PER_GPU


def count_held(running: Iterable[RunningJob]) -> dict[Account, int]:
    """Return how many GPUs each account holds now."""
    held: dict[Account, int] = {}
    for job in running:
        account = Account(job.user, job.tier, job.gpu_kind)
        held[account] = held.get(account, 0) + job.gpu_count
    return held


def average_use(recent_use: Mapping[Account, float], gpu_kind: str) -> dict[str, float]:
    """Return how many GPUs of the kind each tier held on average of late."""
    used: dict[str, float] = {}
    for account, gpu_seconds in recent_use.items():
        if account.gpu_kind == gpu_kind:
            used[account.tier] = used.get(account.tier, 0.0) + gpu_seconds / GPU_SECONDS_PER_GPU
    return used


def order_jobs(
    jobs: Sequence[QueuedJob],
    held: Mapping[Account, int],
    recent_use: Mapping[Account, float],
    weights: Mapping[str, float],
) -> list[QueuedJob]:
    """Return jobs of one GPU kind in the order they are served: by tier, then by fair share, then by age.

    Each user stands at (GPUs held now + GPUs held on average of late) / weight, and each of its jobs moves it
    on by the job's GPUs: serving the lowest first fills the shares evenly (progressive filling, max-min). A
    user's own jobs keep their order. `recent_use` is in decayed GPU-seconds.
    """
    by_tier: dict[str, list[QueuedJob]] = {tier: [] for tier in TIERS}
    for job in sorted(jobs, key=attrgetter("queued_at", "id")):
        by_tier[job.tier].append(job)
    ordered: list[QueuedJob] = []
    for tier, waiting in by_tier.items():
        stands: dict[str, float] = {}
        marks: list[float] = []
        for job in waiting:
            user = job.user
            weight = weights.get(user, 1.0)
            stand = stands.get(user)
            if stand is None:
                account = Account(user, tier, job.gpu_kind)
                stand = (held.get(account, 0) + recent_use.get(account, 0.0) / GPU_SECONDS_PER_GPU) / weight
            marks.append(stand)
            stands[user] = stand + job.gpu_count / weight
        ordered += [waiting[place] for place in sorted(range(len(waiting)), key=marks.__getitem__)]
    return ordered
