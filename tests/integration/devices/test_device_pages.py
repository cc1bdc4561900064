"""The list of devices and a device's page, as the server draws them before any script has run."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
from django.template import loader

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import write_batch


@pytest.fixture
def store(writer, device_id):
    """Store readings of the device: {metric: {seconds ago: value}}."""

    def put(metrics: dict[str, dict[int, float]]) -> None:
        now = int(time.time())
        for metric, readings in metrics.items():
            series = ensure_series(writer, [(device_id, metric)])[device_id, metric]
            times = np.array([(now - ago) * 1_000_000 for ago in readings], np.int64)
            ids = np.full(len(times), series, np.int32)
            write_batch(writer, Batch(ids, times, np.array(list(readings.values()), np.float64)))

    return put


class TestWhoSeesWhat:
    """These tests allow no database but `default`: any statement to telemetry is an error."""

    def test_charlie_gets_the_same_404_for_alices_device_as_for_none(self, device, charlie, client_of):
        client = client_of(charlie)
        hers, nobodys = client.get(f"/devices/{device.device_id}/"), client.get("/devices/no_such_device/")
        assert hers.status_code == nobodys.status_code == 404

        def text(response):
            return re.sub(r'(?:value|data-now)="[^"]*"', "", response.content.decode())

        assert text(hers) == text(nobodys)

    @pytest.mark.parametrize("query", ["", "?rows", "?rows={device}"])
    def test_charlies_list_is_empty(self, device, charlie, client_of, query):
        page = client_of(charlie).get(f"/{query.format(device=device.device_id)}").content.decode()
        assert device.device_id not in page

    @pytest.mark.parametrize("address", ["/", "/?rows", "/devices/x/", "/profile/", "/profile/password/"])
    def test_a_stranger_is_asked_to_sign_in(self, db, client, address):
        response = client.get(address)
        assert response.status_code == 302
        assert response.headers["Location"].startswith("/sign-in/?next=/")

    def test_pages_of_devices_only_answer_reading_requests(self, alice, device, client_of):
        for address in ("/", f"/devices/{device.device_id}/"):
            assert client_of(alice).post(address).status_code == 405

    def test_a_withdrawn_share_holds_at_once(self, device, bob, client_of):
        client = client_of(bob)
        device.shares.all().delete()
        assert client.get(f"/devices/{device.device_id}/").status_code == 404


@pytest.mark.usefixtures("transaction_on_both")
class TestTheList:
    def test_bob_sees_what_is_shared_with_him(self, device, bob, client_of):
        assert device.device_id in client_of(bob).get("/").content.decode()

    def test_a_line_tells_name_last_reading_and_age(self, device, alice, client_of, store):
        store({"power": {3: 1238.4999999, 63: 900, 123: 1000}, "voltage": {3: 230.1}})
        page = client_of(alice).get("/?rows").content.decode()
        assert "Home battery" in page
        assert "1.24\u202fkW" in page
        assert re.search(r">\d s ago</time>", page)
        assert 'class="dot live"' in page
        assert re.search(r'<svg class="spark"[^>]*aria-label="last hour: 900\u202fW to 1.24\u202fkW"', page)
        assert "<html" not in page

    def test_a_device_without_readings_waits(self, device, alice, client_of):
        assert "waiting for its first reading" in client_of(alice).get("/").content.decode()

    def test_asked_for_one_device_it_gives_that_line_alone(self, device, alice, client_of, store):
        from joulebook.web.devices.operations import create_device

        create_device("another", owner=alice)
        store({"power": {3: 1}})
        page = client_of(alice).get("/", {"rows": device.device_id}).content.decode()
        assert page.count("<li") == 1


@pytest.mark.usefixtures("transaction_on_both")
class TestADevicesPage:
    def test_it_shows_how_to_send_the_first_reading(self, device, alice, client_of, settings):
        page = client_of(alice).get(f"/devices/{device.device_id}/").content.decode()
        assert f"TOKEN=$(joulebook device token {device.device_id})" in page
        assert f"http://127.0.0.1:{settings.CONFIG.ingest_port}/api/readings" in page

    def test_it_names_metrics_for_people_power_first(self, device, alice, client_of, store):
        from joulebook.web.devices.models import Metric

        Metric.objects.create(device=device, name="voltage", display_name="Mains", unit="kV")
        store({"battery.soc": {3: 50}, "power": {3: 1}, "voltage": {3: 1}})
        page = client_of(alice).get(f"/devices/{device.device_id}/").content.decode()
        labels = re.findall(r'data-part="label">([^<]*)<', page)
        assert labels == ["Power", "Battery state of charge", "Mains", ""]
        assert re.findall(r'data-part="unit">([^<]*)<', page) == ["W", "%", "kV", ""]

    def test_it_has_room_for_the_metrics_of_its_address_alone(self, device, alice, client_of, store):
        store({"power": {5: 1.0}, "voltage": {5: 230.0}})
        page = client_of(alice).get(f"/devices/{device.device_id}/?metric=voltage").content.decode()
        assert re.findall(r'data-part="panel" data-metric="(.*?)"', page) == ["voltage", ""]  # and a template

    def test_without_scripts_it_leads_to_the_readings(self, device, alice, client_of, store):
        store({"power": {3: 1}})
        client = client_of(alice)
        page = client.get(f"/devices/{device.device_id}/").content.decode()
        address = re.search(r'<noscript>.*href="([^"]*)"', page)
        assert address
        assert client.get(address[1]).json()["device"] == device.device_id

    def test_names_are_text_wherever_they_stand(self, device, alice, client_of, store):
        from joulebook.web.devices.models import Metric

        hostile = "</script><img src=x onerror=alert(1)>"
        device.name = hostile
        device.save()
        Metric.objects.create(device=device, name="power", display_name=hostile, unit=hostile[:32])
        store({"power": {3: 1}})
        for address in ("/", f"/devices/{device.device_id}/"):
            page = client_of(alice).get(address).content.decode()
            assert "<img" not in page
            assert page.count("</script>") == page.count("<script")


@pytest.mark.usefixtures("transaction_on_both")
def test_no_page_needs_an_exception_from_the_policy(device, alice, client_of, store):
    client = client_of(alice)
    pages = [client.get(address) for address in ("/", "/profile/", "/profile/password/", "/nowhere/")]
    pages.append(client.get(f"/devices/{device.device_id}/"))
    store({"power": {3: 1}})
    pages.append(client.get(f"/devices/{device.device_id}/"))
    client.logout()
    pages.append(client.get("/sign-in/"))
    for response in pages:
        policy = response.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        page = response.content.decode()
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)
        scripts = re.findall(r"<script([^>]*)>", page)
        assert all("src=" in script or 'type="application/json"' in script for script in scripts)
        assert not re.search(r'(?:src|href)="(?:https?:)?//', page)


@pytest.mark.usefixtures("transaction_on_both")
def test_only_a_devices_page_may_speak_to_another_origin_and_that_is_ingest(device, alice, client_of):
    from django.conf import settings

    ingest = f"http://127.0.0.1:{settings.CONFIG.ingest_port}"
    client = client_of(alice)
    for address, sources in {"/": "'self'", f"/devices/{device.device_id}/": f"'self' {ingest}"}.items():
        policy = client.get(address).headers["Content-Security-Policy"]
        assert f"connect-src {sources};" in policy + ";"


@pytest.mark.parametrize("name", ["400.html", "403.html", "404.html", "500.html", "403_csrf.html"])
def test_error_pages_need_neither_a_request_nor_a_database(name):
    page = loader.get_template(name).render()
    assert page.count("<h1>") == 1
    assert name[:3] in page
