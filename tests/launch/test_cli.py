"""`tuneforge` by its commands: what it refuses, and what it says to do."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backend import cli
from backend.launch import probe, state
from backend.services import users
from backend.settings import get_settings
from tests.factories import PASSWORD, make_user

Configure = Callable[[str, str], None]


@pytest.mark.parametrize("arguments", [[], ["nosuch"], ["up", "--nosuch"], ["web", "extra"]])
def test_unknown_commands_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: tuneforge" in capsys.readouterr().err


def test_a_wrong_setting_is_named(configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    configure("TUNEFORGE_PORT", "70000")
    configure("TUNEFORGE_SECRET_KEY", "short-secret")
    assert cli.main(["status"]) == 2
    said = capsys.readouterr().err
    assert "port" in said
    assert "TUNEFORGE_SECRET_KEY" in said
    assert "short-secret" not in said


@pytest.mark.parametrize("command", ["web", "housekeeper", "librarian", "migrate"])
def test_without_a_database_a_command_says_what_to_set(
    configure: Configure, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    configure("DATABASE_URL", "")
    assert cli.main([command]) == 1
    assert "DATABASE_URL" in capsys.readouterr().err


def test_nothing_runs_in_a_fresh_home(
    configure: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure("TUNEFORGE_HOME", str(tmp_path))
    assert cli.main(["status"]) == 3
    assert cli.main(["down"]) == 0
    assert cli.main(["demo"]) == 1
    said = capsys.readouterr()
    assert said.out.count("is running") == 2
    assert "start one by `tuneforge up`" in said.err


def test_up_where_it_runs_already_says_so_and_is_content(
    configure: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure("TUNEFORGE_HOME", str(tmp_path))
    lock = state.take_lock(tmp_path)
    try:
        assert cli.main(["up"]) == 0
    finally:
        os.close(lock)
    assert "already running" in capsys.readouterr().out


def _reset(monkeypatch: pytest.MonkeyPatch, username: str, password: str) -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO(password + "\n"))
    return cli.main(["reset-password", username, "--password-file", "-"])


def test_a_password_is_reset_by_who_is_at_the_machine(
    database: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    user_id = make_user("Ann")
    assert _reset(monkeypatch, "ANN", "short") == 1
    assert "at least" in capsys.readouterr().err
    assert _reset(monkeypatch, "nobody", "a new password") == 1
    assert users.authenticate("ann", PASSWORD, "x") == user_id
    assert _reset(monkeypatch, "ann", "a new password") == 0
    assert users.authenticate("ann", "a new password", "x") == user_id
    (tmp_path / "password").write_text("another password\n")
    assert cli.main(["reset-password", "ann", "--password-file", str(tmp_path / "password")]) == 0
    assert users.authenticate("ann", "another password", "x") == user_id


def test_without_a_running_platform_no_password_is_reset(
    configure: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure("TUNEFORGE_HOME", str(tmp_path))
    configure("DATABASE_URL", "")
    assert cli.main(["reset-password", "--password-file", "-"]) == 1
    assert "is not running" in capsys.readouterr().err
    assert get_settings().database_url is None


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "http://127.0.0.1:8000"), ("0.0.0.0", "http://127.0.0.1:8000"), ("::", "http://[::1]:8000"),
     ("fd00::1", "http://[fd00::1]:8000"), ("example.org", "http://example.org:8000")],
)  # fmt: skip
def test_the_address_to_open_can_be_opened(host: str, address: str) -> None:
    assert probe.build_address(host, 8000) == address


def test_what_is_waited_for_is_said() -> None:
    checks = {"database": "ok", "node": "no node is online", "demonstration": "being made"}
    assert probe.describe_missing({"checks": checks}) == "node, demonstration"
    assert probe.describe_missing({"detail": "x"}) == "x"
    assert probe.fetch_health("http://127.0.0.1:1", "/readyz") == (0, {})
