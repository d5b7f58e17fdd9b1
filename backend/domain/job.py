"""A job's statuses, the moves between them, and why a job ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class JobKind(StrEnum):
    """What a job does."""

    TRAIN = "train"
    EVALUATE = "evaluate"


class JobStatus(StrEnum):
    """Where a job stands. Stopping is a wish (`stop_requested_at`), not a status."""

    QUEUED = "queued"
    ASSIGNED = "assigned"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


MAX_NODES = 64
"""Over how many nodes a job may be spread at most."""

FINISHED = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})
ACTIVE = frozenset({JobStatus.ASSIGNED, JobStatus.RUNNING})

MOVES: frozenset[tuple[JobStatus, JobStatus]] = frozenset(
    {
        (JobStatus.QUEUED, JobStatus.ASSIGNED),
        (JobStatus.QUEUED, JobStatus.CANCELLED),
        (JobStatus.QUEUED, JobStatus.FAILED),
        (JobStatus.ASSIGNED, JobStatus.RUNNING),
        (JobStatus.ASSIGNED, JobStatus.QUEUED),
        (JobStatus.ASSIGNED, JobStatus.CANCELLED),
        (JobStatus.ASSIGNED, JobStatus.FAILED),
        (JobStatus.RUNNING, JobStatus.SUCCEEDED),
        (JobStatus.RUNNING, JobStatus.FAILED),
        (JobStatus.RUNNING, JobStatus.CANCELLED),
        (JobStatus.RUNNING, JobStatus.QUEUED),
        (JobStatus.CANCELLED, JobStatus.QUEUED),
        (JobStatus.FAILED, JobStatus.QUEUED),
    }
)


def is_legal_move(old: JobStatus, new: JobStatus) -> bool:
    """Whether a job may go from `old` to `new`."""
    return (old, new) in MOVES


class EndReason(StrEnum):
    """Why an attempt ended; what follows is in `OUTCOMES`."""

    COMPLETED = "completed"
    USER_CANCELLED = "user_cancelled"
    TIME_LIMIT = "time_limit"
    BALANCE_EXHAUSTED = "balance_exhausted"
    BAD_CONFIG = "bad_config"
    BAD_DATASET = "bad_dataset"
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"
    CRASHED = "crashed"
    NODE_LOST = "node_lost"
    NODE_STOPPED = "node_stopped"
    PREEMPTED = "preempted"
    LOG_LIMIT = "log_limit"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True)
class Outcome:
    """What follows from an end reason.

    `status` is where the job goes; `requeue` sends it back to the queue instead, and `is_fault` counts that
    against `MAX_FAULTS`, so that preemptions never use up a job's chances.
    """

    status: JobStatus
    requeue: bool = False
    is_fault: bool = False


OUTCOMES: dict[EndReason, Outcome] = {
    EndReason.COMPLETED: Outcome(JobStatus.SUCCEEDED),
    EndReason.USER_CANCELLED: Outcome(JobStatus.CANCELLED),
    EndReason.TIME_LIMIT: Outcome(JobStatus.CANCELLED),
    EndReason.BALANCE_EXHAUSTED: Outcome(JobStatus.CANCELLED),
    EndReason.BAD_CONFIG: Outcome(JobStatus.FAILED),
    EndReason.BAD_DATASET: Outcome(JobStatus.FAILED),
    EndReason.OUT_OF_MEMORY: Outcome(JobStatus.FAILED),
    EndReason.DISK_FULL: Outcome(JobStatus.FAILED),
    EndReason.CRASHED: Outcome(JobStatus.FAILED),
    EndReason.NODE_LOST: Outcome(JobStatus.FAILED, requeue=True, is_fault=True),
    EndReason.NODE_STOPPED: Outcome(JobStatus.FAILED, requeue=True),
    EndReason.PREEMPTED: Outcome(JobStatus.FAILED, requeue=True),
    EndReason.LOG_LIMIT: Outcome(JobStatus.FAILED),
    EndReason.INTERNAL_ERROR: Outcome(JobStatus.FAILED, requeue=True, is_fault=True),
}

MAX_FAULTS = 3
"""Infrastructure failures after which a job is given up."""


def decide_outcome(reason: EndReason, faults: int, stop_requested: bool) -> Outcome:
    """Return where a job goes after an attempt ended for `reason`.

    `faults` counts infrastructure failures before this one. A job whose owner asked for a stop is never put
    back into the queue.
    """
    outcome = OUTCOMES[reason]
    if not outcome.requeue:
        return outcome
    if stop_requested:
        return Outcome(JobStatus.CANCELLED)
    if outcome.is_fault and faults + 1 >= MAX_FAULTS:
        return Outcome(JobStatus.FAILED, is_fault=True)
    return outcome


_VAGUE = frozenset({EndReason.NODE_LOST, EndReason.CRASHED})


def is_vague_end(reason: EndReason) -> bool:
    """Whether one node of several that ended so may only have lost another, which knows more."""
    return reason in _VAGUE


def find_telling_end(leader: EndReason, others: Sequence[EndReason]) -> int | None:
    """Return which of the `others` says best why an attempt over several nodes ended; None if rank 0 itself does.

    One node's failure is the others' lost connection. A definite reason outranks a crash, and a crash a loss.
    """
    if not is_vague_end(leader):
        return None
    told = [reason for reason in others if reason is not EndReason.COMPLETED and reason not in _VAGUE]
    if not told and leader is EndReason.NODE_LOST:
        told = [reason for reason in others if reason is EndReason.CRASHED]
    return others.index(told[0]) if told else None


@dataclass(frozen=True)
class Explanation:
    """What a person is told about an end, in one language."""

    title: str
    hint: str


EXPLANATIONS: dict[EndReason, dict[str, Explanation]] = {
    EndReason.COMPLETED: {
        "en": Explanation("Completed", "Evaluate the result or compare it with the untouched model."),
        "zh": Explanation("已完成", "可以评估结果，或与原始模型对比。"),
    },
    EndReason.USER_CANCELLED: {
        "en": Explanation("Stopped on request", "What was trained so far is kept; resume the job to go on."),
        "zh": Explanation("已按要求停止", "已训练的部分已保留；点击“继续”即可接着训练。"),
    },
    EndReason.TIME_LIMIT: {
        "en": Explanation("Time limit reached", "Resume the job to go on from its last checkpoint."),
        "zh": Explanation("达到时间上限", "点击“继续”可从最近的检查点接着训练。"),
    },
    EndReason.BALANCE_EXHAUSTED: {
        "en": Explanation(
            "Balance used up", "Ask an administrator to top up your balance, then resume the job."
        ),
        "zh": Explanation("余额不足", "请联系管理员充值，然后继续该任务。"),
    },
    EndReason.BAD_CONFIG: {
        "en": Explanation(
            "LLaMA-Factory refused the settings", "Change the setting named below and submit again."
        ),
        "zh": Explanation("LLaMA-Factory 不接受这些参数", "请修改下方指出的参数后重新提交。"),
    },
    EndReason.BAD_DATASET: {
        "en": Explanation(
            "The dataset could not be used", "Mend the rows or files named below and submit again."
        ),
        "zh": Explanation("数据集无法使用", "请修正下方指出的数据或文件后重新提交。"),
    },
    EndReason.OUT_OF_MEMORY: {
        "en": Explanation(
            "Out of memory",
            "Lower per_device_train_batch_size (raise gradient_accumulation_steps to match), "
            "then cutoff_len; or choose a GPU with more memory.",
        ),
        "zh": Explanation(
            "内存或显存不足",
            "请先调小 per_device_train_batch_size（同时相应调大 gradient_accumulation_steps），"
            "再调小 cutoff_len；或选择显存更大的 GPU。",
        ),
    },
    EndReason.DISK_FULL: {
        "en": Explanation(
            "The disk is full", "Delete old jobs or ask an administrator for space, then resume."
        ),
        "zh": Explanation("磁盘已满", "请删除旧任务或联系管理员扩容，然后继续该任务。"),
    },
    EndReason.CRASHED: {
        "en": Explanation("The run crashed", "The last lines of the log below say where."),
        "zh": Explanation("运行异常退出", "下方日志的最后几行指出了出错位置。"),
    },
    EndReason.NODE_LOST: {
        "en": Explanation(
            "The machine was lost", "Resume the job to go on from its last checkpoint elsewhere."
        ),
        "zh": Explanation("节点失联", "点击“继续”可在其他节点从最近的检查点接着运行。"),
    },
    EndReason.NODE_STOPPED: {
        "en": Explanation("The machine was shut down", "The job goes on by itself when a machine is free."),
        "zh": Explanation("节点已关闭", "有空闲节点时任务会自动继续。"),
    },
    EndReason.PREEMPTED: {
        "en": Explanation("Made room for another job", "The job goes on by itself when there is room."),
        "zh": Explanation("已为其他任务让出资源", "资源空闲时任务会自动继续。"),
    },
    EndReason.LOG_LIMIT: {
        "en": Explanation("The log grew too large", "Raise logging_steps, then submit again."),
        "zh": Explanation("日志过大", "请调大 logging_steps 后重新提交。"),
    },
    EndReason.INTERNAL_ERROR: {
        "en": Explanation(
            "Something broke on our side", "Resume the job; if it happens again, tell an administrator."
        ),
        "zh": Explanation("平台内部错误", "请点击“继续”重试；若再次出现，请联系管理员。"),
    },
}


def explain_end(reason: EndReason, language: str) -> Explanation:
    """Return the sentence for the user about `reason`; languages other than `zh` get English."""
    return EXPLANATIONS[reason]["zh" if language == "zh" else "en"]
