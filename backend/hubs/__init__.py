"""Models and datasets from Hugging Face and ModelScope: listed, pinned to a commit, fetched with resume, and verified.

Over plain HTTP: docs/decisions/0014 says why not by the hubs' own clients.
"""

from __future__ import annotations

from backend.hubs.fetching import Snapshot, fetch, list_dataset
from backend.hubs.protocols import HubSource

__all__ = ["HubSource", "Snapshot", "fetch", "list_dataset"]
