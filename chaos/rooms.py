"""A view of the file system of the platform's own, in which small disks can be mounted for jobs to fill."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

_DISK_BYTES = 64 << 20
_BALLAST = "ballast"


class Room:
    """A process that holds a mount namespace open; what is mounted in it is gone with it."""

    def __init__(self) -> None:
        kept_as = [] if os.geteuid() == 0 else ["--map-root-user"]
        self._holder = subprocess.Popen(
            ["unshare", *kept_as, "--mount", "sleep", "infinity"], stdin=subprocess.DEVNULL
        )
        target = ["nsenter", "--target", str(self._holder.pid), "--mount"]
        self._mounting = target if not kept_as else [*target, "--user", "--preserve-credentials"]
        # Programs see themselves as who started us; PostgreSQL would refuse to run as root.
        back = ["unshare", "--user", f"--map-user={os.getuid()}", f"--map-group={os.getgid()}"]
        self.entrance = self._mounting if not kept_as else [*self._mounting, *back]
        """What a command begins with to run inside."""

    def has_opened(self) -> bool:
        """Whether the machine lets us mount in it."""
        own = os.readlink("/proc/self/ns/mnt")
        end = time.monotonic() + 5
        while time.monotonic() < end and self._holder.poll() is None:
            if os.readlink(f"/proc/{self._holder.pid}/ns/mnt") != own and self._enters():
                return True
            time.sleep(0.05)
        return False

    def _enters(self) -> bool:
        answer = subprocess.run([*self.entrance, "true"], capture_output=True, check=False)
        mounted = subprocess.run(
            [*self._mounting, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
        )
        return answer.returncode == 0 and mounted.returncode == 0

    def mount(self, folder: Path, free_bytes: int) -> None:
        """Mount a disk with that much room at `folder`, which only this view shows; the rest of it is ballast."""
        self._run("mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(folder))
        with (self.see(folder) / _BALLAST).open("wb") as ballast:
            os.posix_fallocate(ballast.fileno(), 0, _DISK_BYTES - free_bytes)

    def make_room(self, folder: Path) -> None:
        """Drop the ballast of a mounted disk."""
        (self.see(folder) / _BALLAST).unlink()

    def see(self, path: Path) -> Path:
        """Return the path under which we see what `path` is inside."""
        return Path(f"/proc/{self._holder.pid}/root{path}")

    def close(self) -> None:
        """Let go of it."""
        self._holder.kill()
        self._holder.wait()

    def _run(self, *command: str) -> None:
        subprocess.run([*self._mounting, *command], check=True, capture_output=True)
