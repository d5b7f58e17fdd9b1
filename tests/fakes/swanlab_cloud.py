"""A fake of SwanLab's cloud: a process of its own that speaks what the swanlab 0.10.3 client speaks.

    python -m tests.fakes.swanlab_cloud --port N --record DIR [--key KEY]... [--mode MODE]

Written from the client's own requests (`swanlab/sdk/internal/core_python/api`), as the service cannot be
reached from where tests run. Every request under `/api` is appended to `DIR/requests.jsonl` with its headers
and body.
Modes, also set while running by `POST /__fake__/mode {"mode": …}`:

    ok           answers as the service does
    reject       401 to everything
    unverified   403 to everything
    error        500 to everything
    hang         takes requests and never answers (until the mode changes)
    garbage      200 with a page that is not SwanLab's
    redirect     302 to another path of this server, which must never be asked
    die          every connection is cut without an answer

and each but ok as `<mode>-after:N`: N more answers as in ok, then so.
"""

from __future__ import annotations

import argparse
import json
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

DEFAULT_KEY = "fake-swanlab-key-0001"
USERNAME = "fake-user"
SID = "fake-session-id"
MODES = ("ok", "reject", "unverified", "error", "hang", "garbage", "redirect", "die")

Answer = tuple[int, Any]


class Cloud:
    """What the fake holds: projects, experiments, and everything that arrived."""

    def __init__(self, keys: list[str], record_dir: Path, mode: str) -> None:
        self.keys = keys
        self.record_file = record_dir / "requests.jsonl"
        self.lock = threading.Lock()
        self.changed = threading.Event()
        self.projects: dict[str, dict[str, Any]] = {}
        self.experiments: dict[str, dict[str, Any]] = {}
        self.mode, self.answers_left = "ok", 0
        self.set_mode(mode)

    def set_mode(self, mode: str) -> None:
        """Change the mode; requests held by `hang` are let go and cut."""
        name, _, count = mode.partition("-after:")
        if name not in MODES:
            raise ValueError(f"no such mode: {mode}")
        with self.lock:
            self.mode, self.answers_left = name, int(count or 0)
        self.changed.set()
        self.changed = threading.Event()

    def take_turn(self) -> str:
        """Return the mode for one request, counting down where it counts."""
        with self.lock:
            self.answers_left -= 1
            return "ok" if self.answers_left >= 0 else self.mode

    def record(self, entry: dict[str, Any]) -> None:
        """Append one request to the record."""
        with self.lock, self.record_file.open("a") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def answer(self, method: str, path: str, headers: dict[str, str], body: Any) -> Answer:
        """Answer as the service does."""
        if (method, path) == ("POST", "/api/login/api_key"):
            return self._log_in(headers)
        if f"sid={SID}" not in headers.get("cookie", ""):
            return 401, {"code": "unauthorized", "message": "log in first"}
        for route_method, pattern, handle in ROUTES:
            found = re.fullmatch(pattern, path)
            if found and method == route_method:
                with self.lock:
                    return handle(self, found, body)
        return 404, {"code": "not_found", "message": f"no route {method} {path}"}

    def _log_in(self, headers: dict[str, str]) -> Answer:
        if headers.get("authorization") not in self.keys:
            return 401, {"code": "unauthorized", "message": "invalid api key"}
        expires = (datetime.now(UTC) + timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        return 200, {
            "sid": SID,
            "expiredAt": expires,
            "userInfo": {"username": USERNAME, "name": "Fake User"},
        }


def get_project(cloud: Cloud, found: re.Match[str], _: Any) -> Answer:
    """`GET /project/{username}/{name}`."""
    project = cloud.projects.get(f"{found['user']}/{found['project']}")
    return (200, project) if project else (404, {"code": "not_found", "message": "no such project"})


def create_project(cloud: Cloud, found: re.Match[str], body: Any) -> Answer:
    """`POST /projects/{username}`."""
    user, name = found["user"], body["name"]
    cloud.projects[f"{user}/{name}"] = {
        "cuid": f"project{len(cloud.projects) + 1}",
        "name": name,
        "version": 1,
        "path": f"/{user}/{name}",
        "visibility": body["visibility"],
        "group": {"username": user},
        "_count": {"experiments": 0, "contributors": 1, "collaborators": 0, "clones": 0},
    }
    return 201, {"name": name, "username": user}


def create_experiment(cloud: Cloud, found: re.Match[str], body: Any) -> Answer:
    """`POST /project/{username}/{project}/experiment`: 201 new, 200 known."""
    project = cloud.projects.get(f"{found['user']}/{found['project']}")
    if project is None:
        return 404, {"code": "not_found", "message": "no such project"}
    known = body["cuid"] in cloud.experiments
    experiment = cloud.experiments.setdefault(body["cuid"], {**body, "slug": body["cuid"]})
    project["_count"]["experiments"] += 0 if known else 1
    return (200 if known else 201), experiment


def accept(_: Cloud, __: re.Match[str], ___: Any) -> Answer:
    """Whatever is only taken in: metrics, columns, profile, heartbeat, state."""
    return 200, {}


_PROJECT = r"/api/project/(?P<user>[^/]+)/(?P<project>[^/]+)"
ROUTES: list[tuple[str, str, Callable[[Cloud, re.Match[str], Any], Answer]]] = [
    ("GET", _PROJECT, get_project),
    ("POST", r"/api/projects/(?P<user>[^/]+)", create_project),
    ("POST", _PROJECT + "/experiment", create_experiment),
    ("PUT", _PROJECT + r"/runs/(?P<run>[^/]+)/(profile|state)", accept),
    ("POST", r"/api/projects/[^/]+/[^/]+/series", accept),
    ("POST", r"/api/house/metrics", accept),
    ("POST", r"/api/house/experiments/[^/]+/heartbeat", accept),
]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    cloud: Cloud

    def handle_any(self) -> None:
        """Record the request, then do to it what the mode says."""
        body = self._read_body()
        path = urlsplit(self.path).path
        headers = {name.lower(): value for name, value in self.headers.items()}
        if path.startswith("/__fake__/"):
            self._control(path, body)
            return
        mode = self.cloud.take_turn()
        # In hang the request is on record before it hangs; its status says that none was sent.
        entry = {
            "at": time.time(),
            "method": self.command,
            "path": self.path,
            "headers": headers,
            "body": body,
        }
        if mode in ("hang", "die"):
            self.cloud.record({**entry, "status": None})
            if mode == "hang":
                self.cloud.changed.wait()
            self.close_connection = True
            return
        status, answer = self._decide(mode, path, headers, body)
        self.cloud.record({**entry, "status": status})
        self._send(status, answer, {"Location": "/elsewhere"} if mode == "redirect" else {})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

    def _decide(self, mode: str, path: str, headers: dict[str, str], body: Any) -> Answer:
        refusals: dict[str, Answer] = {
            "reject": (401, {"code": "unauthorized", "message": "invalid api key"}),
            "unverified": (403, {"code": "forbidden", "message": "verify your account first"}),
            "error": (500, {"code": "internal", "message": "something broke"}),
            "garbage": (200, "<html>a login page of some network</html>"),
            "redirect": (302, ""),
        }
        return refusals.get(mode) or self.cloud.answer(self.command, path, headers, body)

    def _control(self, path: str, body: Any) -> None:
        try:
            if path == "/__fake__/mode" and self.command == "POST":
                self.cloud.set_mode(body["mode"])
            self._send(200, {"mode": self.cloud.mode, "experiments": self.cloud.experiments})
        except (KeyError, TypeError, ValueError) as error:
            self._send(400, {"message": str(error)})

    def _read_body(self) -> Any:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            return json.loads(raw) if raw else None
        except ValueError:
            return raw.decode(errors="replace")

    def _send(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        is_text = isinstance(answer, str)
        raw = answer.encode() if is_text else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if is_text else "application/json")
        self.send_header("Content-Length", str(len(raw)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the record has it all."""


class Server(ThreadingHTTPServer):
    """One thread a connection, none of which keeps the process alive."""

    daemon_threads = True


def main() -> None:
    """Serve until killed; the first line printed is the address."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--key", action="append", help=f"keys it knows; default {DEFAULT_KEY}")
    parser.add_argument("--mode", default="ok")
    options = parser.parse_args()
    options.record.mkdir(parents=True, exist_ok=True)
    Handler.cloud = Cloud(options.key or [DEFAULT_KEY], options.record, options.mode)
    server = Server(("127.0.0.1", options.port), Handler)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
