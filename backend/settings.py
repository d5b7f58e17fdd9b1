"""Settings from the environment, and the places and secrets under the home folder."""

from __future__ import annotations

import os
import secrets
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What an administrator may set; empty variables count as unset, so that compose may pass them on."""

    model_config = SettingsConfigDict(
        env_prefix="TUNEFORGE_",
        env_ignore_empty=True,
        extra="ignore",
        populate_by_name=True,
        # A secret that is too short must not stand in a log for that.
        hide_input_in_errors=True,
    )

    database_url: str | None = Field(default=None, validation_alias="DATABASE_URL", repr=False)
    redis_url: str | None = Field(default=None, validation_alias="REDIS_URL", repr=False)

    home: Path = Field(default_factory=lambda: Path.cwd() / ".tuneforge")
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)

    admin_password: str | None = Field(default=None, repr=False)
    registration: Literal["open", "closed"] = "open"
    configured_secret_key: str | None = Field(
        default=None, validation_alias="TUNEFORGE_SECRET_KEY", min_length=32, repr=False
    )
    secure_cookies: bool = False
    metrics: Literal["loopback", "token"] = "loopback"
    currency: str = Field(default="CNY", pattern=r"^[A-Z]{3}$")
    fence_seconds: int = Field(default=600, ge=30)
    demonstration: Literal["on", "off"] = "on"
    storage_quota_bytes: int = Field(default=100 << 30, ge=0)
    disk_reserve_bytes: int = Field(default=1 << 30, ge=0)
    upload_hours: int = Field(default=48, ge=1)
    import_roots: str = ""
    presets: Literal["on", "off"] = "on"
    huggingface_endpoint: str = Field(default="https://huggingface.co", pattern=r"^https?://[^/?#]+")
    huggingface_token: str | None = Field(default=None, repr=False)
    modelscope_endpoint: str = Field(default="https://www.modelscope.cn", pattern=r"^https?://[^/?#]+")
    modelscope_token: str | None = Field(default=None, repr=False)
    preferred_hub: Literal["huggingface", "modelscope"] = "huggingface"
    hub_timeout_seconds: float = Field(default=30.0, gt=0, le=3600)
    hub_redirects: Literal["public", "any"] = "public"
    pickled_weights: Literal["on", "off"] = "off"
    trusted_model_code: str = ""
    audit_days: int = Field(default=365, ge=1, le=36500)
    quota_express: int | None = Field(default=None, ge=1)
    quota_flex: int | None = Field(default=None, ge=1)
    quota_spot: int | None = Field(default=None, ge=1)

    server_url: str = ""
    configured_node_token: str | None = Field(
        default=None, validation_alias="TUNEFORGE_NODE_TOKEN", min_length=16, repr=False
    )
    node_name: str = Field(default="local", pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")

    @field_validator("home")
    @classmethod
    def _make_absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @cached_property
    def secret_key(self) -> str:
        """The key that signs and encrypts: as configured, else generated once and kept under the home."""
        return self.configured_secret_key or read_or_make_secret("secret_key", self.home)

    @cached_property
    def node_token(self) -> str:
        """The token by which nodes are let in: as configured, else generated once and kept under the home."""
        return self.configured_node_token or read_or_make_secret("node_token", self.home)

    @property
    def secrets_dir(self) -> Path:
        """Folder of generated secrets, for its owner only."""
        return self.home / "secrets"

    @property
    def run_dir(self) -> Path:
        """Folder of locks and of what is running now."""
        return self.home / "run"

    @property
    def log_dir(self) -> Path:
        """Folder of the processes' logs (a job's log lies with the job)."""
        return self.home / "log"

    @property
    def models_dir(self) -> Path:
        """Folder of base models."""
        return self.home / "models"

    @property
    def datasets_dir(self) -> Path:
        """Folder of datasets."""
        return self.home / "datasets"

    @property
    def uploads_dir(self) -> Path:
        """Folder of uploads on their way."""
        return self.home / "uploads"

    @property
    def users_dir(self) -> Path:
        """Folder of what people own, one folder each."""
        return self.home / "users"

    @property
    def import_folders(self) -> list[Path]:
        """Folders of this machine from which people may import, as an administrator allowed, parted by colons."""
        return [Path(part).absolute() for part in self.import_roots.split(":") if part.strip()]

    @property
    def jobs_dir(self) -> Path:
        """Folder of jobs, each with its attempts."""
        return self.home / "jobs"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return this process's settings; tests that change the environment call `get_settings.cache_clear()`."""
    return Settings()


def read_or_make_secret(name: str, home: Path | None = None) -> str:
    """Return the secret `name` of the home, generating it once; several processes may ask at the same time.

    The file is readable by its owner only and appears whole or not at all, so the first writer wins.
    """
    folder = (home or get_settings().home) / "secrets"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    path = folder / name
    if not path.exists():
        draft = folder / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(24) + "\n")
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    path.chmod(0o600)
    return path.read_text().strip()
