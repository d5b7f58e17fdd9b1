"""How each hub lists a repository and where it keeps a file's bytes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote, urlencode

import yaml

from backend.domain.hub_files import MOST_FILES, HubName, RepoFile
from backend.hubs.connection import HubConnection

_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PAGE_SIZE = 200
_MOST_README_BYTES = 1 << 20
_MOST_FRONT_MATTER = 100_000
_FRONT_MATTER = re.compile(r"\ufeff?---[ \t]*\r?\n(.*?\n)---[ \t]*(?:\r?\n|$)", re.DOTALL)


@dataclass(frozen=True)
class HubSource:
    """A repository of a hub; without a revision its main branch. Of a dataset `subset` and `split`, or the `whole`."""

    hub: HubName
    kind: Literal["model", "dataset"]
    repo_id: str
    revision: str | None = None
    subset: str | None = None
    split: str | None = None
    whole: bool = False


@dataclass(frozen=True)
class Repository:
    """A repository as it is at one moment. `commit` is what its files are asked by from then on, `card` is the front
    matter of a dataset's README."""

    commit: str
    files: list[RepoFile]
    licence: str | None
    card: dict[str, Any] = field(default_factory=dict)


def read_repository(connection: HubConnection, source: HubSource) -> Repository:
    """Ask the hub for the list of files; httpx's errors, ValueError where the answer makes no sense."""
    read = _read_huggingface if source.hub == "huggingface" else _read_modelscope
    found = read(connection, source)
    if len(found.files) > MOST_FILES:
        raise ValueError("the repository has too many files")
    return found


def build_file_path(source: HubSource, commit: str, path: str) -> str:
    """Return where a file's bytes are, below the hub's endpoint."""
    if source.hub == "huggingface":
        prefix = "/datasets" if source.kind == "dataset" else ""
        return f"{prefix}/{source.repo_id}/resolve/{quote(commit, safe='')}/{quote(path)}"
    query = urlencode({"Revision": commit, "FilePath": path})
    return f"/api/v1/{source.kind}s/{source.repo_id}/repo?{query}"


# -- Hugging Face ------------------------------------------------------------------------------------------


def _read_huggingface(connection: HubConnection, source: HubSource) -> Repository:
    revision = quote(source.revision or "main", safe="")
    info = connection.read_json(f"/api/{source.kind}s/{source.repo_id}/revision/{revision}?blobs=true")
    files = [
        RepoFile(
            str(entry["rfilename"]),
            _read_size((entry.get("lfs") or entry)["size"]),
            _match(_SHA256, (entry.get("lfs") or {}).get("sha256")),
            None if entry.get("lfs") else _match(_SHA1, entry.get("blobId")),
        )
        for entry in _as_list(info["siblings"])
    ]
    commit = _match(_SHA1, info["sha"])
    if commit is None:
        raise ValueError("the hub names no commit")
    card = info.get("cardData")
    card = card if isinstance(card, dict) else {}
    licence = card.get("license")
    return Repository(commit, files, licence if isinstance(licence, str) else None, card)


# -- ModelScope --------------------------------------------------------------------------------------------


def _read_modelscope(connection: HubConnection, source: HubSource) -> Repository:
    revision = source.revision or "master"
    entries: list[Any] = []
    commit: str | None = None
    suffix = "files" if source.kind == "model" else "tree"
    for page in range(1, MOST_FILES // _PAGE_SIZE + 2):
        query = {"Revision": revision, "Recursive": "True"}
        if source.kind == "dataset":
            query |= {"PageNumber": str(page), "PageSize": str(_PAGE_SIZE)}
        answer = connection.read_json(
            f"/api/v1/{source.kind}s/{source.repo_id}/repo/{suffix}?{urlencode(query)}"
        )
        data = answer["Data"]
        found = _as_list(data["Files"])
        entries += found
        committer = data.get("LatestCommitter")
        commit = commit or _match(_SHA1, committer.get("Id") if isinstance(committer, dict) else None)
        if source.kind == "model" or len(found) < _PAGE_SIZE:
            break
    files = [
        RepoFile(str(entry["Path"]), _read_size(entry["Size"]), _match(_SHA256, entry.get("Sha256")))
        for entry in entries
        if entry.get("Type") != "tree"
    ]
    # Where it names no commit the branch is asked by; the hashes of its files are kept and hold all the same.
    card = _read_card(connection, source, commit or revision, files) if source.kind == "dataset" else {}
    licence = card.get("license")
    return Repository(commit or revision, files, licence if isinstance(licence, str) else None, card)


def _read_card(
    connection: HubConnection, source: HubSource, commit: str, files: list[RepoFile]
) -> dict[str, Any]:
    """Return the front matter of the README; one that is none, or too long to be one, says nothing."""
    if not any(file.path == "README.md" and file.size_bytes <= _MOST_README_BYTES for file in files):
        return {}
    text = connection.read_text(build_file_path(source, commit, "README.md"))
    front = _FRONT_MATTER.match(text)
    if front is None or len(front[1]) > _MOST_FRONT_MATTER:
        return {}
    try:
        card = yaml.safe_load(front[1])
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return card if isinstance(card, dict) else {}


def _as_list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("the hub's list is none")
    return value


def _read_size(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 50:
        raise ValueError("the hub gives a size that is none")
    return value


def _match(pattern: re.Pattern[str], value: Any) -> str | None:
    return value.lower() if isinstance(value, str) and pattern.fullmatch(value.lower()) else None
