"""Base models, resources, and what arguments there are."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query

from backend.domain import arguments, pricing
from backend.domain.gpu_kinds import describe_gpu_kind
from backend.domain.packages import OPTIONAL_PACKAGES
from backend.services import billing, catalogue, device_choice, nodes, scheduling
from backend.web.api.paging import Paging, cut_page, show_page
from backend.web.deps import DatabaseSession, SignedIn

router = APIRouter(tags=["catalogue"])

Reference = Annotated[str, Path(max_length=200)]


@router.get("/resources")
def list_resources(user: SignedIn, session: DatabaseSession) -> dict[str, Any]:
    """Return GPU kinds with what is free and the optional packages of all their nodes, the tiers, and how many nodes are
    online."""
    kinds: list[dict[str, Any]] = []
    situation, sizes = scheduling.read_situation(session), nodes.list_sizes(session)
    lacking = nodes.list_lacking(session)
    longest = {tier["id"]: 0.0 for tier in pricing.list_tiers()}
    for kind_id, counted in sorted(nodes.count_present_devices(session).items()):
        known = describe_gpu_kind(kind_id, counted["memory_bytes"])
        price = pricing.format_money(known.price_per_hour_e4, billing.get_currency())
        waits = {
            tier: scheduling.estimate_queue_seconds(situation, user.id, tier, kind_id, 1) for tier in longest
        }
        longest = {tier: max(longest[tier], waits[tier]) for tier in longest}
        shown = {
            "node_sizes": sizes[kind_id],
            "name": known.name,
            "price_per_hour": price,
            "queue_seconds_by_tier": waits,
            "packages": [package for package in OPTIONAL_PACKAGES if package not in lacking[kind_id]],
        }
        kinds.append({"id": kind_id} | counted | shown)
    return {
        "gpu_kinds": kinds,
        "tiers": [tier | {"queue_seconds": longest[tier["id"]]} for tier in pricing.list_tiers()],
        "nodes_online": nodes.count_online(session),
    }


@router.get("/defaults")
def get_defaults(
    user: SignedIn,
    session: DatabaseSession,
    model: Annotated[str | None, Query(max_length=200)] = None,
    kind: Literal["train", "evaluate"] = "train",
    stage: Literal["sft"] = "sft",
    finetuning_type: Literal["lora", "freeze", "full"] = "lora",
    gpu_kind: Annotated[str | None, Query(max_length=64)] = None,
) -> dict[str, Any]:
    """Return what `args` leaves out takes."""
    if model is not None:
        catalogue.get_model(session, user, model)
    kind_id = gpu_kind or device_choice.choose_gpu_kind(session)
    device = "cpu" if kind_id == "cpu" else "cuda"
    values = arguments.build_defaults(kind=kind, stage=stage, finetuning_type=finetuning_type, device=device)
    return {"args": values}


@router.get("/arguments")
def list_arguments(user: SignedIn, paging: Paging) -> dict[str, Any]:
    """Return every training argument that may be set, with type, choices, default and help."""
    return show_page(cut_page(arguments.list_arguments(), paging, "name"), dict, "name")
