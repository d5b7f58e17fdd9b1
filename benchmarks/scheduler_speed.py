"""How long one decision takes: 2,000 GPUs and 10,000 queued jobs, in situations from an idle to a full cluster.

Prints a table of milliseconds of processor time per decision, what waiting jobs are told included, and one JSON
line. Exit code 1 when the median of a situation is at or above 50 ms.
"""

from __future__ import annotations

import gc
import json
import random
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta

from backend.domain.scheduling.plan import plan_jobs
from backend.domain.scheduling.values import Node, NodeShare, QueuedJob, Rules, RunningJob

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SIZES = [1, 1, 1, 1, 1, 2, 2, 4, 8, 8, 16, 32]
LIMIT_MS = 50.0


def build_nodes(count: int = 250) -> list[Node]:
    """Return `count` nodes of 8 GPUs."""
    return [Node(f"n{i:03}", {"h200": tuple(f"n{i:03}-{slot}" for slot in range(8))}) for i in range(count)]


def build_queue(chance: random.Random, tiers: str, sizes: list[int], count: int = 10_000) -> list[QueuedJob]:
    """Return `count` jobs of 200 users; `tiers` is a sequence of e, f and s to draw from."""
    names = {"e": "express", "f": "flex", "s": "spot"}
    return [
        QueuedJob(
            f"q{i:05}",
            f"u{chance.randrange(200)}",
            names[chance.choice(tiers)],
            "h200",
            chance.choice(sizes),
            NOW - timedelta(seconds=chance.randrange(100_000)),
            chance.lognormvariate(5.3, 2.6),
        )
        for i in range(count)
    ]


def build_running(chance: random.Random, nodes: list[Node], tiers: str, part: float) -> list[RunningJob]:
    """Return jobs of 1 to 8 GPUs that hold about `part` of all devices."""
    names = {"e": "express", "f": "flex", "s": "spot"}
    running: list[RunningJob] = []
    for node in nodes:
        devices = tuple(node.devices["h200"])
        while devices:
            size = chance.choice([size for size in (1, 1, 2, 4, 8) if size <= len(devices)])
            mine, devices = devices[:size], devices[size:]
            if chance.random() > part:
                continue
            began = NOW - timedelta(seconds=chance.randrange(1, 50_000))
            ends = began + timedelta(seconds=chance.randrange(1, 200_000))
            tier, user = names[chance.choice(tiers)], f"u{chance.randrange(200)}"
            shares = (NodeShare(node.id, mine),)
            running.append(RunningJob(f"r{len(running)}", user, tier, "h200", shares, began, ends))
    return running


SITUATIONS = {
    "full, all tiers wait": ("effss", SIZES, "effss", 1.0),
    "half full": ("effss", SIZES, "effss", 0.5),
    "idle": ("effss", SIZES, "effss", 0.0),
    "full of spot, express of all sizes waits": ("e", SIZES, "s", 1.0),
    "full of spot, express of one GPU waits": ("e", [1], "s", 1.0),
    "full, spot of one GPU waits": ("s", [1], "ef", 0.97),
}


def main() -> int:
    """Measure every situation and print the table."""
    results = {}
    print("2,000 GPUs on 250 nodes, 10,000 queued jobs of 200 users; processor milliseconds of one decision")
    print(f"{'situation':44} {'median':>7} {'worst':>7}  starts  preempts  reserves")
    for name, (tiers, sizes, running_tiers, part) in SITUATIONS.items():
        chance = random.Random(1)
        nodes = build_nodes()
        queue = build_queue(chance, tiers, sizes)
        running = build_running(chance, nodes, running_tiers, part)
        times = []
        gc.disable()
        for _ in range(9):
            began = time.process_time()
            plan = plan_jobs(queue, running, nodes, now=NOW, rules=Rules())
            times.append((time.process_time() - began) * 1000)
        gc.enable()
        results[name] = round(statistics.median(times), 1)
        made = len(plan.assignments), len(plan.preemptions), len(plan.reservations)
        print(f"{name:44} {results[name]:7.1f} {max(times):7.1f}  {made[0]:6}  {made[1]:8}  {made[2]:8}")
    print(json.dumps({"decision_ms": results, "limit_ms": LIMIT_MS}))
    return 1 if max(results.values()) >= LIMIT_MS else 0


if __name__ == "__main__":
    sys.exit(main())
