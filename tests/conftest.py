"""What holds for every test: how hypothesis searches, and the order of the files."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Speed belongs into bench/: a busy machine must not fail a property. CI looks at the same examples each time.
settings.register_profile("slipway", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("slipway"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "slipway")

FIRST = (
    "integration/test_faults.py",
    "examples",
    "dev",
    "integration",
    "tools",
    "conformance",
    "model_server",
    "chart",
    "crd",
)
"""Files and folders with tests of minutes. A worker takes a file at a time: one of these must not be the last that begins."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the files with long tests begin first; within a file, and among the others, the order stays."""
    here = Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        return next((place for place, name in enumerate(FIRST) if item.path.is_relative_to(here / name)), len(FIRST))

    items.sort(key=rank)
