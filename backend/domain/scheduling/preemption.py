"""Which spot jobs make room for an express job: the fewest, and among those the newest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from backend.domain.scheduling.cluster import Cluster, Gang, NodeTimeline

STOP_SECONDS = 60.0
"""What a running job is given to save a checkpoint and end. Waiting that long is better than preempting."""

MAX_PREEMPTIONS = 32
"""Of one decision: a burst of express jobs is served in a few decisions, each of which sees what came of it."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A running spot job that may be preempted: when it began and is expected to end, and what it holds."""

    job_id: str
    began_ago: float
    ends_in: float
    shares: tuple[tuple[str, int], ...]


class Candidates:
    """The spot jobs of one GPU kind that may still be preempted, by node, newest first, with what they hold there."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._by_node: dict[str, list[_Held]] = {}
        # What was found on a node without reservations, until the node is altered.
        self._found: dict[tuple[str, int], tuple[int, list[Candidate] | None]] = {}
        for candidate in sorted(candidates, key=lambda one: (one.began_ago, one.job_id)):
            for node_id, count in candidate.shares:
                self._by_node.setdefault(node_id, []).append(_Held(candidate, count))

    def find_victims(
        self, cluster: Cluster, gang: Gang, seconds: float
    ) -> tuple[list[NodeTimeline], list[Candidate]]:
        """Return nodes where the gang can start once the returned jobs have stopped; none where it cannot.

        For a gang over several nodes, the node that needs fewest goes first and what its victims give back
        elsewhere counts for the next.
        """
        nodes: list[NodeTimeline] = []
        victims: dict[str, Candidate] = {}
        for _ in range(gang.nodes):
            best: tuple[int, float] | None = None
            for node in cluster.nodes:
                if node.size < gang.per_node or node in nodes:
                    continue
                more = self._choose_on(node, gang.per_node, seconds, victims)
                if more is None or (best is not None and len(more) > best[0]):
                    continue
                rank = len(more), max((one.began_ago for one in more), default=0.0)
                if best is None or rank < best:
                    best, best_node, best_more = rank, node, more
            if best is None:
                return [], []
            nodes.append(best_node)
            victims |= {one.job_id: one for one in best_more}
        return nodes, list(victims.values())

    def _choose_on(
        self, node: NodeTimeline, count: int, seconds: float, chosen: dict[str, Candidate]
    ) -> list[Candidate] | None:
        """Return the fewest jobs, newest first, whose end frees `count` devices of `node`; None if none do."""
        if chosen or node.is_held:
            return self._search_on(node, count, seconds, chosen)
        version, found = self._found.get((node.id, count), (-1, None))
        if version != node.version:
            found = self._search_on(node, count, seconds, chosen)
            self._found[node.id, count] = node.version, found
        return found

    def _search_on(
        self, node: NodeTimeline, count: int, seconds: float, chosen: dict[str, Candidate]
    ) -> list[Candidate] | None:
        here = self._by_node.get(node.id, [])
        stopping = [held for held in here if held.candidate.job_id in chosen]
        short = count - node.count_free_at(STOP_SECONDS) - sum(held.gpus for held in stopping)
        victims = _choose_fewest([held for held in here if held not in stopping], short)
        if victims is None:
            return None
        if node.is_held and not _is_free_without(node, count, seconds, stopping + victims):
            return None
        return [held.candidate for held in victims]

    def remove(self, victim: Candidate) -> None:
        """Take a job out that was preempted."""
        for node_id, _ in victim.shares:
            self._by_node[node_id] = [held for held in self._by_node[node_id] if held.candidate is not victim]


class _Held(NamedTuple):
    """How many devices of one node a candidate holds."""

    candidate: Candidate
    gpus: int


def _choose_fewest(candidates: Sequence[_Held], short: int) -> list[_Held] | None:
    newest = _take_until(candidates, short)
    if newest is None or len(newest) <= 1:
        return newest
    largest = sorted(candidates, key=lambda held: -held.gpus)
    fewest = _take_until(largest, short)
    return fewest if fewest is not None and len(fewest) < len(newest) else newest


def _take_until(candidates: Sequence[_Held], short: int) -> list[_Held] | None:
    taken: list[_Held] = []
    for held in candidates:
        if short <= 0:
            break
        taken.append(held)
        short -= held.gpus
    return taken if short <= 0 else None


def _is_free_without(node: NodeTimeline, count: int, seconds: float, stopped: Sequence[_Held]) -> bool:
    """Whether `count` devices are free from the moment when `stopped` have ended, whatever is reserved after."""
    trial = NodeTimeline(node.id, (), ())
    trial.free = node.free
    changes = list(node.changes)
    for held in stopped:
        changes.remove((held.candidate.ends_in, -held.gpus))
        changes.append((STOP_SECONDS, -held.gpus))
    trial.changes = sorted(changes)
    return trial.is_free(count, STOP_SECONDS, STOP_SECONDS + seconds)
