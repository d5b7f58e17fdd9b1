"""What routes are tried on: a model, a dataset and a node; and the fake of SwanLab's cloud, for those that ask it."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.database import transaction
from backend.services import catalogue
from tests.factories import build_devices, make_dataset, make_model, register_node
from tests.swanlab.conftest import start_cloud

__all__ = ["start_cloud"]


@pytest.fixture
def platform(tuneforge_home: Path, database: None) -> None:
    """A model, a dataset, and a node with two devices."""
    make_model(tuneforge_home)
    make_dataset(tuneforge_home)
    register_node("node-1", build_devices(2))
    with transaction() as session:
        catalogue.discover(session)
