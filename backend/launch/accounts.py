"""Accounts by the command line, for when nobody can sign in."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from urllib.parse import quote

from backend.domain.errors import Invalid, NotFound
from backend.launch import postgres
from backend.launch.places import LaunchError
from backend.launch.state import is_locked
from backend.launch.up import note_chosen_password
from backend.settings import Settings, get_settings, read_or_make_secret


def reset_password(settings: Settings, username: str, password_file: str | None) -> None:
    """Give `username` the password asked for, or read; raise LaunchError saying what is wrong with it."""
    os.environ["DATABASE_URL"] = find_database_url(settings)
    get_settings.cache_clear()
    # Only now, as the engine is made from the settings.
    from backend.database import transaction
    from backend.services import users

    password = _read_password(password_file)
    try:
        with transaction() as session:
            users.reset_password(session, username, password)
    except Invalid as error:
        raise LaunchError("; ".join(problem.msg for problem in error.problems)) from None
    except NotFound as error:
        raise LaunchError(str(error)) from None
    if username == users.ADMINISTRATOR_NAME and settings.run_dir.is_dir():
        note_chosen_password(settings.home)


def find_database_url(settings: Settings) -> str:
    """Return the URL given, or that of the database which `tuneforge up` runs for this home."""
    if settings.database_url:
        return settings.database_url
    note = settings.run_dir / "postgres.port"
    if not note.exists() or not is_locked(settings.home):
        raise LaunchError("The platform is not running: start it by `tuneforge up`, or set DATABASE_URL.")
    password = quote(read_or_make_secret("postgres_password", settings.home), safe="")
    port = note.read_text().strip()
    return f"postgresql://{postgres.ROLE}:{password}@127.0.0.1:{port}/{postgres.DATABASE}"


def _read_password(password_file: str | None) -> str:
    if password_file == "-":  # noqa: S105 (the sign for standard input)
        return sys.stdin.readline().rstrip("\n")
    if password_file is not None:
        return Path(password_file).read_text().rstrip("\n")
    first = getpass.getpass("New password: ")
    if first != getpass.getpass("Again: "):
        raise LaunchError("The two are not the same; nothing was changed.")
    return first
