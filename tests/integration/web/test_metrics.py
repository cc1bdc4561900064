"""`/metrics` of the web and the worker, and what each page of `docs/reference/metrics.md` says of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from ...conftest import HOME, Service, free_port
from ...docs_pages import REPOSITORY, rows
from ..ingest.conftest import until

Labels = tuple[tuple[str, str], ...]


def samples(address: str, **headers: str) -> dict[tuple[str, Labels], float]:
    answer = httpx.get(address, headers=headers)
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(address: str, name: str, **labels: str) -> float:
    """Return one number; 0 where it is not told yet."""
    return samples(address).get((name, tuple(sorted(labels.items()))), 0)


@pytest.fixture(scope="module")
def worker(telemetry) -> Iterator[str]:
    """A worker with a port; gives the address of its metrics."""
    port = free_port()
    log = (HOME / f"worker-{port}.log").open("ab")
    process = subprocess.Popen(
        [sys.executable, "-m", "joulebook", "worker"],
        env={**os.environ, "JOULEBOOK_WORKER_METRICS_PORT": str(port)},
        stdout=log,
        stderr=log,
    )
    address = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        assert process.poll() is None
        try:
            return httpx.get(f"{address}/livez").status_code == 200
        except httpx.TransportError:
            return False

    until(answers, what="the worker does not answer", seconds=90)
    yield f"{address}/metrics"
    process.terminate()
    process.wait(timeout=60)
    log.close()


def test_requests_are_counted_by_route_and_not_by_path(web, device, client_of):
    for path in ("/devices/a-device/", "/devices/another/", "/sign-in/", "/wp-login.php", "/.env"):
        httpx.get(f"{web.url}{path}")
    httpx.post(f"{web.url}/api/live-ticket/x")
    address = f"{web.url}/metrics"
    found = {
        (dict(labels)["route"], dict(labels)["method"], dict(labels)["status"]): count
        for (name, labels), count in samples(address).items()
        if name == "joulebook_http_requests_total"
    }
    assert found["/devices/<str:device_id>/", "GET", "302"] >= 2
    assert found["/sign-in/", "GET", "200"] >= 1
    assert found["unknown", "GET", "404"] >= 2
    assert found["/api/live-ticket/<device_id>", "POST", "401"] >= 1
    assert not [route for route, *_ in found if "another" in route or "wp-login" in route]
    # The scrape itself is the one request in flight, however the others have ended.
    until(lambda: value(address, "joulebook_http_requests_in_flight", service="web") == 1, what="in flight")


def test_a_streamed_answer_counts_when_it_has_ended(web, device, alice, client_of, db):
    """In this process, where the answer's end can be held back."""
    from django.http import StreamingHttpResponse
    from django.test import RequestFactory

    from joulebook.web.metrics import METRICS, RequestMetricsMiddleware

    def in_flight() -> float:
        return next(m for m in METRICS.collect() if m.name.endswith("in_flight")).samples[0].value

    before, counted = in_flight(), sum(METRICS.by_status(without=frozenset()).values())
    observed = RequestMetricsMiddleware(lambda _: StreamingHttpResponse(iter([b"a", b"b"])))
    response = observed(RequestFactory().get("/api/export/x"))
    assert in_flight() == before + 1
    assert list(response) == [b"a", b"b"]
    response.close()
    assert in_flight() == before
    assert sum(METRICS.by_status(without=frozenset()).values()) == counted + 1


def test_the_figures_of_both_databases_are_told(web, telemetry, transactional_db, device):
    from joulebook.web.imports.models import Import

    Import.objects.create(device=device, file_name="a.csv", state=Import.State.DRAFT)
    waiting = Import.objects.create(
        device=device,
        file_name="b.csv",
        state=Import.State.QUEUED,
        queued_at=timezone.now() - timedelta(minutes=10),
    )
    address = f"{web.url}/metrics"
    oldest = "joulebook_imports_oldest_queued_seconds"
    try:
        until(lambda: value(address, oldest) >= 600, what="the queue is not told", seconds=60)
        assert value(address, "joulebook_imports", state="queued") == 1
        assert value(address, "joulebook_imports", state="draft") >= 1
    finally:
        waiting.delete()
    found = samples(address)
    assert found["joulebook_database_up", (("database", "telemetry"),)] == 1
    assert found["joulebook_database_bytes", (("database", "telemetry"),)] > 1_000_000
    assert found["joulebook_database_bytes", (("database", "accounts"),)] > 10_000
    assert ("joulebook_chunks", (("table", "readings_1h"),)) in found
    (server,) = [dict(labels) for name, labels in found if name == "joulebook_telemetry_server_info"]
    assert server["edition"] in {"apache", "timescale"}
    assert server["timescaledb"].startswith("2.")


def test_the_lag_of_the_rollups_falls_as_the_worker_rolls_up(web, worker):
    address = f"{web.url}/metrics"

    def lag() -> float:
        return value(address, "joulebook_rollup_lag_seconds", table="readings_1m")

    def tables() -> list[Labels]:
        return [labels for name, labels in samples(address) if name == "joulebook_rollup_lag_seconds"]

    # A busy machine's first scrape may come without: it does not wait long for figures.
    until(tables, what="no lag is told")
    assert tables() == [(("table", f"readings_{width}"),) for width in ("1m", "5m", "1h")]
    until(lambda: lag() < 120, what="the rollups do not follow", seconds=120)
    runs = value(worker, "joulebook_worker_task_runs_total", task="roll_readings_up")
    until(
        lambda: value(worker, "joulebook_worker_task_runs_total", task="roll_readings_up") > runs,
        what="no run is counted",
    )
    at = value(worker, "joulebook_worker_task_success_timestamp_seconds", task="roll_readings_up")
    assert abs(time.time() - at) < 300
    assert value(worker, "joulebook_worker_task_failures_total", task="roll_readings_up") == 0


def test_metrics_are_for_this_machine_or_for_a_token(web, worker, ingest, telemetry):
    for address in (f"{web.url}/metrics", worker, f"{ingest.url}/metrics"):
        assert httpx.get(address).status_code == 200
        for headers in ({"Host": "joulebook.example"}, {"X-Real-IP": "203.0.113.7"}, {"Via": "1.1 x"}):
            answer = httpx.get(address, headers=headers)
            assert answer.status_code == 403, (address, headers)
            assert "joulebook_" not in answer.text
    token = "a-token-for-prometheus-only"
    for command in ("web", "ingest"):
        service = Service(command, free_port(), {"JOULEBOOK_METRICS_TOKEN": token, "JOULEBOOK_SECURE": "1"})
        _start(service)
        try:
            address = f"{service.url}/metrics"
            refused = httpx.get(address)
            assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
            headers = {"Authorization": f"Bearer {token}", "Host": "10.0.0.5:8000"}
            assert samples(address, **headers)
            assert token not in service.log.read_text()
        finally:
            service.stop()


def _start(service: Service) -> None:
    """Start a service whose metrics need a token; a web that sends everybody to HTTPS answers no probe."""
    with service.log.open("ab") as output:
        service.process = subprocess.Popen(
            [sys.executable, "-m", "joulebook", service.command],
            env=service.environment,
            stdout=output,
            stderr=output,
        )

    def answers() -> bool:
        assert service.is_running(), service.log.read_text()
        try:
            return httpx.get(f"{service.url}/metrics").status_code == 401
        except httpx.TransportError:
            return False

    until(answers, what="the service does not answer", seconds=90)


def documented() -> dict[str, tuple[str, frozenset[str]]]:
    page = (REPOSITORY / "docs" / "reference" / "metrics.md").read_text()
    found = {}
    for heading in (
        "Requests",
        "Process and machine",
        "Ingest",
        "Imports, rollups, databases",
        "Worker",
    ):
        for name, kind, labels, _ in rows(page, heading):
            found[name.strip("`")] = (
                kind,
                frozenset(label.strip("` ") for label in labels.split(",") if label.strip("` ")),
            )
    return found


def test_the_page_of_metrics_names_every_metric_its_kind_and_its_labels(web, worker, ingest, device_token):
    until(
        lambda: 'joulebook_worker_task_runs_total{task="forget_unwanted_uploads"}' in httpx.get(worker).text,
        what="the last task has not run",
    )
    exposed: dict[str, tuple[str, frozenset[str]]] = {}
    headers = {"Authorization": f"Bearer {device_token}"}
    httpx.post(
        f"{ingest.url}/api/readings", json={"timestamp": "2026-05-01T00:00:00Z", "p": 1}, headers=headers
    )
    for address in (f"{web.url}/metrics", worker, f"{ingest.url}/metrics"):
        text = httpx.get(address).text
        for family in text_string_to_metric_families(text):
            suffix = "_total" if family.type == "counter" else ""
            labels = {label for sample in family.samples for label in sample.labels} - {"le", "process"}
            known = exposed.get(family.name + suffix, ("", frozenset[str]()))[1]
            exposed[family.name + suffix] = (family.type, known | labels)
        if (promtool := shutil.which("promtool")) is not None:
            checked = subprocess.run(
                [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
            )
            assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    # No import has ended here, so its labels are not seen.
    exposed["joulebook_worker_imports_total"] = ("counter", frozenset({"state"}))
    assert exposed == documented()
