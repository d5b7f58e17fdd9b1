"""Which GPUs a job is to have: of which kind, how many, over how many nodes, and whether those can do what it asks."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.orm import Session

from backend.domain.errors import Problem
from backend.domain.scheduling.cluster import split_gang
from backend.domain.spec import EvaluateBody, TrainBody
from backend.services import nodes


def choose_devices(
    session: Session, body: TrainBody | EvaluateBody, problems: list[Problem]
) -> tuple[str, int]:
    """Return the GPU kind and the number of GPUs that `body` asks for; what is wrong with them goes to `problems`."""
    count = body.resources.gpu_count
    sizes = nodes.list_sizes(session)
    kind = body.resources.gpu_kind or choose_gpu_kind(session)
    if kind not in sizes:
        known = ", ".join(sorted(sizes)) or "none: add a GPU machine first"
        problems.append(
            Problem(
                ("resources", "gpu_kind"),
                f"no node has {kind!r}; there is {known}",
                f"没有节点提供“{kind}”，现有：{known}",
            )
        )
    else:
        problems.extend(_find_room_problem(body, count, kind, sizes[kind]))
    return kind, count


def _find_room_problem(
    body: TrainBody | EvaluateBody, count: int, kind: str, sizes: list[int]
) -> Iterator[Problem]:
    """Yield why `count` devices of the kind can never be had together, on nodes of these sizes."""
    most = body.resources.max_nodes
    if isinstance(body, EvaluateBody) and most > 1:
        yield Problem(
            ("resources", "max_nodes"),
            "an evaluation runs on one node; leave it out",
            "评估任务只在一个节点上运行，请删除此项",
        )
        return
    gang = split_gang(count, sizes[0])
    can_spread = sum(size >= gang.per_node for size in sizes) >= gang.nodes
    if can_spread and gang.nodes <= most:
        return
    if can_spread and isinstance(body, TrainBody):
        yield Problem(
            ("resources", "max_nodes"),
            f"no node has {count} of {kind!r} (the largest has {sizes[0]}); allow {gang.nodes} nodes or ask for fewer",
            f"没有节点同时有 {count} 张“{kind}”（最多 {sizes[0]} 张）；请允许使用 {gang.nodes} 个节点，或减少数量",
        )
        return
    yield Problem(
        ("resources", "gpu_count"),
        f"no node has {count} of {kind!r}; the largest has {sizes[0]}"
        + (f", and no {gang.nodes} nodes have {gang.per_node} each" if most > 1 else ""),
        f"没有节点同时有 {count} 张“{kind}”，最多 {sizes[0]} 张"
        + (f"，也没有 {gang.nodes} 个节点各有 {gang.per_node} 张" if most > 1 else ""),
    )


def choose_gpu_kind(session: Session) -> str:
    """Return the GPU kind of a job that names none: the one of which a node has most, GPUs before CPUs."""
    sizes = nodes.list_sizes(session)
    return max(sizes, key=lambda kind: (kind != "cpu", sizes[kind][0]), default="cpu")
