"""A person's client of the REST interface, who tries again while the platform is away."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import httpx

from chaos.platform import PASSWORD

Json = dict[str, Any]

_LOG_PIECE_BYTES = 32_000
_PATIENCE_SECONDS = 240.0
FINISHED = ("succeeded", "failed", "cancelled")


class Refused(Exception):
    """The platform said no."""


class Client:
    """Every call is tried again until it is answered; a submission's key makes one job of all its tries."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=f"{url}/api/v1", timeout=20, trust_env=False)

    def sign_in(self, name: str) -> None:
        """Show a token from now on."""
        body = {"username": "admin", "password": PASSWORD, "name": name}
        token = self.call("POST", "/tokens", json=body).json()["token"]
        self._client.headers["Authorization"] = f"Bearer {token}"

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Return the answer once there is one; Refused when it is no."""
        end = time.monotonic() + _PATIENCE_SECONDS
        while True:
            said = "no answer"
            with contextlib.suppress(httpx.TransportError):
                answer = self._client.request(method, path, **options)
                if answer.status_code < 400:
                    return answer
                said = f"{method} {path}: {answer.status_code} {answer.text[:500]}"
                if answer.status_code < 500 and answer.status_code != 429:
                    raise Refused(said)
            if time.monotonic() > end:
                raise Refused(f"{said}, for {_PATIENCE_SECONDS:.0f} s")
            time.sleep(0.3)

    def submit(self, body: Json) -> str:
        """Submit a job under its own name as the key; return its id."""
        return str(
            self.call("POST", "/jobs", json=body, headers={"Idempotency-Key": body["name"]}).json()["id"]
        )

    def get_job(self, job_id: str) -> Json:
        """Return one job."""
        job: Json = self.call("GET", f"/jobs/{job_id}").json()
        return job

    def list_jobs(self, words: str) -> list[Json]:
        """Return all jobs whose name holds `words`."""
        found: list[Json] = []
        after: Json = {}
        while True:
            page = self.call("GET", "/jobs", params={"limit": 100, "q": words, **after}).json()
            found += page["data"]
            if not page["has_more"]:
                return found
            after = {"after": page["next"]}

    def list_moves(self, job_id: str) -> str:
        """Return a job's moves and their times, for people."""
        events = self.call(
            "GET", f"/jobs/{job_id}/events", params={"limit": 100, "sort": "created_at"}
        ).json()["data"]
        return ", ".join(f"{event['new']} ({event['reason']}) {event['at'][11:19]}" for event in events)

    def list_steps(self, job_id: str) -> set[int]:
        """Return the steps of which the job's curve has a point."""
        points = self.call("GET", f"/jobs/{job_id}/metrics").json()["points"]
        return {int(point["step"]) for point in points}

    def read_log(self, job_id: str) -> bytes:
        """Return the whole log, fetched piece by piece from one offset to the next."""
        pieces, offset = [], 0
        while True:
            params = {"offset": offset, "limit": _LOG_PIECE_BYTES}
            answer = self.call("GET", f"/jobs/{job_id}/logs", params=params)
            pieces.append(answer.content)
            offset = int(answer.headers["X-Log-Next-Offset"])
            if answer.headers["X-Log-Complete"] == "true" or not answer.content:
                return b"".join(pieces)

    def drain(self, is_draining: bool) -> None:
        """Have all nodes take no new jobs, or take them again."""
        status = "draining" if is_draining else "online"
        for node in self.call("GET", "/admin/nodes").json()["data"]:
            self.call("PATCH", f"/admin/nodes/{node['id']}", json={"status": status})

    def count_nodes_online(self) -> int:
        """Return how many nodes are online."""
        return int(self.call("GET", "/resources").json()["nodes_online"])
