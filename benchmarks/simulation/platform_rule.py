"""The trace under the platform's own scheduler: the pure function itself, asked as the dispatcher asks it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush

from backend.domain.scheduling.fair_share import decay, sum_decayed
from backend.domain.scheduling.plan import plan_jobs
from backend.domain.scheduling.values import Account, Node, NodeShare, Plan, QueuedJob, Rules, RunningJob
from benchmarks.simulation.outcome import Outcome, start_outcome
from benchmarks.simulation.trace import TraceJob

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
KIND = "gpu"
PLAN_SPACING = 60.0
"""The platform decides at every bell; here at most once in this time, so that waits are overstated by up to it."""

STOP_SECONDS = 30.0
"""From the wish to preempt until the devices are free: a checkpoint is saved meanwhile."""

RESTART_SECONDS = 120.0
"""What a preempted job needs again before it goes on from its checkpoint: start, model, data."""

FORESEEN_EVERY = 200
"""Of so many decisions one also says when each waiting job is expected to start; a job in ten is noted."""


class _Account:
    """What one user used of late in one tier, in decayed GPU-seconds."""

    __slots__ = ("held", "noted", "used")

    def __init__(self) -> None:
        self.held, self.used, self.noted = 0, 0.0, 0.0

    def read(self, now: float) -> float:
        """Return the use up to `now`."""
        if now > self.noted:
            self.used = decay(self.used, now - self.noted) + sum_decayed(self.held, now - self.noted)
            self.noted = now
        return self.used


class _Run:
    """One attempt of a job: what the scheduler sees of it, and when it really ends."""

    __slots__ = ("began", "ends", "seen")

    def __init__(self, seen: RunningJob, began: float, ends: float) -> None:
        self.seen, self.began, self.ends = seen, began, ends


class PlatformSimulation:
    """The state of the simulated platform between decisions."""

    def __init__(self, trace: Sequence[TraceJob], nodes: int, per_node: int) -> None:
        self.trace = trace
        self.nodes = [
            Node(f"n{number:03}", {KIND: tuple(f"n{number:03}.{slot}" for slot in range(per_node))})
            for number in range(nodes)
        ]
        self.outcome: Outcome = start_outcome("Tuneforge", trace)
        self._queue: dict[str, QueuedJob] = {}
        self._queued_since: dict[str, float] = {}
        self._left = [job.seconds for job in trace]
        self._overhead = [0.0] * len(trace)
        self._running: dict[str, _Run] = {}
        self._ends: list[tuple[float, str]] = []
        self._accounts: dict[Account, _Account] = {}
        self._foreseen: dict[str, tuple[float, float]] = {}

    def run(self) -> Outcome:
        """Run the whole trace and return what came of it."""
        arrived, now = 0, 0.0
        while arrived < len(self.trace) or self._ends:
            first_arrival = self.trace[arrived].submitted if arrived < len(self.trace) else float("inf")
            first_end = self._ends[0][0] if self._ends else float("inf")
            now = max(min(first_arrival, first_end), now + PLAN_SPACING if self.outcome.decisions else 0.0)
            freed = self._finish_until(now)
            urgent = False
            while arrived < len(self.trace) and self.trace[arrived].submitted <= now:
                job = self.trace[arrived]
                self._enqueue(job, job.submitted)
                urgent |= job.tier == "express"
                arrived += 1
            if self._queue and (freed or urgent or self._count_free()):
                self._decide(now)
        return self.outcome

    def _count_free(self) -> int:
        held = sum(account.held for account in self._accounts.values())
        return sum(len(node.devices[KIND]) for node in self.nodes) - held

    def _enqueue(self, job: TraceJob, since: float) -> None:
        name = f"j{job.number:06}"
        queued_at = EPOCH + timedelta(seconds=job.submitted)
        part = self._left[job.number] / job.seconds
        expected = job.expected_seconds * part + self._overhead[job.number]
        self._queue[name] = QueuedJob(name, f"u{job.user:03}", job.tier, KIND, job.gpus, queued_at, expected)
        self._queued_since[name] = since

    def _finish_until(self, now: float) -> bool:
        """End what ends by `now`: for good, or back into the queue after a preemption."""
        freed = False
        while self._ends and self._ends[0][0] <= now:
            moment, name = heappop(self._ends)
            run = self._running.get(name)
            if run is None or run.ends != moment:
                continue
            freed = True
            del self._running[name]
            job = self.trace[int(name[1:])]
            account = self._accounts[self._name_account(job)]
            account.read(moment)
            account.held -= job.gpus
            self.outcome.note_work(job.gpus, run.began, moment)
            if run.seen.is_stopping:
                self._note_preemption(job, run, moment)
            else:
                self.outcome.ended[job.number] = moment
        return freed

    def _note_preemption(self, job: TraceJob, run: _Run, moment: float) -> None:
        worked = max(0.0, moment - STOP_SECONDS - run.began - self._overhead[job.number])
        self._left[job.number] -= worked
        self.outcome.lost_gpu_seconds += job.gpus * (moment - run.began - worked)
        self._overhead[job.number] = RESTART_SECONDS
        self._enqueue(job, moment)

    @staticmethod
    def _name_account(job: TraceJob) -> Account:
        return Account(f"u{job.user:03}", job.tier, KIND)

    # -- deciding ----------------------------------------------------------------------------------------------

    def _decide(self, now: float) -> None:
        with_waiting = self.outcome.decisions % FORESEEN_EVERY == 0
        recent_use = {account: entry.read(now) for account, entry in self._accounts.items()}
        queued, running = list(self._queue.values()), [run.seen for run in self._running.values()]
        began = time.process_time()
        plan = plan_jobs(
            queued,
            running,
            self.nodes,
            now=EPOCH + timedelta(seconds=now),
            rules=Rules(),
            recent_use=recent_use,
            with_waiting=with_waiting,
        )
        self.outcome.note_decision(time.process_time() - began)
        self._follow(plan, now)
        for number, (name, told) in enumerate(plan.waiting.items()):
            if number % 10 == 0 and told.starts_in_seconds is not None:
                self._foreseen.setdefault(name, (now, told.starts_in_seconds))

    def _follow(self, plan: Plan, now: float) -> None:
        for assignment in plan.assignments:
            self._start(assignment.job_id, assignment.shares, now)
        for preemption in plan.preemptions:
            run = self._running[preemption.job_id]
            if run.ends <= now + STOP_SECONDS:
                continue
            seen = run.seen
            run.seen = RunningJob(
                seen.id, seen.user, seen.tier, KIND, seen.shares, seen.started_at, seen.expected_end_at, True
            )
            run.ends = now + STOP_SECONDS
            heappush(self._ends, (run.ends, seen.id))
            self.outcome.preemptions += 1

    def _start(self, name: str, shares: tuple[NodeShare, ...], now: float) -> None:
        queued = self._queue.pop(name)
        job = self.trace[int(name[1:])]
        self.outcome.waited[job.number] += now - self._queued_since.pop(name)
        if name in self._foreseen:
            asked, starts_in = self._foreseen.pop(name)
            self.outcome.foreseen.append((starts_in, now - asked))
        started_at = EPOCH + timedelta(seconds=now)
        assert queued.expected_seconds is not None
        expected_end_at = started_at + timedelta(seconds=queued.expected_seconds)
        seen = RunningJob(name, queued.user, job.tier, KIND, shares, started_at, expected_end_at)
        ends = now + self._overhead[job.number] + self._left[job.number]
        self._running[name] = _Run(seen, now, ends)
        heappush(self._ends, (ends, name))
        account = self._accounts.setdefault(self._name_account(job), _Account())
        account.read(now)
        account.held += job.gpus


def simulate_platform(trace: Sequence[TraceJob], nodes: int, per_node: int) -> Outcome:
    """Run the trace under the platform's scheduler."""
    return PlatformSimulation(trace, nodes, per_node).run()
