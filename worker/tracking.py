"""SwanLab in a run: the environment it gets, what it says about itself, and where it is switched on.

A run must never be lost to its tracker. The real client, unpatched, fails in four ways: a wrong key or a
server error raises out of the trainer's first callback; a silent host holds that callback for minutes; a host
lost in the middle holds the process for ever at its exit, as the client waits until all is uploaded; and an
uncaught error of the run meets the same wait in the client's `sys.excepthook`. `worker.tracking_guard` bounds
each of them in seconds. The rest of this module is light: supervisors import it, and they import no torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TRACKING_FILE = "tracking.json"
MODES = ("cloud", "local", "offline", "off")
_NOWHERE = "/nonexistent"


@dataclass(frozen=True)
class Tracking:
    """How a run is tracked, as it says itself; `url` is its page in the cloud, `detail` is for the log."""

    mode: str
    url: str | None = None
    detail: str | None = None


def build_tracking_environment(
    mode: str,
    api_key: str | None = None,
    host: str | None = None,
    web_host: str | None = None,
    workspace: str | None = None,
) -> dict[str, str]:
    """Return the environment variables that a tracked run gets; the key lies in them and nowhere else.

    The caller starts from an environment without any `SWANLAB_*`. The machine's own SwanLab configuration
    (`/etc/swanlab`, `~/.swanlab`) is shut out: it would outrank these and send the key elsewhere, or track
    under the login of the machine's owner.
    """
    environment = {
        "SWANLAB_CONFIG_DIR": _NOWHERE,
        "SWANLAB_ROOT": _NOWHERE,
        "SWANLAB_INTERACTIVE": "false",
        "SWANLAB_PROBE_GIT": "false",  # the working folder's repository is the platform's, not the person's
    }
    if mode != "cloud" or not api_key:
        return environment
    environment["SWANLAB_API_KEY"] = api_key
    for name, value in (("API_HOST", host), ("WEB_HOST", web_host), ("WORKSPACE", workspace)):
        if value:
            environment[f"SWANLAB_{name}"] = value
    return environment


def install_tracking(plan: Mapping[str, Any]) -> None:
    """Put the guard between LLaMA-Factory and SwanLab; call it before `run_exp`, in every rank's process.

    `plan["mode"]` is `cloud`, `local` or `off` and outranks the YAML (the key may have gone since).
    Optional: `probe_seconds`, `setup_seconds`, `finish_seconds`. The key and host are read from the
    environment. Writes `tracking.json` into the working folder once the mode is known, on rank 0 only.
    """
    from worker import tracking_guard

    tracking_guard.install(plan)


def finish_tracking(error: str | None = None) -> bool:
    """End tracking within `finish_seconds`; call it after `run_exp`, also when that raised (with the error).

    Returns False when the client had to be left behind: then flush and leave by `os._exit`, as its threads
    may still be writing. Nothing happens when nothing is tracked; twice is like once.
    """
    from worker import tracking_guard

    return tracking_guard.finish(error)


def read_tracking(folder: Path) -> Tracking | None:
    """Return what the run in the attempt's `folder` said of its tracking, or None while it has not."""
    try:
        found = json.loads((folder / TRACKING_FILE).read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or found.get("mode") not in MODES:
        return None
    url, detail = found.get("url"), found.get("detail")
    good_url = isinstance(url, str) and len(url) <= 1000 and url.startswith(("https://", "http://"))
    return Tracking(found["mode"], url if good_url else None, detail if isinstance(detail, str) else None)


def write_tracking(tracking: Tracking, folder: Path | None = None) -> None:
    """Write `tracking.json` whole or not at all."""
    target = (folder or Path.cwd()) / TRACKING_FILE
    draft = target.with_suffix(f".{os.getpid()}")
    fields = {"mode": tracking.mode, "url": tracking.url, "detail": tracking.detail}
    draft.write_text(
        json.dumps({key: value for key, value in fields.items() if value is not None or key == "url"})
    )
    draft.replace(target)
