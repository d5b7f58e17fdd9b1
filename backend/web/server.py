"""The HTTP server, which ends live pages' streams first when it is told to stop."""

from __future__ import annotations

import gc
import socket

import uvicorn
from fastapi import FastAPI

from backend.domain.pace import LONGEST_SECONDS


class Server(uvicorn.Server):
    """Uvicorn waits for open connections before it tells the application to stop; streams would keep it waiting."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                log_level="info",
                server_header=False,
                # Supervisors keep their connection from one report to the next.
                timeout_keep_alive=int(3 * LONGEST_SECONDS),
                # A client that hangs must not hold the process.
                timeout_graceful_shutdown=8,
            )
        )
        self.application = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Keep what was loaded for good out of the collector's sight.

        Each full collection would look through hundreds of thousands of objects that never go, and nobody would be
        answered meanwhile: a tenth of a second, several times a minute.
        """
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, and then all the rest."""
        self.application.state.broadcaster.close()
        await super().shutdown(sockets)
