"""The rules that the scheduler is compared with: first in, first out; and shortest first, knowing all durations."""

from __future__ import annotations

import time
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush

from backend.domain.scheduling.cluster import split_gang
from benchmarks.simulation.outcome import Outcome, start_outcome
from benchmarks.simulation.trace import TraceJob


class FreeGpus:
    """Free GPUs by node, the fullest node that fits first, as the scheduler itself places gangs."""

    def __init__(self, nodes: int, per_node: int) -> None:
        self._per_node = per_node
        self._free = [per_node] * nodes
        self._by_free: list[list[int]] = [[] for _ in range(per_node + 1)]
        self._by_free[per_node] = list(range(nodes))

    def take(self, gpus: int) -> list[int] | None:
        """Take room for a gang and return its nodes; None where there is none."""
        gang = split_gang(gpus, self._per_node)
        found: list[int] = []
        for level in self._by_free[gang.per_node :]:
            found += level[: gang.nodes - len(found)]
            if len(found) == gang.nodes:
                for node in found:
                    self._change(node, -gang.per_node)
                return found
        return None

    def give_back(self, gpus: int, nodes: Sequence[int]) -> None:
        """Give a gang's room back."""
        for node in nodes:
            self._change(node, gpus // len(nodes))

    def _change(self, node: int, count: int) -> None:
        level = self._by_free[self._free[node]]
        del level[bisect_left(level, node)]
        self._free[node] += count
        insort(self._by_free[self._free[node]], node)


class FirstInFirstOut:
    """Strictly in order of submission: who is first and does not fit holds up all others."""

    name = "FIFO"

    def __init__(self) -> None:
        self._queue: deque[TraceJob] = deque()

    def add(self, job: TraceJob) -> None:
        """Put a job into the queue."""
        self._queue.append(job)

    def start(self, free: FreeGpus) -> tuple[TraceJob, list[int]] | None:
        """Return the next job that starts now, with its nodes."""
        if self._queue and (nodes := free.take(self._queue[0].gpus)):
            return self._queue.popleft(), nodes
        return None


class ShortestFirst:
    """The shortest job that fits, by its true duration: nobody knows that, and long or large jobs may starve."""

    name = "SJF (perfect)"

    def __init__(self) -> None:
        self._by_size: dict[int, list[tuple[float, int, TraceJob]]] = {}

    def add(self, job: TraceJob) -> None:
        """Put a job into the queue."""
        heappush(self._by_size.setdefault(job.gpus, []), (job.seconds, job.number, job))

    def start(self, free: FreeGpus) -> tuple[TraceJob, list[int]] | None:
        """Return the next job that starts now, with its nodes."""
        for _, _, job in sorted(heap[0] for heap in self._by_size.values() if heap):
            if nodes := free.take(job.gpus):
                heappop(self._by_size[job.gpus])
                return job, nodes
        return None


def simulate_rule(
    rule: FirstInFirstOut | ShortestFirst, trace: Sequence[TraceJob], nodes: int, per_node: int
) -> Outcome:
    """Run the trace under a rule, deciding at every arrival and every end."""
    outcome, free = start_outcome(rule.name, trace), FreeGpus(nodes, per_node)
    ends: list[tuple[float, int, list[int]]] = []
    next_job = 0
    while next_job < len(trace) or ends:
        arrives = trace[next_job].submitted if next_job < len(trace) else float("inf")
        if ends and ends[0][0] <= arrives:
            now, number, places = heappop(ends)
            free.give_back(trace[number].gpus, places)
        else:
            now = arrives
            rule.add(trace[next_job])
            next_job += 1
        began = time.process_time()
        while started := rule.start(free):
            job, places = started
            outcome.waited[job.number] = now - job.submitted
            outcome.ended[job.number] = now + job.seconds
            outcome.note_work(job.gpus, now, now + job.seconds)
            heappush(ends, (now + job.seconds, job.number, places))
        outcome.note_decision(time.process_time() - began)
    return outcome
