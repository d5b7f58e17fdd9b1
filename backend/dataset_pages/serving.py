"""The process `python -m backend.dataset_pages.serving`: forks a reader for each connection that comes over its input.

It never looks into a file itself. A reader has its own limits of time and memory, which hold within code written in C
too, and says nothing if it breaks: the connection ends before the answer is whole.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from backend.dataset_files import read_embedded, read_rows, read_rows_at, render

MEMORY_BYTES = 2 << 30


def main() -> None:
    """Serve until the input is closed, which it is when the process that asks ends in any way."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for readers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever asks
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gc.freeze()
    channel = socket.socket(fileno=0)
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
        if not message:
            return
        for descriptor in descriptors:
            if os.fork() == 0:
                channel.close()
                _serve(socket.socket(fileno=descriptor))
            os.close(descriptor)


def _serve(connection: socket.socket) -> None:
    """Answer one request and end; whatever goes wrong, nothing is answered."""
    try:
        request = json.loads(connection.makefile("rb").read())
        _limit(request["seconds"])
        answer = _WORK[request["what"]](Path(request["folder"]), request["asked"])
        connection.sendall(len(answer).to_bytes(8, "big") + answer)
    except BaseException as error:
        print(f"A page could not be read: {type(error).__name__}: {error}"[:500], file=sys.stderr)
    finally:
        os._exit(0)


def _limit(seconds: float) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process wherever it is
    signal.setitimer(signal.ITIMER_REAL, seconds)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))


def _read_rows(folder: Path, asked: dict[str, Any]) -> bytes:
    log = asked["findings_file"]
    page = read_rows(
        folder,
        asked["info"],
        asked["offset"],
        asked["limit"],
        asked["query"],
        asked["finding"],
        findings_file=Path(log) if log else None,
    )
    return _pack(page.to_dict())


def _read_rows_at(folder: Path, asked: dict[str, Any]) -> bytes:
    return _pack(read_rows_at(folder, asked["info"], asked["numbers"]))


def _render(folder: Path, asked: dict[str, Any]) -> bytes:
    rows = read_rows(folder, asked["info"], asked["index"], 1).rows
    if not rows:
        return _pack(None)
    try:
        return _pack(render(rows[0], asked["template"]).to_dict())
    except KeyError:
        return _pack("no such template")


def _read_embedded(folder: Path, asked: dict[str, Any]) -> bytes:
    """Return the media type, an end of line, and the bytes."""
    found = read_embedded(folder, asked["info"], asked["row"], asked["kind"], asked["place"])
    return b"" if found is None else found[0].encode() + b"\n" + found[1]


def _pack(value: Any) -> bytes:
    return json.dumps(value, default=str).encode()


_WORK = {"rows": _read_rows, "rows_at": _read_rows_at, "rendered": _render, "embedded": _read_embedded}

if __name__ == "__main__":
    main()
