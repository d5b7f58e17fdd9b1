"""The demonstration, made once for these sources and kept between test runs."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.demonstration.attempt import ROOT

_KEPT = ROOT / ".tools" / "demonstration"


@pytest.fixture(scope="session")
def demonstration_home() -> Path:
    """A home with the demonstration in it, as `python -m worker.demonstration` makes it; only to be read.

    It takes a minute or two to make, so it is kept under the hash of what it is made from.
    """
    home = _KEPT / _hash_sources()
    _KEPT.mkdir(parents=True, exist_ok=True)
    with (_KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for other in _KEPT.iterdir():
            if other.is_dir() and other != home:
                shutil.rmtree(other)
        made = make_demonstration(home)
        assert made.returncode == 0, made.stderr[-2000:]
    return home


def make_demonstration(home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program that makes the demonstration, to its end."""
    command = [sys.executable, "-P", "-m", "worker.demonstration"]
    settings = os.environ | {"TUNEFORGE_HOME": str(home)} | environment
    return subprocess.run(command, env=settings, capture_output=True, text=True)


def _hash_sources() -> str:
    sources = sorted((ROOT / "worker" / "demonstration").glob("*.py"))
    sources += [ROOT / "backend" / "domain" / "demonstration.py", ROOT / "uv.lock"]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
