"""Datasets that come in while things break: each must be there once, with every one of its rows."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

from chaos.client import Client, Json, Refused

_ROWS = 20_000
_PIECE_BYTES = 256 << 10
_BUSY = ("importing", "checking")
_END_SECONDS = 180.0


@dataclass
class Import:
    """One dataset on its way: its name, its file, and the upload's id."""

    name: str
    content: bytes
    upload_id: str
    dataset_id: str | None = None

    @property
    def rows(self) -> int:
        return self.content.count(b"\n")


class Imports:
    """Datasets of one fault."""

    def __init__(self, client: Client, number: int) -> None:
        self._client, self._prefix = client, f"chaos-{number:02}"
        self._all: list[Import] = []

    def send_half(self) -> Import:
        """Begin an upload, and send about half of it."""
        number = len(self._all)
        rows = (
            json.dumps({"instruction": f"{number} {row}", "output": "x" * 80})
            for row in range(_ROWS + number)
        )
        content = "".join(f"{row}\n" for row in rows).encode()
        name = f"{self._prefix}-{number}"
        body = {"file_name": f"{name}.jsonl", "size_bytes": len(content), "purpose": "dataset"}
        begun = self._client.call(
            "POST", "/uploads", json=body, headers={"Idempotency-Key": f"upload-{name}"}
        ).json()
        self._all.append(Import(name, content, begun["id"]))
        self._send(self._all[-1], until=len(content) // 2)
        return self._all[-1]

    def finish(self, one: Import) -> None:
        """Send the rest, and have a dataset made of it."""
        self._send(one, until=len(one.content))
        body = {"upload_id": one.upload_id, "name": one.name}
        made = self._client.call(
            "POST", "/datasets", json=body, headers={"Idempotency-Key": f"dataset-{one.name}"}
        )
        one.dataset_id = made.json()["id"]

    def _send(self, one: Import, until: int) -> None:
        """Send pieces from where the server says it is, whatever was said before."""
        path = f"/uploads/{one.upload_id}"
        while (offset := int(self._client.call("GET", path).json()["received_bytes"])) < until:
            piece = one.content[offset : min(until, offset + _PIECE_BYTES)]
            headers = {"Upload-Offset": str(offset), "Content-Type": "application/octet-stream"}
            self._client.call("PATCH", path, content=piece, headers=headers)

    def list_faults(self) -> list[str]:
        """Return what is wrong once all has ended: a dataset that is not ready, lacks rows, or is there twice."""
        faults = []
        for one in self._all:
            shown = self._wait_for(one)
            if shown["status"] != "ready" or shown["usable_count"] != one.rows:
                faults.append(
                    f"{one.name}: {shown['status']}, {shown['usable_count']} of {one.rows} rows, {shown['error']}"
                )
        names = [found["name"] for found in self._list_all() if found["name"].startswith(self._prefix)]
        return faults + [
            f"{name} is there {names.count(name)} times" for name in {*names} if names.count(name) > 1
        ]

    def _wait_for(self, one: Import) -> Json:
        end = time.monotonic() + _END_SECONDS
        while True:
            try:
                shown: Json = self._client.call("GET", f"/datasets/{one.dataset_id}").json()
            except Refused as error:
                return {"status": "gone", "usable_count": None, "error": str(error)}
            if shown["status"] not in _BUSY or time.monotonic() > end:
                return shown
            time.sleep(0.5)

    def _list_all(self) -> list[Json]:
        found: list[Json] = []
        after: Json = {}
        while True:
            page = self._client.call("GET", "/datasets", params={"limit": 100, **after}).json()
            found += page["data"]
            if not page["has_more"]:
                return found
            after = {"after": page["next"]}
