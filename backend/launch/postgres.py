"""PostgreSQL from the wheel's binaries: a cluster of our own, behind a password, on loopback only."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from backend.launch.places import Account, LaunchError, prepare_postgres_binaries

MAJOR_VERSION = "18"
ROLE = "tuneforge"
DATABASE = "tuneforge"

_HBA = "# Written by Tuneforge at every start.\nhost all all 127.0.0.1/32 scram-sha-256\n"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # loopback with a password is the only door
    "password_encryption": "scram-sha-256",
    "max_connections": "120",
    "shared_buffers": "64MB",
    "dynamic_shared_memory_type": "mmap",  # containers give /dev/shm 64 MB only
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
    "log_line_prefix": "%m [%p] ",
}


@dataclass
class Postgres:
    """One cluster in `folder`; `account` is set when we are root, as PostgreSQL refuses to run as root."""

    folder: Path
    password: str = field(repr=False)
    port: int
    log: Path
    account: Account | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)

    @property
    def url(self) -> str:
        """The database's URL, password included."""
        return f"postgresql://{ROLE}:{quote(self.password, safe='')}@127.0.0.1:{self.port}/{DATABASE}"

    def start(self) -> None:
        """Create the cluster if there is none, start the server and wait until it takes connections."""
        binaries = prepare_postgres_binaries(self.account)
        self._check_version()
        if not (self.folder / "PG_VERSION").exists():
            self._create_cluster(binaries)
        self._write_access_rules()
        self._end_leftover()
        command = [str(binaries / "postgres"), "-D", str(self.folder), "-p", str(self.port)]
        for name, value in {**_SETTINGS, **self.settings}.items():
            command += ["-c", f"{name}={value}"]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self.folder,
                env=_environment(),
                user=self._user,
                group=self._group,
                extra_groups=self._groups,
            )
        self._wait_until_ready()

    def stop(self, timeout_seconds: float = 30) -> None:
        """Stop the server: connections are cut and everything is written; the last resort is immediate."""
        if self.process is None:
            return
        for number, patience in ((signal.SIGINT, timeout_seconds), (signal.SIGQUIT, 5.0)):
            if self.process.poll() is None:
                self.process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience)
                return
        self.process.kill()
        self.process.wait(5)

    def _check_version(self) -> None:
        """Refuse a folder that another major version wrote, or that holds something else."""
        mark = self.folder / "PG_VERSION"
        if mark.exists():
            found = mark.read_text().strip()
            if found != MAJOR_VERSION:
                raise LaunchError(
                    f"{self.folder} was written by PostgreSQL {found}, and this installation brings "
                    f"PostgreSQL {MAJOR_VERSION}. Nothing was changed. Either dump it by that version's "
                    "pg_dumpall, move the folder away, start Tuneforge once and load the dump; or run that "
                    "server yourself and set DATABASE_URL."
                )
        elif self.folder.exists() and any(self.folder.iterdir()):
            raise LaunchError(
                f"{self.folder} is not empty and holds no PostgreSQL cluster. Nothing was changed: "
                "move it away, or restore it from a backup, and start again."
            )

    def _create_cluster(self, binaries: Path) -> None:
        """Run our own initdb into a draft, which becomes the cluster only when it is whole."""
        self.folder.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        draft = self.folder.with_name(f".{self.folder.name}.{secrets.token_hex(4)}")
        draft.mkdir(mode=0o700)
        note = draft.with_name(draft.name + ".password")
        descriptor = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, self.password.encode() + b"\n")
            if self.account is not None:
                os.fchown(descriptor, self.account.uid, self.account.gid)
                os.chown(draft, self.account.uid, self.account.gid)
            self._run_initdb(binaries, draft, note)
        finally:
            os.close(descriptor)
            note.unlink()
        if self.folder.exists():
            self.folder.rmdir()
        draft.rename(self.folder)

    def _run_initdb(self, binaries: Path, draft: Path, note: Path) -> None:
        command = [str(binaries / "initdb"), "-D", str(draft), "-U", ROLE, "--pwfile", str(note)]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        answer = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd=draft,
            env=_environment(),
            user=self._user,
            group=self._group,
            extra_groups=self._groups,
        )
        if answer.returncode != 0:
            raise LaunchError(
                f"PostgreSQL's initdb failed: {(answer.stderr or answer.stdout).strip()[-1500:]}"
            )
        # The role's own database, made without a server: single-user mode reads statements from its input.
        made = subprocess.run(
            [str(binaries / "postgres"), "--single", "-D", str(draft), "postgres"],
            input=f"CREATE DATABASE {DATABASE};\n",
            capture_output=True,
            text=True,
            check=False,
            cwd=draft,
            env=_environment(),
            user=self._user,
            group=self._group,
            extra_groups=self._groups,
        )
        if made.returncode != 0:
            raise LaunchError(f"PostgreSQL could not create the database: {made.stderr.strip()[-1500:]}")

    def _write_access_rules(self) -> None:
        rules = self.folder / "pg_hba.conf"
        rules.write_text(_HBA)
        if self.account is not None:
            os.chown(rules, self.account.uid, self.account.gid)

    def _end_leftover(self) -> None:
        """End a server that a killed launcher left, and drop a lock file whose pid is somebody else's now.

        PostgreSQL itself drops a stale lock file only when no process of its user has that pid.
        """
        lock = self.folder / "postmaster.pid"
        try:
            pid = int(lock.read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return
        if not _works_in(pid, self.folder):
            lock.unlink(missing_ok=True)
            return
        os.kill(pid, signal.SIGINT)
        if not _wait_for(lambda: not _works_in(pid, self.folder), 30):
            raise LaunchError(
                f"A PostgreSQL (pid {pid}) is still using {self.folder}: stop it and start again."
            )

    def _wait_until_ready(self) -> None:
        assert self.process is not None
        process, lock = self.process, self.folder / "postmaster.pid"

        def is_settled() -> bool:
            with contextlib.suppress(OSError):
                lines = lock.read_text().splitlines()
                if len(lines) > 7 and lines[0] == str(process.pid) and lines[7].strip() == "ready":
                    return True
            return process.poll() is not None

        if not _wait_for(is_settled, 60) or process.poll() is not None:
            self.stop(5)
            raise LaunchError(f"PostgreSQL did not start; the end of {self.log}:\n{_read_end(self.log)}")

    @property
    def _user(self) -> int | None:
        return None if self.account is None else self.account.uid

    @property
    def _group(self) -> int | None:
        return None if self.account is None else self.account.gid

    @property
    def _groups(self) -> list[int] | None:
        return None if self.account is None else []


def _environment() -> dict[str, str]:
    """PostgreSQL gets no more than it needs: its processes live long and are readable by its own user."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def _works_in(pid: int, folder: Path) -> bool:
    """Tell whether process `pid` is a server of the cluster in `folder`, which is its working directory."""
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", folder)
    except OSError:
        return False


def _wait_for(check: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return True
        time.sleep(0.03)
    return check()


def _read_end(path: Path, size: int = 1500) -> str:
    with contextlib.suppress(OSError):
        return path.read_bytes()[-size:].decode(errors="replace")
    return ""
