"""How a request names a repository on a hub."""

from __future__ import annotations

from pydantic import Field

from backend.domain.hub_files import PART_NAME, REPO_ID, REVISION, HubName
from backend.domain.spec import Body


class HubReference(Body):
    """A repository on a hub; without a revision its main branch, pinned to its commit when it is fetched."""

    hub: HubName
    repo_id: str = Field(pattern=REPO_ID)
    revision: str | None = Field(default=None, pattern=REVISION)


class HubDatasetReference(HubReference):
    """A dataset on a hub: without a subset its default one, without a split `train`, as in LLaMA-Factory."""

    subset: str | None = Field(default=None, pattern=PART_NAME)
    split: str | None = Field(default=None, pattern=PART_NAME)
