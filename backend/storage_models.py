"""Models under TUNEFORGE_HOME: where they lie, drafts that appear whole or not at all, and their removal."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backend.domain.hub_files import RepoFile, choose_model_files, require_safe_names
from backend.storage import FACTS_FILE, get_home

_BLOCK = 8 << 20


def build_path(model_id: str, owner_id: str | None) -> str:
    """Return where a model lies, relative to the home: shared ones in `models`, a person's in their own folder."""
    return f"users/{owner_id}/models/{model_id}" if owner_id else f"models/{model_id}"


def get_draft(path: str) -> Path:
    """Return the hidden folder beside a model's, in which it is made."""
    place = get_home() / path
    return place.with_name(f".{place.name}.download")


def has_folder(path: str) -> bool:
    """Whether the model's folder is there."""
    return (get_home() / path).is_dir()


def publish(path: str, facts: dict[str, Any]) -> None:
    """Let a whole draft appear under its name, with its `tuneforge.json`."""
    draft = get_draft(path)
    (draft / FACTS_FILE).write_text(json.dumps(facts, ensure_ascii=False, indent=2), "utf-8")
    draft.rename(get_home() / path)


def delete(path: str) -> None:
    """Remove a model and its draft; links are removed, never followed."""
    for folder in (get_home() / path, get_draft(path)):
        if folder.is_symlink():
            folder.unlink()
        elif folder.is_dir():
            shutil.rmtree(folder)


def copy_model(source: Path, draft: Path, on_progress: Callable[[int, int], None]) -> None:
    """Copy a model's files, as they would be chosen from a hub; links are passed over.

    What an earlier process copied whole is not copied again.
    """
    found = []
    for folder, _, names in os.walk(source):
        for name in names:
            path = Path(folder) / name
            if path.is_file() and not path.is_symlink():
                found.append(RepoFile(path.relative_to(source).as_posix(), path.stat().st_size))
    require_safe_names(found)
    files = choose_model_files(found)
    done, total = 0, sum(file.size_bytes for file in files)
    for file in files:
        target = draft / file.path
        if not (target.is_file() and target.stat().st_size == file.size_bytes):
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f"{target.name}.part")
            with (source / file.path).open("rb") as read, part.open("wb") as write:
                while block := read.read(_BLOCK):
                    write.write(block)
                    on_progress(done + write.tell(), total)
            part.replace(target)
        done += file.size_bytes
        on_progress(done, total)
