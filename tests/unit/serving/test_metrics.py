"""What all services tell Prometheus, and who may read it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from joulebook.serving.metrics import (
    Histogram,
    MetricsRefused,
    RequestMetrics,
    check_metrics_reader,
    exposition,
    new_registry,
)

TOKEN = "a-token-of-more-than-20-letters"


def status(
    token: str | None = None, *, peer: str = "127.0.0.1", headers: Mapping[str, str] | None = None
) -> int:
    given = {"host": "127.0.0.1:8001", **(headers or {})}
    try:
        check_metrics_reader(token, peer=peer, header=given.get)
    except MetricsRefused as exc:
        return exc.status
    return 200


@pytest.mark.parametrize(
    ("peer", "host"),
    [
        ("127.0.0.1", "127.0.0.1:8001"),
        ("127.0.0.1", "localhost:8001"),
        ("127.0.0.1", "localhost"),
        ("::1", "[::1]:8001"),
        ("::ffff:127.0.0.1", "127.0.0.1"),
    ],
)
def test_without_a_token_this_machine_reads(peer: str, host: str) -> None:
    assert status(peer=peer, headers={"host": host}) == 200


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("10.0.0.5", {}),
        ("2001:db8::1", {}),
        ("", {}),
        ("127.0.0.1", {"host": "joulebook.example"}),
        ("127.0.0.1", {"host": "localhost.example"}),
        ("127.0.0.1", {"host": ""}),
        ("127.0.0.1", {"x-forwarded-for": "127.0.0.1"}),
        ("127.0.0.1", {"forwarded": "for=127.0.0.1"}),
        ("127.0.0.1", {"x-real-ip": "203.0.113.7"}),
        ("127.0.0.1", {"via": "1.1 proxy"}),
    ],
)
def test_without_a_token_nobody_reads_from_elsewhere_or_through_a_proxy(
    peer: str, headers: dict[str, str]
) -> None:
    assert status(peer=peer, headers=headers) == 403


def test_with_a_token_everybody_needs_it() -> None:
    assert status(TOKEN) == 401
    assert status(TOKEN, headers={"authorization": f"Bearer {TOKEN}x"}) == 401
    assert status(TOKEN, headers={"authorization": f"Basic {TOKEN}"}) == 401
    assert status(TOKEN, headers={"authorization": "Bearer \xff"}) == 401
    assert status(TOKEN, headers={"authorization": f"Bearer {TOKEN}"}) == 200
    remote = {"authorization": f"bearer {TOKEN}", "x-forwarded-for": "203.0.113.7", "host": "web:8000"}
    assert status(TOKEN, peer="10.0.0.5", headers=remote) == 200


def test_a_histogram_counts_a_value_at_its_bound_and_all_bounds_above() -> None:
    histogram = Histogram((1, 10))
    for value in (1, 2, 10, 11):
        histogram.observe(value)
    assert histogram.buckets() == [("1", 1), ("10", 3), ("+Inf", 4)]
    assert histogram.sum == 24


def test_requests_are_counted_by_route_and_known_methods_only(tmp_path: Path) -> None:
    requests = RequestMetrics("web")
    for method in ("GET", "GET", "BREW", "X" * 1000):
        requests.begin()
        requests.end("/devices/", method, 200, 0.2)
    requests.begin()
    requests.begin()
    requests.give_up()
    text, content_type = exposition(new_registry(tmp_path, requests), "")
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    samples = {
        (sample.name, sample.labels.get("method"), sample.labels.get("le")): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }
    assert samples["joulebook_http_requests_total", "GET", None] == 2
    assert samples["joulebook_http_requests_total", "other", None] == 2
    assert samples["joulebook_http_request_seconds_bucket", "GET", "0.1"] == 0
    assert samples["joulebook_http_request_seconds_bucket", "GET", "0.25"] == 2
    assert samples["joulebook_http_requests_in_flight", None, None] == 1
    assert samples["process_open_fds", None, None] > 2
    assert samples["joulebook_disk_free_bytes", None, None] > 0
