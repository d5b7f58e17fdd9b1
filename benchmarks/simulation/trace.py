"""Jobs shaped like those of public GPU clusters: many short and small, few long and large, few users with most.

Figures and where they are from:
- Durations: lognormal with median 206 s and mean 6,652 s, the figures of the 1,580,464 GPU jobs of SenseTime's
  Helios trace (Hu et al., SC '21, summary table of the published artifact); cut at `MAX_SECONDS`, as a platform
  has a time limit, which lowers the mean.
- GPUs: median 1 and mean near 3.7 as in Helios, powers of two from 1 to 32 on nodes of 8.
- Users: 5 % of them submit 77 % of the jobs, as in Alibaba PAI (Weng et al., NSDI '22).
- Arrivals: Poisson with a daily wave of one to three, as all of these report days and nights.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import accumulate
from math import log, pi, sin, sqrt

MEDIAN_SECONDS, MEAN_SECONDS = 206.0, 6652.0
MAX_SECONDS = 5 * 86400.0
SIZES = {1: 0.55, 2: 0.13, 4: 0.10, 8: 0.16, 16: 0.04, 32: 0.02}
TIER_MIX = {"express": 0.2, "flex": 0.5, "spot": 0.3}
USERS = 200
USER_EXPONENT = 1.44
"""Of Zipf's law: gives the most active 10 of 200 users 77 % of the jobs."""

ESTIMATE_SPREAD = 0.5
"""Standard deviation of ln(estimate / truth): half of the estimates are within a factor of 1.4."""


@dataclass(slots=True)
class TraceJob:
    """One job of the trace; `seconds` is how long it truly runs, `expected_seconds` what was estimated."""

    number: int
    user: int
    tier: str
    gpus: int
    submitted: float
    seconds: float
    expected_seconds: float


def build_trace(count: int, gpus: int, load: float, seed: int) -> list[TraceJob]:
    """Return `count` jobs in order of submission whose work is `load` of what `gpus` GPUs do in that time."""
    chance = random.Random(seed)
    spread = sqrt(2 * log(MEAN_SECONDS / MEDIAN_SECONDS))
    users = list(accumulate(1 / rank**USER_EXPONENT for rank in range(1, USERS + 1)))
    sizes, size_weights = list(SIZES), list(accumulate(SIZES.values()))
    tiers, tier_weights = list(TIER_MIX), list(accumulate(TIER_MIX.values()))
    jobs = []
    for number in range(count):
        seconds = min(MAX_SECONDS, max(1.0, chance.lognormvariate(log(MEDIAN_SECONDS), spread)))
        jobs.append(
            TraceJob(
                number,
                chance.choices(range(USERS), cum_weights=users)[0],
                chance.choices(tiers, cum_weights=tier_weights)[0],
                chance.choices(sizes, cum_weights=size_weights)[0],
                0.0,
                seconds,
                seconds * chance.lognormvariate(0, ESTIMATE_SPREAD),
            )
        )
    horizon = sum(job.gpus * job.seconds for job in jobs) / gpus / load
    for job, moment in zip(jobs, _draw_arrivals(chance, count, horizon), strict=True):
        job.submitted = moment
    return jobs


def _draw_arrivals(chance: random.Random, count: int, horizon: float) -> list[float]:
    """Return `count` moments up to `horizon`, three times as dense by day as by night."""
    moments: list[float] = []
    while len(moments) < count:
        moment = chance.uniform(0, horizon)
        if chance.uniform(0, 1.5) < 1 + 0.5 * sin(2 * pi * moment / 86400):
            moments.append(moment)
    return sorted(moments)
