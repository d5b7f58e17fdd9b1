"""The fake of SwanLab's cloud, for routes that ask it."""

from tests.swanlab.conftest import start_cloud

__all__ = ["start_cloud"]
