"""Fixtures for tests that read both databases through Django."""

from __future__ import annotations

import pytest

from .rollup_database import rollup_database, rollup_urls

__all__ = ["rollup_database", "rollup_urls", "transaction_on_both"]


@pytest.fixture
def transaction_on_both(request: pytest.FixtureRequest) -> None:
    """Allow this test both databases; what it changes in `default` is rolled back.

    Asking for it is not enough for pytest-django, which reads a mark: see `pytest_collection_modifyitems`.
    """
    request.getfixturevalue("db")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that ask for `transaction_on_both`, for the mark is what opens the databases."""
    for item in items:
        if "transaction_on_both" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.django_db(databases=["default", "telemetry"]))
