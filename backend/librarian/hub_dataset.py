"""A dataset out of a hub's repository: fetched beside the draft, so that another attempt goes on, then laid out in it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from backend import archives, storage_datasets
from backend.domain.errors import TooLarge
from backend.hubs import HubSource, fetch
from backend.librarian.running import RunningChore


def take_repository(chore: RunningChore, source: dict[str, Any], path: str, draft: Path, room: int) -> None:
    """Fetch a repository and lay its files out in the draft, archives unpacked."""

    def tell(received: int, total: int) -> None:
        fraction = received / total if total else 1.0
        chore.report("downloading", fraction, received_bytes=received, total_bytes=total)

    def require_room(total: int) -> None:
        if total > room:
            raise TooLarge(
                f"This repository needs {total} bytes and {room} are left. Delete what you do not need.",
                zh=f"该仓库需要 {total} 字节，只剩 {room} 字节，请删除不需要的内容。",
                code="quota_exceeded",
            )

    chore.report("listing", None)
    wanted = HubSource(
        source["hub"], "dataset", source["repo_id"], source["revision"],
        source.get("subset"), source.get("split"), whole=source.get("whole", False),
    )  # fmt: skip
    place = storage_datasets.get_hub_folder(path)
    snapshot = fetch(wanted, place, tell, require_room)
    left = room - snapshot.total_bytes
    for file in snapshot.files:
        found, target = place / file.path, draft / _place(file.path, snapshot.rows)
        kind = archives.find_kind(found)
        unpacked = target.with_name(PurePosixPath(file.path).name.partition(".")[0])
        if kind is None or unpacked.exists():
            storage_datasets.link_file(found, target)
            continue
        unpacked.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        archives.unpack(
            found, kind, found.name, unpacked, most_bytes=left,
            on_progress=lambda fraction, files: chore.report("unpacking", fraction, files=files),
        )  # fmt: skip


def _place(path: str, rows: list[str]) -> str:
    """Return where a file goes: several files of rows into one folder, which is how LLaMA-Factory reads them as one."""
    if path not in rows:
        return path
    name = path.replace("/", "_")
    return f"rows/{name}" if len(rows) > 1 else name
