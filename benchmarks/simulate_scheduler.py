"""The scheduler against simple rules on a public-shaped trace: waits per tier, use, fairness, starvation, speed.

The very function that the platform dispatches with decides here too. Prints one block per offered load and, as
its last line, one JSON object. Exit code 1 when a bar is missed: express jobs' 95th percentile of waiting at
least ten times below FIFO's, the mean no worse than FIFO's, nobody starved, decisions under 50 ms.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections.abc import Sequence
from statistics import fmean, median

from benchmarks.simulation.fair_reference import find_fair_ends
from benchmarks.simulation.outcome import Outcome, find_percentile, measure_jain
from benchmarks.simulation.platform_rule import PLAN_SPACING, RESTART_SECONDS, STOP_SECONDS, simulate_platform
from benchmarks.simulation.simple_rules import FirstInFirstOut, ShortestFirst, simulate_rule
from benchmarks.simulation.trace import ESTIMATE_SPREAD, MAX_SECONDS, TIER_MIX, USERS, TraceJob, build_trace

NODES, GPUS_PER_NODE = 250, 8
STARVED_TIMES = 10.0
STARVED_SECONDS = 86400.0
"""A job is starved if it waited over ten times as long as its user's fair share would have taken to wait for it
and run it (`fair_reference`), and over a day: in the daily peak better tiers alone can keep spot out for half of one.
"""


def main() -> int:
    """Simulate all loads and rules, print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--loads", type=float, nargs="+", default=[0.9, 1.1])
    parser.add_argument("--seed", type=int, default=20260101)
    options = parser.parse_args()
    gc.disable()
    results = {}
    for load in options.loads:
        trace = build_trace(options.jobs, NODES * GPUS_PER_NODE, load, options.seed)
        describe_trace(trace, load, options.seed)
        outcomes = [
            simulate_rule(FirstInFirstOut(), trace, NODES, GPUS_PER_NODE),
            simulate_rule(ShortestFirst(), trace, NODES, GPUS_PER_NODE),
            simulate_platform(trace, NODES, GPUS_PER_NODE),
        ]
        results[str(load)] = {one.name: measure(trace, one) for one in outcomes}
        show(results[str(load)])
        show_foreseen(outcomes[-1])
        gc.collect()
    bars = judge(results)
    print(json.dumps({"results": results, "bars": bars}))
    return 0 if all(bars.values()) else 1


def describe_trace(trace: Sequence[TraceJob], load: float, seed: int) -> None:
    """Print what the trace is like."""
    seconds = [job.seconds for job in trace]
    sizes = [job.gpus for job in trace]
    print(
        f"\n{len(trace):,} jobs of {USERS} users on {NODES * GPUS_PER_NODE:,} GPUs ({NODES} nodes of {GPUS_PER_NODE}), "
        f"offered load {load}, seed {seed}, {trace[-1].submitted / 86400:.1f} days of arrivals\n"
        f"  durations: median {median(seconds):.0f} s, mean {fmean(seconds):.0f} s, longest {max(seconds) / 3600:.0f} h "
        f"(cut at {MAX_SECONDS / 3600:.0f} h); GPUs: 1 to {max(sizes)}, mean {fmean(sizes):.2f}\n"
        f"  tiers: {', '.join(f'{tier} {part:.0%}' for tier, part in TIER_MIX.items())}; estimates err by "
        f"exp(N(0, {ESTIMATE_SPREAD})); a preemption takes {STOP_SECONDS:.0f} s to stop and "
        f"{RESTART_SECONDS:.0f} s to start again; decisions {PLAN_SPACING:.0f} s apart"
    )


def measure(trace: Sequence[TraceJob], outcome: Outcome) -> dict[str, float]:
    """Return the figures of one run."""
    figures: dict[str, float] = {}
    for tier in [*TIER_MIX, "all"]:
        waits = [outcome.waited[job.number] for job in trace if tier in (job.tier, "all")]
        figures[f"{tier}_mean_seconds"] = round(fmean(waits), 1)
        figures[f"{tier}_p95_seconds"] = round(find_percentile(waits, 0.95), 1)
    busy = outcome.list_busy(PLAN_SPACING)
    arrivals = busy[: int(trace[-1].submitted / PLAN_SPACING)]
    return (
        figures
        | {
            "utilisation": round(fmean(arrivals) / (NODES * GPUS_PER_NODE), 4),
            "utilisation_second_half": round(
                fmean(arrivals[len(arrivals) // 2 :]) / (NODES * GPUS_PER_NODE), 4
            ),
            "jain": round(measure_jain(trace, outcome), 4),
        }
        | measure_starvation(trace, outcome, find_fair_ends(trace, busy, PLAN_SPACING))
        | {
            "preemptions": outcome.preemptions,
            "lost_gpu_hours": round(outcome.lost_gpu_seconds / 3600, 1),
            "decisions": outcome.decisions,
            "decisions_per_second": round(outcome.decisions / outcome.decision_seconds),
            "decision_mean_ms": round(1000 * outcome.decision_seconds / outcome.decisions, 3),
            "decision_worst_ms": round(1000 * outcome.worst_decision_seconds, 3),
        }
    )


def measure_starvation(
    trace: Sequence[TraceJob], outcome: Outcome, fair_ends: Sequence[float]
) -> dict[str, float]:
    """Return how waits compare with ten times the fair turnarounds."""
    waits = [(outcome.waited[job.number], fair_ends[job.number] - job.submitted) for job in trace]
    return {
        "starved": sum(waited > max(STARVED_TIMES * fair, STARVED_SECONDS) for waited, fair in waits),
        "worst_part_of_starving": round(
            max(waited / max(STARVED_TIMES * fair, STARVED_SECONDS) for waited, fair in waits), 3
        ),
        "over_ten_times_and_an_hour": sum(waited > max(STARVED_TIMES * fair, 3600) for waited, fair in waits),
        "longest_wait_seconds": round(max(outcome.waited)),
    }


def show(results: dict[str, dict[str, float]]) -> None:
    """Print the figures of all rules beside one another."""
    names = list(results)
    print(f"  {'':28}" + "".join(f"{name:>16}" for name in names))
    for figure in results[names[0]]:
        print(f"  {figure:28}" + "".join(f"{results[name][figure]:>16,}" for name in names))


def show_foreseen(outcome: Outcome) -> None:
    """Print how well the expected starts were kept."""
    if not outcome.foreseen:
        return
    late = [actual - told for told, actual in outcome.foreseen]
    within = sum(actual <= 2 * told + 600 for told, actual in outcome.foreseen) / len(late)
    print(
        f"  expected starts of {len(late):,} waiting jobs: median {median(told for told, _ in outcome.foreseen):,.0f} s, "
        f"they started after {median(actual for _, actual in outcome.foreseen):,.0f} s; half were off by less than "
        f"{median(abs(one) for one in late):,.0f} s; {within:.0%} started within twice the time (and 10 min)"
    )


def judge(results: dict[str, dict[str, dict[str, float]]]) -> dict[str, bool]:
    """Return which bars hold, at every load."""
    bars = {}
    for load, rules in results.items():
        ours, fifo = rules["Tuneforge"], rules["FIFO"]
        bars[f"express_p95_ten_times_below_fifo_at_{load}"] = (
            ours["express_p95_seconds"] * 10 <= fifo["express_p95_seconds"]
        )
        bars[f"mean_no_worse_than_fifo_at_{load}"] = ours["all_mean_seconds"] <= fifo["all_mean_seconds"]
        bars[f"nobody_starved_at_{load}"] = ours["starved"] == 0
        bars[f"decisions_under_50_ms_on_average_at_{load}"] = ours["decision_mean_ms"] < 50
    return bars


if __name__ == "__main__":
    began = time.monotonic()
    code = main()
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)
    sys.exit(code)
