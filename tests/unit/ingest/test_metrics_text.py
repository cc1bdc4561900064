"""The text that Prometheus reads: its lines, its histograms, and that a process is told from another."""

from __future__ import annotations

from joulebook.ingest.metrics import Histogram, IngestMetrics


def test_a_histogram_counts_a_value_at_its_bound_and_all_bounds_above() -> None:
    histogram = Histogram((1, 10))
    for value in (1, 2, 10, 11):
        histogram.observe(value)
    samples = [(suffix, labels.get("le"), value) for suffix, labels, value in histogram.samples()]
    assert samples == [
        ("_bucket", "1", 1),
        ("_bucket", "10", 3),
        ("_bucket", "+Inf", 4),
        ("_sum", None, 24),
        ("_count", None, 4),
    ]


def test_every_sample_names_its_process_and_follows_its_help_and_type() -> None:
    metrics = IngestMetrics(process=3, queue_readings=lambda: 42)
    metrics.requests[200] += 2
    metrics.requests[503] += 1
    lines = metrics.text().splitlines()
    assert 'joulebook_ingest_requests_total{process="3",status="200"} 2' in lines
    assert 'joulebook_ingest_requests_total{process="3",status="503"} 1' in lines
    assert 'joulebook_ingest_queue_readings{process="3"} 42' in lines
    assert 'joulebook_ingest_readings_total{process="3",outcome="stored"} 0' in lines
    assert 'joulebook_ingest_commit_seconds_bucket{process="3",le="0.001"} 0' in lines
    described = ""
    for line in lines:
        if line.startswith("# HELP"):
            described = line.split()[2]
        elif line.startswith("# TYPE"):
            assert line.split()[2] == described
        else:
            assert line.startswith(described)
            assert 'process="3"' in line


def test_large_counts_are_written_in_full() -> None:
    metrics = IngestMetrics()
    metrics.readings["stored"] = 123_456_789_012
    assert 'outcome="stored"} 123456789012\n' in metrics.text()
