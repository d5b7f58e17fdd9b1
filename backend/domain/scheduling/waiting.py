"""What a waiting job is told: its position, why it waits, and when it can be expected to start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from backend.domain.scheduling.preemption import STOP_SECONDS
from backend.domain.scheduling.values import UNKNOWN_SECONDS, QueuedJob, Waiting

REASONS: dict[str, dict[str, str]] = {
    "starting": {
        "en": "There is room for this job; it starts in a moment.",
        "zh": "资源已就绪，任务马上开始。",
    },
    "in_line": {
        "en": "{ahead} jobs are served before this one. A better tier or fewer GPUs start sooner.",
        "zh": "前面还有 {ahead} 个任务。选择更高的优先级或更少的 GPU 可以更早开始。",
    },
    "behind_overdue": {
        "en": "A job ahead has waited for half a day and is no longer passed by jobs of its tier that take over an "
        "hour. This one starts after it.",
        "zh": "前面有任务已等待超过半天，同一优先级中超过一小时的任务不再越过它，该任务将在其后开始。",
    },
    "next_up": {
        "en": "GPUs are kept for this job as they become free; nothing needs to be done.",
        "zh": "正在为该任务预留陆续空闲的 GPU，无需任何操作。",
    },
    "making_room": {
        "en": "Running jobs are ending, or saving their work to make room; this job starts within a minute or so.",
        "zh": "正在运行的任务即将结束，或正在保存进度以让出 GPU，该任务约一分钟内开始。",
    },
    "quota": {
        "en": "Your jobs in this tier hold or are about to get {used} GPUs of the {limit} you may use at once. "
        "It starts when one of them ends.",
        "zh": "您在该优先级已占用或即将占用 {used} 张 GPU，上限为 {limit} 张。您的其他任务结束后该任务会自动开始。",
    },
    "above_quota": {
        "en": "In this tier you may use {limit} GPUs at once, and this job asks for more. Submit it again with "
        "fewer GPUs or in another tier, or ask an administrator for a higher limit.",
        "zh": "您在该优先级最多可同时使用 {limit} 张 GPU，该任务超出了上限。"
        "请减少 GPU 数量或更换优先级后重新提交，或联系管理员提高上限。",
    },
    "nodes_away": {
        "en": "The machines with enough of these GPUs are offline or taken out of service. The job starts when "
        "one is back; an administrator sees them under Nodes.",
        "zh": "拥有足够该型号 GPU 的节点目前离线或已停止接收任务，恢复后任务会自动开始。管理员可在“节点”页面查看。",
    },
    "devices_unusable": {
        "en": "Too many of these GPUs are in use by other programs or report errors. The job starts when they "
        "are usable again; tell an administrator if this lasts.",
        "zh": "过多该型号 GPU 被其他程序占用或出现错误，恢复可用后任务会自动开始。如持续出现，请联系管理员。",
    },
    "too_large": {
        "en": "No machine has this many of these GPUs (the largest has {largest}), nor do as many machines as the "
        "job may use. Submit it again with fewer GPUs or over more machines.",
        "zh": "没有节点拥有这么多该型号的 GPU（最多 {largest} 张），任务允许使用的节点合起来也不够。"
        "请减少 GPU 数量，或允许使用更多节点后重新提交。",
    },
    "no_such_gpu": {
        "en": "No machine has this kind of GPU any more. Submit the job again with another kind.",
        "zh": "已没有任何节点拥有该型号的 GPU。请选择其他型号后重新提交。",
    },
}
"""Every reason to wait, by code, with its sentence in English and Chinese."""


def explain_waiting(waiting: Waiting, language: str) -> str:
    """Return the sentence for the user; languages other than `zh` get English."""
    sentence = REASONS[waiting.reason]["zh" if language == "zh" else "en"]
    return sentence.format(ahead=waiting.position - 1, **waiting.params)


class Obstacle(NamedTuple):
    """What keeps a job from starting however many GPUs become free."""

    reason: str
    params: Mapping[str, int]


class _Entry(NamedTuple):
    job: QueuedJob
    obstacle: Obstacle | None
    starts_in: float | None
    reason: str


FOLLOWED_JOBS = 500
"""So many jobs' starts are followed one by one; behind them the work ahead over all GPUs decides."""


class WaitingLine:
    """The jobs of one GPU kind that do not start now, in the order in which they are served."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []

    def add(
        self,
        job: QueuedJob,
        obstacle: Obstacle | None = None,
        starts_in: float | None = None,
        reason: str = "in_line",
    ) -> None:
        """Put a job at the end of the line; `starts_in` where room is reserved for it."""
        self._entries.append(_Entry(job, obstacle, starts_in, reason))

    def describe(
        self,
        told: dict[str, Waiting],
        releases: Iterable[tuple[float, int]],
        capacity: int,
        parts: Mapping[str, float],
    ) -> None:
        """Write into `told` what each job is told.

        `releases` says in how many seconds how many GPUs become free, those free now at 0; together they are
        `capacity`. Of what becomes free a tier gets the part `parts` says, as better tiers go on taking theirs.
        Starts are those of a queue served strictly in order: what backfills may start sooner.
        """
        pool = [(at, count) for at, count in releases if count]
        heapify(pool)
        followed, latest, ahead = 0, 0.0, 0.0
        no_params: dict[str, int] = {}
        for position, (job, obstacle, starts_in, reason) in enumerate(self._entries, start=1):
            if obstacle is not None:
                told[job.id] = Waiting(position, obstacle.reason, obstacle.params, None)
                continue
            count = job.gpu_count / parts[job.tier]
            seconds = UNKNOWN_SECONDS if job.expected_seconds is None else job.expected_seconds
            if followed < FOLLOWED_JOBS:
                followed += 1
                latest = max(latest, _start_next(pool, min(capacity, round(count)), seconds))
                start = latest
            else:
                start = latest + ahead / capacity
                ahead += count * seconds
            if starts_in is None:
                told[job.id] = Waiting(position, reason, no_params, start)
            elif starts_in <= STOP_SECONDS:
                told[job.id] = Waiting(position, "making_room", no_params, starts_in)
            else:
                told[job.id] = Waiting(position, "next_up", no_params, max(starts_in, start))


def _start_next(pool: list[tuple[float, int]], count: int, seconds: float) -> float:
    """Take `count` GPUs as they become free, note when they are given back, and return when all were there."""
    start, needed = 0.0, count
    while needed > 0 and pool:
        start, free = heappop(pool)
        needed -= free
    if needed < 0:
        heappush(pool, (start, -needed))
    heappush(pool, (start + seconds, count))
    return start
