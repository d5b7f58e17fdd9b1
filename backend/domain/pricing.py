"""What device time costs: seconds x devices x the kind's price x the tier's share of it, in exact integers."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Tier:
    """A way to pay: `percent` is how much of the list price is paid (83 is 8.3折)."""

    id: str
    names: dict[str, str]
    percent: int
    preemptible: bool


TIERS: dict[str, Tier] = {
    tier.id: tier
    for tier in (
        Tier("express", {"zh": "极速尊享", "en": "Express"}, 100, preemptible=False),
        Tier("flex", {"zh": "动态优惠", "en": "Flex"}, 83, preemptible=False),
        Tier("spot", {"zh": "灵动超省", "en": "Spot"}, 25, preemptible=True),
    )
}


def price(seconds: float, gpu_count: int, price_per_hour_e4: int, tier: str) -> int:
    """Return the price in ten-thousandths of `seconds` on `gpu_count` devices; an unknown tier pays in full.

    Money is never a float: the seconds are taken as the exact fraction they are, and rounded once, half to even.
    """
    percent = TIERS[tier].percent if tier in TIERS else 100
    exact = Fraction(max(0.0, seconds)) * gpu_count * price_per_hour_e4 * percent
    return round(exact / (SECONDS_PER_HOUR * 100))


def format_money(amount_e4: int, currency: str) -> dict[str, str]:
    """Return `{"currency": "CNY", "amount": "34.1250"}`."""
    return {"currency": currency, "amount": format_amount(amount_e4)}


def format_amount(amount_e4: int) -> str:
    """Return ten-thousandths as a decimal string with four places."""
    sign = "-" if amount_e4 < 0 else ""
    whole, rest = divmod(abs(amount_e4), 10_000)
    return f"{sign}{whole}.{rest:04d}"


def list_tiers() -> list[dict[str, Any]]:
    """Return the tiers, dearest first; `discount` is the share of the list price that is paid (0.83 is 8.3折)."""
    return [
        {
            "id": tier.id,
            "name": tier.names["en"],
            "names": dict(tier.names),
            "discount": tier.percent / 100,
            "preemptible": tier.preemptible,
        }
        for tier in TIERS.values()
    ]
