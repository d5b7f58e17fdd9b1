"""Optional packages: which arguments need them. Which of them a node has, it reports itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from backend.domain.argument_description import ARGUMENTS, DESCRIPTION

OPTIONAL_PACKAGES: tuple[str, ...] = tuple(DESCRIPTION["optional_packages"])

WORKER_PACKAGES = frozenset({"liger-kernel"})
"""Those that come with every node, as the extra `worker` holds them."""

GPU_PACKAGES = frozenset({"bitsandbytes", "flash-attn", "liger-kernel"})
"""Those that are of no use on a CPU, even where they are installed."""

_EXTRAS = ("bitsandbytes", "deepspeed")
"""Packages that are an extra of our own, of the same name."""


def list_needed_packages(args: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the packages that `args` need, each with the arguments that make it so; what is left out is LLaMA-Factory's
    default."""
    for name, described in ARGUMENTS.items():
        value = args.get(name, described["default"])
        if value is None or value is False:
            continue
        if "package" in described:
            yield (name,), described["package"]
        package = described.get("choice_packages", {}).get(value) if isinstance(value, str) else None
        if package and name != "quantization_method":
            yield (name,), package
        elif package and args.get("quantization_bit") is not None:
            yield ("quantization_bit", name), package


def build_install_command(package: str) -> str:
    """Return what installs a package on a node; what is installed beside our extras stays."""
    if package in _EXTRAS:
        return f"uv sync --inexact --extra worker --extra {package}"
    isolation = " --no-build-isolation" if package == "flash-attn" else ""
    return f"uv pip install{isolation} {package}"
