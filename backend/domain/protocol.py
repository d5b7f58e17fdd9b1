"""What a node and the backend say to each other over HTTP: version 2 of the internal contract.

All of it travels under `/internal/v1`. A node shows its node token (`Authorization: Bearer`), and everything
about an attempt after its claim also shows the attempt's lease token (`X-Lease-Token`). Every call may come
twice or late: the attempt number and the lease decide.

| call | body and answer |
|---|---|
| `POST /internal/v1/nodes/register` | `Registration` → `Welcome` |
| `POST /internal/v1/nodes/heartbeat` | `Heartbeat` → `HeartbeatReply` |
| `POST /internal/v1/nodes/calibration` | `Calibration` → `Taken` |
| `POST /internal/v1/jobs/{id}/attempts/{n}/claim` | `Claim` → `LaunchOrder`, or 409 |
| `POST /internal/v1/jobs/{id}/attempts/{n}/report` | `Report` → `Reply`, 409 when the lease is lost |
| `POST /internal/v1/jobs/{id}/attempts/{n}/finish` | `FinalReport` → `Reply`; twice is like once |
| `POST /internal/v1/jobs/{id}/attempts/{n}/nodes/{rank}/claim`, `report`, `finish` | the same, of a further node |

A job over several nodes has one supervisor on each. That of node rank 0 speaks for the attempt by the first three
calls; the others hold leases of their own by the last. Rank 0 is given its order once all others have theirs
(425 until then), and tells the port at which it gathers the processes; the others hear it in their replies.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from backend.domain.job import MAX_NODES, EndReason, JobKind
from backend.domain.spec import Moment, SmallValue

PROTOCOL_VERSION = 2
LEASE_SECONDS = 60
"""How long a lease lives without a report."""


class Message(BaseModel):
    """Any message: unknown fields are an error, so that a mismatch of versions is seen and not guessed at."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Device(Message):
    """One GPU, or one slot of a machine without GPUs (`kind = "cpu"`)."""

    uuid: str = Field(max_length=80)
    kind: str = Field(max_length=64, description="GPU kind id, such as h200-141g, or cpu")
    name: str = Field(max_length=128)
    index: int = Field(ge=0)
    memory_bytes: int = Field(ge=0)
    host_memory_bytes: int | None = Field(default=None, ge=0, description="main memory of its machine")
    memory_used_bytes: int | None = None
    utilization: float | None = Field(default=None, ge=0, le=100)
    power_watts: float | None = None
    temperature_celsius: float | None = None
    trouble: str | None = Field(
        default=None, max_length=200, description="why nothing should run on it: strangers' processes, faults"
    )


def _require_own_ids(devices: list[Device]) -> list[Device]:
    if len({device.uuid for device in devices}) != len(devices):
        raise ValueError("two devices have the same uuid")
    return devices


# Else one device would be given out twice.
Devices = Annotated[list[Device], Field(max_length=256), AfterValidator(_require_own_ids)]


class Registration(Message):
    """A node introduces itself at its start."""

    protocol_version: int
    name: str = Field(min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9._-]*$")
    devices: Devices
    versions: dict[str, str] = Field(default_factory=dict, max_length=32)
    address: str | None = Field(
        default=None,
        max_length=253,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9.:-]*$",
        description="host name or IP address at which other nodes reach this one",
    )


class Probe(Message):
    """What one device of a kind, and its host, really reach (`worker/calibration.py`).

    `flops_per_second` of large matrix products in the width that training uses; `bytes_per_second` of a large copy,
    read and written; `operation_seconds` of one small operation with its gradient; `picture_seconds` of decoding and
    scaling a picture of 1928 × 1208.
    """

    kind: str = Field(min_length=1, max_length=64)
    flops_per_second: float = Field(gt=1e6, lt=1e18)
    bytes_per_second: float = Field(gt=1e6, lt=1e16)
    operation_seconds: float = Field(gt=1e-9, lt=1)
    picture_seconds: float = Field(gt=1e-6, lt=60)

    @property
    def fingerprint(self) -> str:
        """What tells this measurement from others."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


class Calibration(Message):
    """What a node measured of its kinds of device."""

    name: str = Field(min_length=1, max_length=64)
    probes: list[Probe] = Field(max_length=16)


class Taken(Message):
    """The answer to what needs none."""


class Welcome(Message):
    """The answer to a registration; `redis_url` is where this node's doorbell hangs."""

    node_id: str
    redis_url: str
    queue: str
    heartbeat_seconds: float
    fence_seconds: float


class AttemptKey(Message):
    """One attempt of one job, or the part of it that runs on a further node (rank 1 and up)."""

    job_id: str = Field(pattern=r"^[a-z0-9]{8,40}$")
    attempt: int = Field(ge=1)
    node_rank: int = Field(default=0, ge=0, lt=MAX_NODES)


class Heartbeat(Message):
    """A node is alive: its devices and the attempts whose supervisors live on it."""

    name: str
    devices: Devices
    attempts: list[AttemptKey] = Field(default_factory=list, max_length=1024)
    free_bytes: int | None = None
    stopping: bool = Field(default=False, description="the node is leaving: assign nothing to it")


class HeartbeatReply(Message):
    """What is assigned to the node (so that a lost doorbell only delays)."""

    assigned: list[AttemptKey]
    heartbeat_seconds: float


class Claim(Message):
    """A supervisor asks to run an attempt; the same supervisor may ask again when it heard no answer."""

    node: str
    supervisor: str = Field(max_length=200, description="tells supervisors apart: its pid and a random part")


class DatasetLink(Message):
    """A dataset the attempt reads: its folder under the home, and its entry for `dataset_info.json`."""

    name: str
    path: str = Field(description="relative to TUNEFORGE_HOME")
    dataset_info: dict[str, Any]


class TrackingPlan(Message):
    """How the run is tracked. `api_key` reaches the run in its environment only."""

    mode: Literal["cloud", "local", "off"]
    api_key: str | None = Field(default=None, repr=False)
    host: str | None = None
    web_host: str | None = None
    workspace: str | None = None


class LaunchOrder(Message):
    """All that a supervisor needs to run one attempt; paths are relative to TUNEFORGE_HOME."""

    job_id: str
    attempt: int
    kind: JobKind
    lease_token: str = Field(repr=False)
    lease_seconds: float
    fence_seconds: float
    config_yaml: str
    config_files: dict[Annotated[str, Field(pattern=r"^[a-z0-9_]+\.json$")], str] = Field(
        default_factory=dict, description="what the configuration reads beside it, by name"
    )
    model_path: str
    adapter_path: str | None = None
    datasets: list[DatasetLink]
    device_kind: str
    devices: list[str] = Field(description="those of this node")
    node_rank: int = 0
    node_count: int = 1
    tracking: TrackingPlan
    resume_from_attempt: int | None = Field(
        default=None, description="the newest earlier attempt whose folder may hold checkpoints"
    )
    last_known_step: int = Field(default=-1, description="the last step of which the job's curve has a point")
    log_limit_bytes: int
    total_steps: int | None = None


class Phase(StrEnum):
    """What an attempt is doing."""

    QUEUED = "queued"
    PREPARING = "preparing"
    LOADING = "loading"
    TOKENIZING = "tokenizing"
    TRAINING = "training"
    EVALUATING = "evaluating"
    SAVING = "saving"
    FINISHED = "finished"


class MetricPoint(Message):
    """One line of LLaMA-Factory's `trainer_log.jsonl`, in our words. `step` counts optimizer steps from 1."""

    step: int = Field(ge=0)
    epoch: float | None = None
    loss: float | None = None
    eval_loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens_per_second: float | None = None
    at: Moment


class Report(Message):
    """How an attempt stands; extends its lease. Points may be sent again: the step decides.

    `master_port` is where rank 0 of a job over several nodes gathers the processes, once it has begun to.
    """

    phase: Phase
    step: int = Field(ge=0)
    total_steps: int | None = Field(default=None, ge=0)
    eta_seconds: float | None = Field(default=None, ge=0)
    points: list[MetricPoint] = Field(default_factory=list, max_length=2000)
    log_bytes: int = Field(ge=0)
    peak_memory_bytes: int | None = None
    tracking_mode: Literal["cloud", "local", "offline", "off"] | None = None
    tracking_url: str | None = Field(default=None, max_length=1000)
    devices: list[Device] = Field(default_factory=list, max_length=256)
    master_port: int | None = Field(default=None, ge=1, le=65535)


class Want(StrEnum):
    """What the backend wants of an attempt; `end` is at once, as the other nodes' part of it has ended."""

    CONTINUE = "continue"
    STOP = "stop"
    PREEMPT = "preempt"
    END = "end"


class Reply(Message):
    """The answer to a report.

    Further nodes are told where rank 0 gathers the processes, rank 0 how many further nodes still work.
    """

    want: Want
    report_in_seconds: float
    master_address: str | None = None
    master_port: int | None = None
    peers_running: int = 0


class ArtifactFile(Message):
    """A file the attempt leaves; `name` is its path relative to the attempt's `output` folder."""

    name: str = Field(max_length=500)
    size_bytes: int = Field(ge=0)


class FinalReport(Report):
    """The last word about an attempt.

    `results` is LLaMA-Factory's `all_results.json`; `run_seconds` the wall time from launch to exit;
    `checkpoint_step` the last whole checkpoint, null without one.
    """

    end_reason: EndReason
    detail: str = Field(default="", max_length=4000)
    log_excerpt: str = Field(default="", max_length=20000)
    results: dict[str, SmallValue] = Field(default_factory=dict)
    artifacts: list[ArtifactFile] = Field(default_factory=list, max_length=5000)
    run_seconds: float = Field(ge=0)
    checkpoint_step: int | None = None
    step_seconds_median: float | None = None
    phase_seconds: dict[str, float] = Field(default_factory=dict)
