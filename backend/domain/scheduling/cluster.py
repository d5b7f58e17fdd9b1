"""The devices of one kind on open nodes: which are free now, and which will be free when."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from math import inf
from typing import NamedTuple

SNUG_NODES = 64
"""Among so many of the fullest nodes that fit, the best is looked for."""


class Gang(NamedTuple):
    """How a job's GPUs lie: `per_node` on each of `nodes` nodes."""

    nodes: int
    per_node: int


def split_gang(gpu_count: int, largest: int) -> Gang:
    """Return the fewest equal shares of `gpu_count` that nodes of up to `largest` GPUs can hold.

    A gang that fits one node is never split: 8 stay together, 16 become two of 8, 12 two of 6.
    """
    nodes = -(-gpu_count // largest)
    while gpu_count % nodes:
        nodes += 1
    return Gang(nodes, gpu_count // nodes)


class NodeTimeline:
    """How many devices of a node are free from now on.

    `changes` are pairs (seconds from now, devices taken then), in order; what is given back counts negative
    and so comes first among changes of one moment. A timeline with a reservation on it `is_held`. `version`
    counts its alterations, so that what was found out about it can be kept until the next.
    """

    __slots__ = ("changes", "devices", "free", "id", "is_held", "size", "usable", "version")

    def __init__(self, node_id: str, usable: Sequence[str], free: Sequence[str]) -> None:
        self.id = node_id
        self.usable = frozenset(usable)
        self.size = len(usable)
        self.devices = free
        self.free = len(free)
        self.changes: list[tuple[float, int]] = []
        self.is_held = False
        self.version = 0

    def count_usable(self, devices: Sequence[str]) -> int:
        """Return how many of `devices` jobs may use here."""
        return len(self.usable.intersection(devices))

    def find_start(self, count: int, seconds: float, earliest: float = 0.0) -> float:
        """Return when `count` devices are first free for `seconds` on end; infinity if that never comes."""
        if not self.is_held:
            return self._find_first(count, earliest)
        if self.is_free(count, earliest, earliest + seconds):
            return earliest
        for at, taken in self.changes:
            if taken < 0 and at > earliest and self.is_free(count, at, at + seconds):
                return at
        return inf

    def _find_first(self, count: int, earliest: float) -> float:
        """Without reservations devices only become free, so the first moment is as good as any."""
        level = self.free
        if level >= count:
            return earliest
        for at, taken in self.changes:
            level -= taken
            if level >= count:
                return max(at, earliest)
        return inf

    def is_free(self, count: int, start: float, end: float) -> bool:
        """Whether `count` devices are free at every moment from `start` until `end`."""
        level = self.free
        for at, taken in self.changes:
            if at > start:
                if at >= end:
                    break
                if level < count:
                    return False
            level -= taken
        return level >= count

    def measure_free_span(self, count: int) -> float:
        """Return for how many seconds from now `count` devices stay free; negative if they are not now."""
        level = self.free
        if level < count:
            return -1.0
        for at, taken in self.changes:
            level -= taken
            if level < count:
                return at
        return inf

    def count_free_at(self, moment: float) -> int:
        """Return how many devices are free at `moment`."""
        return self.free - sum(taken for at, taken in self.changes if at <= moment)


class Cluster:
    """The open nodes of one GPU kind, and the search for room on them.

    Nodes without reservations are kept by their number of free devices, so that the fullest node that fits is
    found at once: large gaps stay for large jobs. On the few nodes with reservations every change is looked at.
    """

    def __init__(self, nodes: Sequence[NodeTimeline]) -> None:
        self.nodes = list(nodes)
        self._places = {node.id: place for place, node in enumerate(self.nodes)}
        self._by_free: list[list[int]] = [[] for _ in range(max((n.size for n in nodes), default=0) + 1)]
        for place, node in enumerate(self.nodes):
            self._by_free[node.free].append(place)
        self._held: list[int] = []
        self._starts: dict[int, list[tuple[int, tuple[float, int, int]]]] = {}

    def find_node(self, node_id: str) -> NodeTimeline | None:
        """Return an open node of this kind by id."""
        place = self._places.get(node_id)
        return None if place is None else self.nodes[place]

    def find_longest(self, gang: Gang) -> float:
        """Return for how many seconds at most the gang could run from now on; negative where it cannot start."""
        missing = gang.nodes - sum(len(level) for level in self._by_free[gang.per_node :])
        if missing <= 0:
            return inf
        spans = [self.nodes[place].measure_free_span(gang.per_node) for place in self._held]
        spans = sorted((span for span in spans if span >= 0), reverse=True)
        return spans[missing - 1] if len(spans) >= missing else -1.0

    def get_node(self, node_id: str) -> NodeTimeline:
        """Return an open node of this kind by id, of which it is known that it is one."""
        return self.nodes[self._places[node_id]]

    def find_room(self, gang: Gang, seconds: float) -> list[NodeTimeline]:
        """Return nodes where the gang can start now and run for `seconds` without delaying a reservation.

        To be asked only for what `find_longest` allows.
        """
        if gang.nodes == 1 and (node := self._find_snug(gang.per_node, seconds)):
            return [node]
        found: list[NodeTimeline] = []
        for level in self._by_free[gang.per_node :]:
            for place in level:
                found.append(self.nodes[place])
                if len(found) == gang.nodes:
                    return found
        for place in self._held:
            node = self.nodes[place]
            if node.free >= gang.per_node and node.is_free(gang.per_node, 0.0, seconds):
                found.append(node)
                if len(found) == gang.nodes:
                    return found
        raise ValueError(f"there is no room for {gang}")

    def _find_snug(self, count: int, seconds: float) -> NodeTimeline | None:
        """Return the node without reservations that a job keeps from becoming empty for least longer.

        Long jobs thus gather on nodes that are busy for long anyway, and nodes become empty for gangs that need
        them whole. Among equals the fullest; of a large cluster only the fullest are looked at.
        """
        best, least, looked_at = None, inf, 0
        for level in self._by_free[count:]:
            for place in level:
                node = self.nodes[place]
                longer = seconds - (node.changes[-1][0] if node.changes else 0.0)
                if longer <= 0:
                    return node
                if best is None or longer < least:
                    best, least = node, longer
            looked_at += len(level)
            if looked_at >= SNUG_NODES:
                break
        return best

    def find_start(self, gang: Gang, seconds: float) -> tuple[float, list[NodeTimeline]]:
        """Return when, by what is known, the gang can first start, and on which nodes.

        Among nodes that are ready at the same time the one with least left over is taken. Infinity and no
        nodes where it never can.
        """
        known = self._starts.setdefault(
            gang.per_node, [(-1, (inf, 0, place)) for place in range(len(self.nodes))]
        )
        starts = []
        for place, node in enumerate(self.nodes):
            version, found = known[place]
            if version != node.version or node.is_held:
                found = self._find_start_on(place, gang.per_node, seconds)
                known[place] = node.version, found
            if found[0] < inf:
                starts.append(found)
        if len(starts) < gang.nodes:
            return inf, []
        starts.sort()
        chosen = [self.nodes[place] for _, _, place in starts[: gang.nodes]]
        start = starts[gang.nodes - 1][0]
        if gang.nodes > 1:
            start = self._align(gang, seconds, chosen, start)
        return (start, chosen) if start < inf else (inf, [])

    def _find_start_on(self, place: int, count: int, seconds: float) -> tuple[float, int, int]:
        node = self.nodes[place]
        start = node.find_start(count, seconds) if node.size >= count else inf
        return start, node.count_free_at(start) if start < inf else 0, place

    @staticmethod
    def _align(gang: Gang, seconds: float, nodes: Sequence[NodeTimeline], start: float) -> float:
        """Move `start` on until all `nodes` are free together (a later reservation may lie between)."""
        while start < inf:
            later = max(node.find_start(gang.per_node, seconds, start) for node in nodes)
            if later == start:
                return start
            start = later
        return inf

    def take(self, node: NodeTimeline, count: int, seconds: float) -> tuple[str, ...]:
        """Take `count` free devices of `node` for `seconds` from now; return them."""
        self._move(node, node.free - count)
        insort(node.changes, (seconds, -count))
        node.version += 1
        devices = tuple(node.devices[:count])
        node.devices = node.devices[count:]
        return devices

    def hold(self, node: NodeTimeline, count: int, start: float, seconds: float) -> None:
        """Reserve `count` devices of `node` for `seconds` from `start` on."""
        if not node.is_held:
            self._by_free[node.free].remove(self._places[node.id])
            insort(self._held, self._places[node.id])
            node.is_held = True
        node.version += 1
        insort(node.changes, (start, count))
        insort(node.changes, (start + seconds, -count))

    def give_back_earlier(self, node: NodeTimeline, count: int, expected: float, earlier: float) -> None:
        """Note that `count` devices, expected back at `expected`, come back at `earlier`."""
        node.changes.remove((expected, -count))
        insort(node.changes, (earlier, -count))
        node.version += 1

    def _move(self, node: NodeTimeline, free: int) -> None:
        if not node.is_held:
            place = self._places[node.id]
            level = self._by_free[node.free]
            del level[bisect_left(level, place)]
            insort(self._by_free[free], place)
        node.free = free
