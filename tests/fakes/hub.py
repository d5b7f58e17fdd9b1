"""A fake of Hugging Face's and ModelScope's servers, as a process of its own: `python -m tests.fakes.hub PORT FOLDER`.

It serves `FOLDER/{models,datasets}/<owner>/<name>/…` by both hubs' protocols, as their own clients speak them: lists of
files with sizes and hashes, pinned commits, redirects of large files to another place, ranges. What breaks is asked for
by `POST /_faults`; what was asked and how many bytes went out is told by `GET /_requests`.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
import time
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import yaml

LARGE_BYTES = 10_000
"""From this size on a file is kept as LFS: listed with its SHA-256, and served elsewhere."""
BLOCK = 16_384


@lru_cache(maxsize=256)
def hash_file(path: Path, stamp: int) -> tuple[str, str]:
    """Return (SHA-256, git's SHA-1 of the blob)."""
    content = path.read_bytes()
    blob = hashlib.sha1(b"blob %d\0" % len(content), usedforsecurity=False)
    blob.update(content)
    return hashlib.sha256(content).hexdigest(), blob.hexdigest()


class Hub:
    """What lies here, what shall break, and what was asked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = threading.Lock()
        self.faults: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []

    def list_files(self, kind: str, repo: str) -> list[tuple[str, Path]]:
        """Return (name, file) of all files of a repository; `names.json` beside it gives others, for hostile ones."""
        folder = self.root / kind / repo
        found = [(p.relative_to(folder).as_posix(), p) for p in sorted(folder.rglob("*")) if p.is_file()]
        renamed = folder.with_name(folder.name + ".names.json")
        names = json.loads(renamed.read_text()) if renamed.exists() else {}
        return [(names.get(name, name), path) for name, path in found]

    def find_commit(self, kind: str, repo: str) -> str:
        """Return the commit that the repository stands at."""
        files = [(name, self.hash(path)) for name, path in self.list_files(kind, repo)]
        return hashlib.sha1(repr(files).encode(), usedforsecurity=False).hexdigest()

    def hash(self, path: Path) -> tuple[str, str]:
        """Return a file's hashes."""
        return hash_file(path, path.stat().st_mtime_ns)

    def take_fault(self, place: str, path: str) -> dict[str, Any] | None:
        """Return what shall go wrong with this request, counting it down."""
        with self.lock:
            for fault in self.faults:
                if fault["place"] == place and fault.get("path", "") in path and fault["times"] > 0:
                    fault["times"] -= 1
                    return fault
        return None


class Speaker(BaseHTTPRequestHandler):
    """One request. `hub` is set on the class."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing: tests ask for the requests."""

    def do_POST(self) -> None:
        """Take the faults that shall happen from now on."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/_faults":
            with self.hub.lock:
                self.hub.faults = json.loads(body)
                self.hub.requests = []
        self._say(200, {"Data": {}})

    def do_HEAD(self) -> None:
        """Answer as GET does, without a body."""
        self.do_GET()

    def do_GET(self) -> None:
        """Answer by either hub's protocol."""
        parts = urlsplit(self.path)
        names = [unquote(part) for part in parts.path.strip("/").split("/")]
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/_requests":
            with self.hub.lock:
                self._say(200, self.hub.requests)
            return
        self.note = {"path": self.path, "range": self.headers.get("Range"), "sent": 0, "method": self.command}
        self.note |= {name: self.headers.get(name) for name in ("Authorization", "Cookie", "Host")}
        with self.hub.lock:
            self.hub.requests.append(self.note)
        try:
            self._answer(names, query)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _answer(self, names: list[str], query: dict[str, str]) -> None:
        match names:
            case ["api", "v1", kind, owner, name, "repo", "files" | "tree"]:
                self._list_modelscope(kind, f"{owner}/{name}", query)
            case ["api", "v1", kind, owner, name, "repo"]:
                self._send_modelscope(kind, f"{owner}/{name}", query)
            case ["api", ("models" | "datasets") as kind, owner, name, "revision", revision]:
                self._list_huggingface(kind, f"{owner}/{name}", revision)
            case ["api", ("models" | "datasets") as kind, owner, name, "tree", revision]:
                self._list_tree(kind, f"{owner}/{name}", revision)
            case ["cdn", kind, owner, name, *path]:
                self._send_bytes(kind, f"{owner}/{name}", "/".join(path))
            case ["datasets", owner, name, "resolve", revision, *path]:
                self._resolve("datasets", f"{owner}/{name}", revision, "/".join(path))
            case [owner, name, "resolve", revision, *path]:
                self._resolve("models", f"{owner}/{name}", revision, "/".join(path))
            case _:
                self._say(404, {})

    # -- lists ---------------------------------------------------------------------------------------------

    def _break_listing(self, repo: str) -> bool:
        fault = self.hub.take_fault("list", repo)
        return fault is not None and self._fail(fault)

    def _list_huggingface(self, kind: str, repo: str, revision: str) -> None:
        if self._break_listing(repo):
            return
        files, commit = self.hub.list_files(kind, repo), self.hub.find_commit(kind, repo)
        if not files or revision not in ("main", commit):
            self._say(404, {"error": "Repository or revision not found"})
            return
        siblings = []
        for name, path in files:
            sha256, blob = self._hash(path, name)
            entry: dict[str, Any] = {"rfilename": name, "size": path.stat().st_size, "blobId": blob}
            if self._is_large(path):
                entry["lfs"] = {"sha256": sha256, "size": path.stat().st_size, "pointerSize": 134}
            siblings.append(entry)
        readme = self._find(kind, repo, "README.md")
        front = re.match(r"---\n(.*?\n)---\n", readme.read_text(), re.DOTALL) if readme else None
        card = {"license": "apache-2.0"} | (yaml.safe_load(front[1]) if front else {})
        self._say(200, {"id": repo, "modelId": repo, "sha": commit, "siblings": siblings, "cardData": card})

    def _list_tree(self, kind: str, repo: str, revision: str) -> None:
        if revision not in ("main", self.hub.find_commit(kind, repo)):
            self._say(404, {"error": "Revision not found"})
            return
        entries = []
        for name, path in self.hub.list_files(kind, repo):
            sha256, blob = self.hub.hash(path)
            size = path.stat().st_size
            entry: dict[str, Any] = {"type": "file", "path": name, "size": size, "oid": blob}
            if self._is_large(path):
                entry["lfs"] = {"oid": sha256, "size": size, "pointerSize": 134}
            entries.append(entry)
        self._say(200, entries)

    def _list_modelscope(self, kind: str, repo: str, query: dict[str, str]) -> None:
        if self._break_listing(repo):
            return
        files, commit = self.hub.list_files(kind, repo), self.hub.find_commit(kind, repo)
        if not files or query.get("Revision") not in ("master", commit):
            self._say(404, {"Code": 10010205001, "Message": "not found", "Success": False})
            return
        entries = [
            {
                "Path": name, "Name": name.rsplit("/", 1)[-1], "Type": "blob", "Size": path.stat().st_size,
                "Sha256": self._hash(path, name)[0], "Revision": commit, "IsLFS": self._is_large(path),
            }
            for name, path in files
        ]  # fmt: skip
        if "PageNumber" in query:
            size, page = int(query["PageSize"]), int(query["PageNumber"])
            entries = entries[(page - 1) * size : page * size]
        data = {"Files": entries, "LatestCommitter": {"Id": commit}}
        self._say(200, {"Code": 200, "Success": True, "Data": data})

    def _hash(self, path: Path, name: str) -> tuple[str, str]:
        fault = self.hub.take_fault("hash", name)
        return ("0" * 64, "0" * 40) if fault else self.hub.hash(path)

    @staticmethod
    def _is_large(path: Path) -> bool:
        return path.stat().st_size >= LARGE_BYTES

    # -- bytes ---------------------------------------------------------------------------------------------

    def _find(self, kind: str, repo: str, name: str) -> Path | None:
        return next((path for listed, path in self.hub.list_files(kind, repo) if listed == name), None)

    def _resolve(self, kind: str, repo: str, revision: str, name: str) -> None:
        path, commit = self._find(kind, repo, name), self.hub.find_commit(kind, repo)
        if path is None or revision not in ("main", commit):
            self._say(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
            return
        sha256, blob = self.hub.hash(path)
        pinned = {"X-Repo-Commit": commit}
        if not self._is_large(path):
            self._send_bytes(kind, repo, name, pinned | {"ETag": f'"{blob}"'})
            return
        linked = {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(path.stat().st_size)}
        # Another host, as the real hub's: its client takes the redirect's headers only from there.
        port = self.headers["Host"].rpartition(":")[2]
        place = f"http://localhost:{port}/cdn/{kind}/{repo}/{quote(name)}"
        self._say(302, None, pinned | linked | {"Location": place, "ETag": f'"{sha256}"'})

    def _send_modelscope(self, kind: str, repo: str, query: dict[str, str]) -> None:
        path = self._find(kind, repo, query.get("FilePath", ""))
        if path is None or query.get("Revision") not in ("master", self.hub.find_commit(kind, repo)):
            self._say(404, {"Code": 404, "Success": False})
            return
        self._send_bytes(kind, repo, query["FilePath"])

    def _send_bytes(self, kind: str, repo: str, name: str, headers: dict[str, str] | None = None) -> None:
        path = self._find(kind, repo, name)
        assert path is not None
        fault = self.hub.take_fault("bytes", name) or {}
        if fault and self._fail(fault):
            return
        content = path.read_bytes()
        start, end = self._read_range(len(content))
        piece = content[start:end]
        if fault.get("kind") == "wrong":
            piece = bytes(byte ^ 255 for byte in piece)
        if fault.get("kind") == "longer":
            piece += b"x" * 100
        self.send_response(206 if self.headers.get("Range") else 200)
        if self.headers.get("Range"):
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        for header, value in (headers or {"ETag": f'"{self.hub.hash(path)[0]}"'}).items():
            self.send_header(header, value)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(piece)))
        self.end_headers()
        if self.command != "HEAD":
            self._write(piece, fault)

    def _read_range(self, size: int) -> tuple[int, int]:
        wanted = (self.headers.get("Range") or "bytes=0-").removeprefix("bytes=")
        start, _, end = wanted.partition("-")
        return int(start), min(size, int(end) + 1) if end else size

    def _write(self, piece: bytes, fault: dict[str, Any]) -> None:
        stop = len(piece) // 2 if fault.get("kind") == "cut" else len(piece)
        for place in range(0, stop, BLOCK):
            block = piece[place : min(stop, place + BLOCK)]
            self.wfile.write(block)
            self.note["sent"] += len(block)
            if fault.get("kind") == "slow":
                time.sleep(fault.get("seconds", 0.05))
        if stop < len(piece):
            self.close_connection = True

    def _fail(self, fault: dict[str, Any]) -> bool:
        """Fail with a status, or by silence; tell whether the request is over."""
        kind = fault["kind"]
        if kind == "hang":
            time.sleep(fault.get("seconds", 60))
            self.close_connection = True
            return True
        if isinstance(kind, int):
            self._say(kind, {"error": "asked for"}, {"Retry-After": "1"} if kind == 429 else {})
            return True
        return False

    def _say(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def main() -> None:
    """Serve until killed."""
    port, root = int(sys.argv[1]), Path(sys.argv[2])
    Speaker.hub = Hub(root)
    ThreadingHTTPServer(("127.0.0.1", port), Speaker).serve_forever()


if __name__ == "__main__":
    main()
