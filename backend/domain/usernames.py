"""When two names are the same name."""

from __future__ import annotations

import unicodedata


def normalize_username(username: str) -> tuple[str, str]:
    """Return the name as shown and its key; two names with one key are the same name."""
    shown = unicodedata.normalize("NFKC", username)
    return shown, shown.casefold()
