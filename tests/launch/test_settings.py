"""Settings come from the environment alone, and generated secrets are their owner's only."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from backend.settings import Settings, read_or_make_secret


def _set_environment(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> Settings:
    for name in ("DATABASE_URL", "REDIS_URL", "TUNEFORGE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return Settings()


def test_empty_variables_count_as_unset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = _set_environment(
        monkeypatch,
        {
            "DATABASE_URL": "",
            "TUNEFORGE_PORT": "",
            "TUNEFORGE_NODE_TOKEN": "",
            "TUNEFORGE_HOME": str(tmp_path),
        },
    )
    assert settings.database_url is None
    assert settings.port == 8000
    assert settings.node_token == (tmp_path / "secrets" / "node_token").read_text().strip()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TUNEFORGE_PORT", "70000"),
        ("TUNEFORGE_REGISTRATION", "maybe"),
        ("TUNEFORGE_SECRET_KEY", "short"),
        ("TUNEFORGE_NODE_NAME", "../x"),
        ("TUNEFORGE_CURRENCY", "yuan"),
    ],
)
def test_wrong_values_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(ValidationError) as caught:
        _set_environment(monkeypatch, {name: value})
    assert len(caught.value.errors()) == 1


def test_secrets_never_show_in_the_settings_text(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "DATABASE_URL": "postgresql://u:hidden-1@h/d",
        "REDIS_URL": "redis://:hidden-2@h/0",
        "TUNEFORGE_ADMIN_PASSWORD": "hidden-3",
        "TUNEFORGE_SECRET_KEY": "hidden-4" * 4,
        "TUNEFORGE_NODE_TOKEN": "hidden-5" * 4,
    }
    settings = _set_environment(monkeypatch, values)
    assert settings.secret_key.startswith("hidden-4")
    assert settings.node_token.startswith("hidden-5")
    assert "hidden" not in repr(settings) + str(settings)


def test_a_secret_that_is_refused_does_not_show_either(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError) as caught:
        _set_environment(monkeypatch, {"TUNEFORGE_SECRET_KEY": "hidden", "TUNEFORGE_NODE_TOKEN": "hidden"})
    assert "hidden" not in str(caught.value)


def test_a_secret_is_made_once_by_many_at_a_time_and_private(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        values = list(pool.map(lambda _: read_or_make_secret("secret_key", tmp_path), range(32)))
    assert len(set(values)) == 1
    assert len(values[0]) >= 32
    folder = tmp_path / "secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [(path.name, stat.S_IMODE(path.stat().st_mode)) for path in folder.iterdir()] == [
        ("secret_key", 0o600)
    ]
