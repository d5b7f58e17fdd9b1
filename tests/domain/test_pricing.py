"""Money: exact, rounded once, and in proportion."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.domain import pricing
from backend.domain.gpu_kinds import GIB, describe_gpu_kind


def test_the_hosted_products_own_examples() -> None:
    """0.0289 h x 4 cards x 30.72 = 3.5512, as its form shows."""
    assert pricing.price(0.0289 * 3600, 4, 307_200, "express") == 35_512
    assert pricing.price(3600, 1, 307_200, "flex") == 254_976
    assert pricing.price(3600, 1, 307_200, "spot") == 76_800


def test_an_unknown_tier_pays_in_full_and_nothing_is_paid_for_no_time() -> None:
    assert pricing.price(3600, 1, 10_000, "lottery") == 10_000
    assert pricing.price(-5, 1, 10_000, "express") == 0


@settings(deadline=None)
@given(st.floats(0, 1e7), st.integers(1, 64), st.integers(0, 10_000_000))
def test_no_tier_costs_more_than_express_and_devices_add_up(seconds: float, count: int, rate: int) -> None:
    full = pricing.price(seconds, count, rate, "express")
    assert all(0 <= pricing.price(seconds, count, rate, tier) <= full for tier in pricing.TIERS)
    assert abs(full - count * pricing.price(seconds, 1, rate, "express")) <= count


@pytest.mark.parametrize(
    ("amount", "shown"), [(341_250, "34.1250"), (5, "0.0005"), (-12_345, "-1.2345"), (0, "0.0000")]
)
def test_money_is_a_decimal_string(amount: int, shown: str) -> None:
    assert pricing.format_money(amount, "CNY") == {"currency": "CNY", "amount": shown}


def test_tiers_are_listed_dearest_first_in_both_languages() -> None:
    tiers = pricing.list_tiers()
    assert [tier["id"] for tier in tiers] == ["express", "flex", "spot"]
    assert [tier["discount"] for tier in tiers] == [1.0, 0.83, 0.25]
    assert [tier["preemptible"] for tier in tiers] == [False, False, True]
    assert all(tier["names"]["zh"] and tier["names"]["en"] for tier in tiers)


@pytest.mark.parametrize(
    ("kind_id", "name"),
    [
        ("h800-80g", "NVIDIA H800"),
        ("NVIDIA H200", "NVIDIA H200"),
        ("nvidia-geforce-rtx-4090", "NVIDIA RTX 4090"),
        ("a100-sxm4-80gb", "NVIDIA A100"),
        ("a10-24g", "NVIDIA A10"),
        ("l20", "NVIDIA L20"),
        ("ascend910b3", "Ascend 910B"),
        ("cpu", "CPU"),
    ],
)
def test_kinds_are_known_by_many_spellings(kind_id: str, name: str) -> None:
    kind = describe_gpu_kind(kind_id)
    assert kind.known
    assert (kind.id, kind.name) == (kind_id, name)


@pytest.mark.parametrize("kind_id", ["", "b9000", "l2000", "xh200x", "a1000", "显卡"])
def test_an_unknown_kind_is_said_to_be_unknown(kind_id: str) -> None:
    kind = describe_gpu_kind(kind_id, 8 * GIB)
    assert not kind.known
    assert kind.memory_bytes == 8 * GIB
    assert kind.price_per_hour_e4 > 0


def test_what_the_machine_reports_counts_before_the_name_and_the_table() -> None:
    assert describe_gpu_kind("h800-80g", 70 * GIB).memory_bytes == 70 * GIB
    assert describe_gpu_kind("h800-64g").memory_bytes == 64 * GIB
    assert describe_gpu_kind("a100", 40 * GIB).bytes_per_second < describe_gpu_kind("a100").bytes_per_second
