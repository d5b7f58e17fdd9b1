"""The node's side of the nodes' door: every call is bounded, and its failure says whether to try again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from backend.domain.protocol import (
    PROTOCOL_VERSION,
    AttemptKey,
    Calibration,
    Claim,
    Device,
    FinalReport,
    Heartbeat,
    HeartbeatReply,
    LaunchOrder,
    Registration,
    Reply,
    Report,
    Taken,
    Welcome,
)

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 10.0

# The door is shut for a while (token being changed, too many calls, backend starting), not for good.
_PASSING = frozenset({401, 403, 408, 425, 429})

Answer = TypeVar("Answer", bound=BaseModel)
Value = TypeVar("Value")


class Away(Exception):
    """The backend did not answer, or not sensibly: try again later."""


class Refused(Exception):
    """The backend said no: `status` 409 means that the attempt is not ours, 404 that it is gone."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail


class BackendClient:
    """Speaks version 1 of the internal contract; one per process, not for several threads at once.

    Proxies of the environment are not used: they are meant for downloads, the backend is on our own network.
    """

    def __init__(self, server_url: str, node_token: str, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._client = httpx.Client(
            base_url=f"{server_url}/internal/v1",
            headers={"Authorization": f"Bearer {node_token}"},
            timeout=httpx.Timeout(answer_seconds, connect=CONNECT_SECONDS),
            # Building a TLS context costs 20 ms, which a start of a job need not pay for plain HTTP.
            verify=server_url.startswith("https://"),
            trust_env=False,
        )

    def register(
        self, name: str, devices: list[Device], versions: dict[str, str], address: str | None = None
    ) -> Welcome:
        """Introduce the node."""
        message = Registration(
            protocol_version=PROTOCOL_VERSION, name=name, devices=devices, versions=versions, address=address
        )
        return self._post("/nodes/register", message, Welcome)

    def beat(self, message: Heartbeat) -> HeartbeatReply:
        """Say that the node lives; 404 when the backend does not know it (any more)."""
        return self._post("/nodes/heartbeat", message, HeartbeatReply)

    def calibrate(self, message: Calibration) -> None:
        """Tell what was measured of this node's devices; 404 when the node was never registered."""
        self._post("/nodes/calibration", message, Taken)

    def claim(self, key: AttemptKey, node: str, supervisor: str) -> LaunchOrder:
        """Ask to run an attempt; Refused with 409 when it is not ours to run."""
        return self._post(_place(key, "claim"), Claim(node=node, supervisor=supervisor), LaunchOrder)

    def report(self, key: AttemptKey, lease: str, message: Report) -> Reply:
        """Say how an attempt stands; Refused with 409 when its lease is lost."""
        return self._post(_place(key, "report"), message, Reply, lease)

    def finish(self, key: AttemptKey, lease: str, message: FinalReport) -> Reply:
        """Say the last word about an attempt; twice is like once."""
        return self._post(_place(key, "finish"), message, Reply, lease)

    def close(self) -> None:
        """Close connections."""
        self._client.close()

    def _post(self, place: str, message: BaseModel, answer: type[Answer], lease: str | None = None) -> Answer:
        headers = {"Content-Type": "application/json"} | ({"X-Lease-Token": lease} if lease else {})
        try:
            response = self._client.post(place, content=message.model_dump_json(), headers=headers)
        except httpx.HTTPError as error:
            raise Away(f"{type(error).__name__}: {error}") from error
        status = response.status_code
        if status >= 500 or status in _PASSING:
            raise Away(f"{status}: {_read_detail(response)}")
        if status >= 400:
            raise Refused(status, _read_detail(response))
        try:
            return answer.model_validate_json(response.content)
        except ValidationError as error:
            raise Away(f"the answer is not one of the contract: {error}") from error


def _place(key: AttemptKey, action: str) -> str:
    further = f"/nodes/{key.node_rank}" if key.node_rank else ""
    return f"/jobs/{key.job_id}/attempts/{key.attempt}{further}/{action}"


def _read_detail(response: httpx.Response) -> str:
    try:
        body: Any = response.json()
    except ValueError:
        return response.text[:200]
    return str(body.get("detail", body))[:500] if isinstance(body, dict) else str(body)[:200]


def retry_while_away(
    action: Callable[[], Value],
    is_hopeless: Callable[[], bool],
    say: Callable[[str], None],
    longest_pause_seconds: float = 5.0,
) -> Value:
    """Return what `action` returns, trying again while the backend is away; Away once `is_hopeless` says so."""
    pause = 0.2
    said = ""
    while True:
        try:
            return action()
        except Away as error:
            if str(error) != said:
                said = str(error)
                say(f"the backend is away ({said}); trying again")
            if is_hopeless():
                raise
        time.sleep(pause)
        pause = min(pause * 1.7, longest_pause_seconds)
