"""What is installed beside this node: reported when it registers, and looked at once more before each run."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

import yaml

from backend.domain.packages import OPTIONAL_PACKAGES, build_install_command, list_needed_packages

_PACKAGES = ("tuneforge", "llamafactory", "transformers", "torch", "peft", "swanlab")


def read_versions() -> dict[str, str]:
    """Return the versions that decide how a run comes out, and of the optional packages those that there are."""
    found = {"python": sys.version.split()[0]}
    for package in (*_PACKAGES, *OPTIONAL_PACKAGES):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def find_lack(config_yaml: str) -> str | None:
    """Say which package the configuration needs and this node lacks; None if it has all.

    The backend refuses such a job, but a node may have joined or lost a package while the job waited.
    """
    installed = read_versions()
    for names, package in list_needed_packages(yaml.safe_load(config_yaml)):
        if package not in installed:
            return (
                f"{names[0]} needs the package {package}, which this node does not have. Change the setting, or have "
                f"the package installed here ({build_install_command(package)}) and resume the job."
            )
    return None
