"""Progress in a terminal as one line that changes, and in a file as a line now and then."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Callable, Mapping

_QUIET_SECONDS = 15.0


class LiveLine:
    """Shows several states at once; `close` leaves the last of them standing."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.is_terminal = sys.stdout.isatty()
        self.last: dict[str, str] = {}
        self.said_at = 0.0

    def show(self, states: Mapping[str, str]) -> None:
        """Show these states; into a file only what is new in kind, or after a while."""
        text = "   ".join(f"{name}: {state}" for name, state in states.items())
        if self.is_terminal:
            width = shutil.get_terminal_size().columns
            sys.stdout.write(f"\r\x1b[K{text[: width - 1]}")
            sys.stdout.flush()
            return
        # Numbers change all the time; the words around them say that something happened.
        kinds = {name: re.sub(r"[\d.]+", "", state) for name, state in states.items()}
        now = time.monotonic()
        if kinds != self.last or now - self.said_at > _QUIET_SECONDS:
            self.say(text)
            self.last, self.said_at = kinds, now

    def close(self) -> None:
        """End the line."""
        if self.is_terminal:
            sys.stdout.write("\n")
            sys.stdout.flush()
