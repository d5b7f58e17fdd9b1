"""The process of one board: swanboard on a Unix socket, alive for as long as the platform holds its input open.

    python -m backend.board.serve FOLDER SOCKET

A socket file in a folder of mode 0700 rather than a port: on a port of loopback every process of the machine, the
jobs' own among them, could ask swanboard's media route for any file that the platform may read.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from backend.board.gate import find_target

Scope = MutableMapping[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]


def main(folder: str, socket: str) -> None:
    """Serve the board of `folder` on `socket` until standard input ends."""
    os.umask(0o077)
    os.environ["SWANLAB_LOG_DIR"] = folder
    threading.Thread(target=_leave_with_the_platform, args=(folder,), daemon=True).start()

    import uvicorn
    from swanboard.app import app
    from swanboard.db import connect

    connect(path=folder)
    uvicorn.run(shut_in(app), uds=socket, log_level="error", access_log=False, lifespan="off")


def shut_in(app: Application) -> Application:
    """Return `app` behind the same list as the gate's, so that a fault in front of it opens nothing."""

    async def guarded(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] == "GET" and find_target(scope["path"]) is not None:
            await app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    return guarded


def _leave_with_the_platform(folder: str) -> None:
    sys.stdin.buffer.read()
    shutil.rmtree(folder, ignore_errors=True)  # links and copied names; the runs' own logs lie elsewhere
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
