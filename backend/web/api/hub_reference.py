"""How a request names a repository on a hub."""

from __future__ import annotations

from pydantic import Field

from backend.domain.hub_files import REPO_ID, REVISION, HubName
from backend.domain.spec import Body


class HubReference(Body):
    """A repository on a hub; without a revision its main branch, pinned to its commit when it is fetched."""

    hub: HubName
    repo_id: str = Field(pattern=REPO_ID)
    revision: str | None = Field(default=None, pattern=REVISION)
