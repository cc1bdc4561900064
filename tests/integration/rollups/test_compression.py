"""A server of the Apache edition is asked for its edition, and left as it is."""

from __future__ import annotations

from joulebook.telemetry.connection import connect
from joulebook.telemetry.timescale import switch_compression_on


def test_the_apache_edition_is_left_alone(rollup_urls):
    with connect(rollup_urls["owner"]) as conn:
        assert conn.execute("SELECT current_setting('timescaledb.license')").fetchone() == ("apache",)
        assert not switch_compression_on(conn)
        enabled = conn.execute(
            "SELECT compression_enabled FROM timescaledb_information.hypertables WHERE hypertable_name = 'readings'"
        ).fetchone()
    assert enabled == (False,)
