"""Put a working `uv` at .tools/bin/uv by the standard library alone: found, installed by pip, or fetched."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

VERSION = "0.13.9"
WHEEL = f"uv-{VERSION}-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
# Of that very file, so that a mirror, or a machine without certificates, cannot slip in another.
SHA256 = "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19"
OLDEST = (0, 8)

TOOLS = Path(__file__).resolve().parent.parent / ".tools"
TARGET = TOOLS / "bin" / "uv"


def main() -> None:
    """Try each way in turn and say which one worked."""
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.unlink(missing_ok=True)  # the Makefile puts it on the path, and it must not find itself
    failures = []
    for way in (find_on_path, install_in_venv, install_by_pip, download):
        try:
            found = way()
        except (OSError, subprocess.SubprocessError, urllib.error.URLError, ValueError) as error:
            failures.append(f"{way.__name__}: {error}")
            continue
        if found is not None and is_usable(found):
            # A wrapper, not a link: version switchers' shims look at the name and place they are called by.
            TARGET.write_text(f'#!/bin/sh\nexec {shlex.quote(str(found))} "$@"\n')
            TARGET.chmod(0o755)
            print(f"uv: {found}")
            return
    print(*failures, sep="\n", file=sys.stderr)
    sys.exit("uv could not be found, installed or downloaded: install it (docs.astral.sh/uv) and run again.")


def is_usable(program: Path) -> bool:
    """Tell whether the program runs and is new enough to read our lock file."""
    answer = subprocess.run([str(program), "--version"], capture_output=True, text=True, check=False)
    match = re.match(r"uv (\d+)\.(\d+)", answer.stdout)
    return match is not None and (int(match[1]), int(match[2])) >= OLDEST


def find_on_path() -> Path | None:
    """Return the uv that the user already has."""
    found = shutil.which("uv")
    return Path(found) if found else None


def install_in_venv() -> Path | None:
    """Install uv by pip in a virtual environment of its own; Debian without python3-venv cannot."""
    folder = TOOLS / "uv-venv"
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True, capture_output=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip"]
    subprocess.run([*pip, "install", "--quiet", f"uv=={VERSION}"], check=True, capture_output=True)
    return folder / "bin" / "uv"


def install_by_pip() -> Path | None:
    """Install uv by the system's pip into a folder of ours; Debian without python3-pip cannot."""
    folder = TOOLS / "uv-pip"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--target", str(folder)]
    subprocess.run([*pip, f"uv=={VERSION}"], check=True, capture_output=True)
    return folder / "bin" / "uv"


def download() -> Path | None:
    """Fetch the wheel from the package index, check its hash and unpack the one program."""
    content = read(find_wheel_url())
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise ValueError(f"the index's {WHEEL} has the hash {digest}, expected {SHA256}")
    wheel = TOOLS / WHEEL
    wheel.write_bytes(content)
    program = TOOLS / "uv-wheel" / "uv"
    program.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        program.write_bytes(archive.read(f"uv-{VERSION}.data/scripts/uv"))
    program.chmod(0o755)
    wheel.unlink()
    return program


def find_wheel_url() -> str:
    """Look the wheel up in the simple index named by the environment, or in PyPI's."""
    names = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
    index = next((os.environ[name] for name in names if os.environ.get(name)), "https://pypi.org/simple")
    page = index.rstrip("/") + "/uv/"
    for link in re.findall(r'href="([^"]+)"', read(page).decode()):
        if urllib.parse.unquote(link.split("#")[0]).endswith("/" + WHEEL) or link.split("#")[0] == WHEEL:
            return urllib.parse.urljoin(page, link.split("#")[0])
    raise ValueError(f"{page} does not list {WHEEL}")


def read(url: str) -> bytes:
    """Read an address; without certificates on the machine the pinned hash alone vouches for the content."""
    try:
        with urllib.request.urlopen(url, timeout=120) as answer:  # noqa: S310 (the index chosen by the user)
            return bytes(answer.read())
    except urllib.error.URLError as error:
        if not isinstance(error.reason, ssl.SSLCertVerificationError):
            raise
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with urllib.request.urlopen(url, timeout=120, context=context) as answer:  # noqa: S310
        return bytes(answer.read())


if __name__ == "__main__":
    main()
