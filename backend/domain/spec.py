"""What a person asks for when submitting a job: the body of `POST /api/v1/jobs`, and the frozen spec."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from backend.domain.job import MAX_NODES, JobKind

MAX_NAME_LENGTH = 120


def _require_plain_text(value: str) -> str:
    """Refuse control characters, which databases, shells and terminals each read in their own way."""
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        raise PydanticCustomError("control_characters", "must not contain control characters")
    if value != value.strip():
        raise PydanticCustomError("space_at_the_ends", "must not begin or end with a space")
    return value


PlainText = Annotated[str, AfterValidator(_require_plain_text)]
Reference = Annotated[PlainText, Field(min_length=1, max_length=200)]
JobName = Annotated[PlainText, Field(min_length=1, max_length=MAX_NAME_LENGTH)]


MAX_DEPTH = 16


def _require_small(value: Any, depth: int = 0) -> Any:
    """Refuse what YAML, databases or JSON's readers could not hold: deep nesting, endless and infinite numbers."""
    if depth > MAX_DEPTH:
        raise PydanticCustomError("nested_too_deep", "is nested more than {depth} deep", {"depth": MAX_DEPTH})
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            _require_small(part, depth + 1)
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise PydanticCustomError("number_too_long", "is a number of more than 64 bits")
    elif isinstance(value, float) and not math.isfinite(value):
        raise PydanticCustomError("finite_number", "is not a finite number")
    return value


SmallValue = Annotated[Any, AfterValidator(_require_small)]
"""Any JSON value of reasonable depth, its numbers finite."""


def _to_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("beyond_the_calendar", "lies beyond the calendar") from None


Moment = Annotated[AwareDatetime, AfterValidator(_to_utc)]
"""A moment with its time zone, as one in UTC; the first and last hours of the calendar have none."""


class Body(BaseModel):
    """Unknown fields are an error, never ignored; infinities are not numbers to compute with."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Resources(Body):
    """The GPUs a job asks for; without a kind the platform takes the one it has.

    They lie on one node unless no node has so many: then in equal shares on as few as can be, `max_nodes` at most.
    """

    gpu_kind: Annotated[PlainText, Field(min_length=1, max_length=64)] | None = None
    gpu_count: int = Field(default=1, ge=1, le=1024)
    max_nodes: int = Field(default=1, ge=1, le=MAX_NODES)


Tier = Literal["express", "flex", "spot"]


class _JobBody(Body):
    name: JobName | None = None
    datasets: list[Reference] = Field(min_length=1, max_length=20)
    args: dict[str, SmallValue] = Field(default_factory=dict, max_length=400)
    resources: Resources = Field(default_factory=Resources)
    tier: Tier = "express"


class TrainBody(_JobBody):
    """Fine-tune `model` on `datasets`."""

    kind: Literal["train"]
    model: Reference
    stage: Literal["sft"] = "sft"
    finetuning_type: Literal["lora", "freeze", "full"] = "lora"


class EvaluateBody(_JobBody):
    """Measure a model on `datasets`; `adapter` names a train job or a checkpoint, null is untouched."""

    kind: Literal["evaluate"]
    model: Reference | None = None
    adapter: Annotated[PlainText, Field(pattern=r"^[a-z0-9]{8,40}(:checkpoint-[0-9]{1,9})?$")] | None = None


JobBody = Annotated[TrainBody | EvaluateBody, Field(discriminator="kind")]


@dataclass(frozen=True)
class Unfetched:
    """A model or dataset (`place` is `models` or `datasets`) that is offered, but whose files are not here."""

    place: str
    id: str
    name: str


@dataclass(frozen=True)
class PreparedJob:
    """A job that holds together, ready to be queued once what is `unfetched` is there."""

    name: str
    kind: JobKind
    spec: dict[str, Any]
    config_yaml: str
    launch: dict[str, Any]
    estimate: dict[str, Any]
    gpu_kind: str
    gpu_count: int
    tier: str
    max_nodes: int = 1
    unfetched: tuple[Unfetched, ...] = ()


def parse_adapter(adapter: str) -> tuple[str, int | None]:
    """Split `"<job id>:checkpoint-40"` into the job's id and a step (None: the final result)."""
    job_id, _, checkpoint = adapter.partition(":checkpoint-")
    return job_id, int(checkpoint) if checkpoint else None


def build_job_name(model: str, kind: str, stamp: str) -> str:
    """Return the name of a job nobody named, such as `Qwen2.5-VL-7B-Instruct-FS20250820105604`."""
    suffix = {"train": "FS", "evaluate": "EC"}[kind]
    return f"{model[: MAX_NAME_LENGTH - 20]}-{suffix}{stamp}"


_SPECIAL = re.compile(r"<\|(?:vision_start|vision_end|image_pad|video_pad|im_start|im_end|endoftext)\|>")
_ROLE = re.compile(r"<\|im_start\|>(system|user|assistant)\n?")


def clean_prompt(prompt: str) -> str:
    """Return the last question of a prompt as LLaMA-Factory recorded it, without the template's tokens."""
    turns = _ROLE.split(prompt)
    users = [turns[i + 1] for i in range(1, len(turns) - 1, 2) if turns[i] == "user"]
    return _SPECIAL.sub("", users[-1] if users else prompt).replace("<image>", "").strip()
