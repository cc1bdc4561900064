"""What ingest processes on one port tell: every number with its process, and each other's in one answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from joulebook.ingest.metrics import IngestMetrics, Siblings


def told(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_one_process_tells_of_all_that_answer(tmp_path: Path) -> None:
    folder = tmp_path / "meet"
    folder.mkdir()

    async def ask() -> str:
        first, second = IngestMetrics(process=1), IngestMetrics(process=2, queue_readings=lambda: 42)
        first.readings["stored"] = 123_456_789_012
        second.requests.begin()
        second.requests.end("/api/readings", "POST", 200, 0.004)
        both = [Siblings(each, home=tmp_path, folder=folder) for each in (first, second)]
        for each in both:
            await each.open()
        (folder / "3").touch()  # of a process that has died
        text, _ = await both[0].text("")
        for each in both:
            await each.close()
        return text.decode()

    text = asyncio.run(ask())
    numbers = told(text)
    assert (
        numbers["joulebook_ingest_readings_total", (("outcome", "stored"), ("process", "1"))]
        == 123_456_789_012
    )
    assert numbers["joulebook_ingest_readings_total", (("outcome", "stored"), ("process", "2"))] == 0
    assert numbers["joulebook_ingest_queue_readings", (("process", "2"),)] == 42
    assert numbers["joulebook_ingest_requests_total", (("process", "2"), ("status", "200"))] == 1
    assert text.count("# TYPE joulebook_ingest_readings_total counter\n") == 1
    assert {dict(labels)["process"] for _, labels in numbers} == {"1", "2"}
