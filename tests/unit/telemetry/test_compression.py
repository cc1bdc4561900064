"""Which servers are asked to compress readings, and how."""

from __future__ import annotations

import pytest

from joulebook.telemetry.timescale import compression_statements


def test_the_community_edition_compresses_by_series_after_a_week():
    settings, policy = compression_statements("timescale", is_enabled=False)
    assert "timescaledb.compress_segmentby = 'series_id'" in settings
    assert "add_compression_policy('readings', INTERVAL '7 days'" in policy


@pytest.mark.parametrize(("edition", "is_enabled"), [("apache", False), (None, False), ("timescale", True)])
def test_other_servers_and_tables_that_are_set_up_are_left_alone(edition, is_enabled):
    assert compression_statements(edition, is_enabled=is_enabled) == ()
