"""What lies on a hub, before anything is fetched."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from starlette.concurrency import run_in_threadpool

from backend.domain.hub_files import REPO_ID, REVISION, HubName
from backend.hubs import HubSource, list_dataset
from backend.web.deps import SignedInId
from backend.web.turns import get_line

router = APIRouter(prefix="/hubs", tags=["hubs"])


@router.get("/{hub}/datasets/{repo_id:path}/subsets")
async def list_subsets(
    hub: HubName,
    repo_id: Annotated[str, Path(pattern=REPO_ID)],
    user_id: SignedInId,
    revision: Annotated[str | None, Query(pattern=REVISION)] = None,
) -> dict[str, Any]:
    """Return the subsets and splits of a dataset's repository, with how many files and bytes each is."""
    source = HubSource(hub, "dataset", repo_id, revision)
    async with get_line("hubs"):
        repository, subsets = await run_in_threadpool(list_dataset, source)
    return {
        "hub": hub,
        "repo_id": repo_id,
        "commit": repository.commit,
        "licence": repository.licence,
        "subsets": [
            {
                "name": subset.name,
                "is_default": subset.is_default,
                "splits": [
                    {
                        "name": split.name,
                        "file_count": len(split.files),
                        "size_bytes": sum(file.size_bytes for file in split.files),
                        "example_count": split.example_count,
                    }
                    for split in subset.splits
                ],
            }
            for subset in subsets
        ],
    }
