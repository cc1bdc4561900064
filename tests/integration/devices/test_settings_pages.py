"""The pages of a device's settings: for the owner alone, without any script, with errors that help."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import Client

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import write_batch
from joulebook.web.devices.models import Device, DeviceShare, MeterReplacement, Metric

WINTER = datetime(2026, 1, 10, 12, tzinfo=UTC)
DEVICE = {
    "name": "Cellar meter",
    "time_zone": "Europe/Paris",
    "time_without_offset": "refuse",
    "silence_limit": "",
}
METRIC = {"display_name": "", "unit": "", "kind": "", "factor": "1", "dip_tolerance": ""}
ADDRESSES = [
    ("get", "settings/"),
    ("post", "settings/"),
    ("get", "settings/metric/?name=energy"),
    ("post", "settings/metric/?name=energy"),
    ("post", "settings/take/?name=energy"),
    ("post", "settings/suspect/?name=energy"),
    ("post", "settings/replacements/?name=energy"),
    ("post", "settings/replacements/1/remove/?name=energy"),
    ("post", "settings/shares/"),
    ("post", "settings/shares/1/remove/"),
]


@pytest.fixture
def energy(device):
    return Metric.objects.create(device=device, name="energy", unit="kWh")


@pytest.fixture
def base(device):
    return f"/devices/{device.device_id}/"


def errors(answer):
    return re.findall(r'class="(?:error|note bad)"[^>]*>([^<]*)<', answer.content.decode())


class TestWhoMay:
    """These tests allow no database but `default`: any statement to telemetry is an error."""

    @pytest.mark.parametrize(("method", "path"), ADDRESSES)
    def test_charlie_gets_the_same_404_for_alices_device_as_for_none(
        self, energy, base, charlie, client_of, method, path
    ):
        client = client_of(charlie)
        hers = getattr(client, method)(base + path, DEVICE)
        nobodys = getattr(client, method)(f"/devices/no_such_device/{path}", DEVICE)
        assert hers.status_code == nobodys.status_code == 404

        def text(response):
            return re.sub(r'(?:value|data-now)="[^"]*"', "", response.content.decode())

        assert text(hers) == text(nobodys)

    @pytest.mark.parametrize(("method", "path"), ADDRESSES)
    def test_bob_who_is_shared_with_gets_403_and_changes_nothing(
        self, device, energy, base, bob, client_of, method, path
    ):
        MeterReplacement.objects.create(pk=1, metric=energy, replaced_at=WINTER)
        answer = getattr(client_of(bob), method)(base + path, {**DEVICE, **METRIC, "user_name": "bob"})
        assert answer.status_code == 403
        device.refresh_from_db()
        assert device.name == "Home battery"
        assert energy.replacements.count() == 1

    @pytest.mark.parametrize(("method", "path"), ADDRESSES)
    def test_a_stranger_is_asked_to_sign_in(self, base, client, method, path):
        answer = getattr(client, method)(base + path)
        assert answer.status_code == 302
        assert answer["Location"].startswith("/sign-in/?next=/devices/")

    @pytest.mark.parametrize("path", [path for method, path in ADDRESSES if method == "post"])
    def test_a_page_of_another_site_changes_nothing(self, base, alice, path):
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(alice)
        assert browser.post(base + path, DEVICE).status_code == 403

    @pytest.mark.parametrize("path", [path for method, path in ADDRESSES[4:] if method == "post"])
    def test_no_reading_request_changes_anything(self, base, alice, client_of, path):
        assert client_of(alice).get(base + path).status_code == 405


@pytest.mark.usefixtures("transaction_on_both")
class TestTheDevice:
    def test_its_owner_names_it_and_says_where_it_stands_and_when_it_is_silent(
        self, device, base, alice, client_of
    ):
        answer = client_of(alice).post(f"{base}settings/", {**DEVICE, "silence_limit": "15 min"}, follow=True)
        assert "are saved" in answer.content.decode()
        assert 'value="15 min"' in answer.content.decode()
        device.refresh_from_db()
        assert (device.name, device.time_zone, device.silence_limit) == ("Cellar meter", "Europe/Paris", 900)
        client_of(alice).post(f"{base}settings/", DEVICE)
        device.refresh_from_db()
        assert device.silence_limit is None

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            ({"silence_limit": "soon"}, "no length of time"),
            ({"silence_limit": "0"}, "0 is not from 1 s to 400 d"),
            ({"silence_limit": "401 d"}, "401 d is not from 1 s to 400 d"),
            ({"time_zone": "Mars/Olympus"}, "Mars/Olympus is not one of the available choices"),
            ({"name": "x" * 151}, "at most 150 characters"),
        ],
    )
    def test_what_cannot_be_is_told_and_not_stored(self, device, base, alice, client_of, change, error):
        answer = client_of(alice).post(f"{base}settings/", {**DEVICE, **change})
        assert answer.status_code == 400
        assert error in " ".join(errors(answer))
        device.refresh_from_db()
        assert device.name == "Home battery"
        assert "Home battery" in re.findall("<h1>.*</h1>", answer.content.decode())[0]

    def test_its_owner_alone_is_led_to_the_settings(self, device, base, alice, bob, client_of):
        link = f'href="{base}settings/"'
        assert link in client_of(alice).get(base).content.decode()
        assert link not in client_of(bob).get(base).content.decode()

    def test_every_metric_is_listed_with_what_is_guessed(
        self, device, base, energy, writer, alice, client_of
    ):
        ensure_series(writer, [(device.device_id, "home/water & gas")])
        page = client_of(alice).get(f"{base}settings/").content.decode()
        assert f"{base}settings/metric/?name=home%2Fwater+%26+gas" in page
        line = re.findall(r"<li><a.*?</li>", page, re.DOTALL)[0]
        assert re.sub(r"<[^>]*>|\s+", " ", line).split() == ["Energy", "energy", "counter", "guessed", "kWh"]


@pytest.mark.usefixtures("transaction_on_both")
class TestSharing:
    def test_charlie_sees_the_device_until_the_share_is_withdrawn(
        self, device, base, alice, charlie, client_of
    ):
        answer = client_of(alice).post(f"{base}settings/shares/", {"user_name": "charlie"}, follow=True)
        assert "charlie sees this device" in answer.content.decode()
        assert client_of(charlie).get(base).status_code == 200
        number = DeviceShare.objects.get(user=charlie).pk
        client_of(alice).post(f"{base}settings/shares/{number}/remove/")
        assert client_of(charlie).get(base).status_code == 404

    @pytest.mark.parametrize(
        ("name", "error"),
        [("nobody", "no user &#x27;nobody&#x27;"), ("alice", "is yours"), ("", "required")],
    )
    def test_with_whom_it_cannot_be_shared_is_told(self, device, base, alice, client_of, name, error):
        answer = client_of(alice).post(f"{base}settings/shares/", {"user_name": name})
        assert answer.status_code == 400
        assert error in " ".join(errors(answer))
        assert not device.shares.exists()

    def test_a_share_of_another_device_is_not_withdrawn(self, device, base, alice, charlie, bob, client_of):
        other = Device.objects.create(device_id=f"{device.device_id}-2", owner=charlie)
        share = DeviceShare.objects.create(device=other, user=bob)
        assert client_of(alice).post(f"{base}settings/shares/{share.pk}/remove/").status_code == 404
        assert DeviceShare.objects.filter(pk=share.pk).exists()

    def test_who_is_disabled_is_no_user(self, device, base, alice, client_of):
        User.objects.create(username="gone", is_active=False)
        assert client_of(alice).post(f"{base}settings/shares/", {"user_name": "gone"}).status_code == 400


@pytest.mark.usefixtures("transaction_on_both")
class TestAMetric:
    @pytest.fixture
    def page(self, base):
        return f"{base}settings/metric/?name=energy"

    def test_the_guess_and_its_reason_are_offered_first(self, energy, page, alice, client_of):
        text = client_of(alice).get(page).content.decode()
        choices = [
            re.sub(r"<[^>]*>|\s+", " ", label).strip()
            for label in re.findall(r'<label class="choice">(.*?)</label>', text, re.DOTALL)
        ]
        assert choices[0] == "Guessed: counter (“energy” in the name)"
        assert [choice.partition(":")[0] for choice in choices[1:]] == ["Gauge", "Counter", "Amount", "State"]
        assert re.search(r'<input[^>]*name="kind"[^>]*value=""[^>]*checked', text)
        assert 'placeholder="kWh"' in text
        assert '<option value="MWh">' in text

    def test_what_the_owner_says_is_stored(self, device, energy, page, alice, client_of):
        said = {
            "display_name": "Used",
            "unit": "MWh",
            "kind": "gauge",
            "factor": "0,001",
            "dip_tolerance": "2.5",
        }
        answer = client_of(alice).post(page, said, follow=True)
        assert "Saved." in answer.content.decode()
        energy.refresh_from_db()
        assert (energy.display_name, energy.unit, energy.kind) == ("Used", "MWh", "gauge")
        assert (energy.factor, energy.dip_tolerance) == (0.001, 0.025)

    def test_what_is_emptied_is_guessed_again(self, energy, page, alice, client_of):
        client_of(alice).post(page, {**METRIC, "kind": "state", "unit": "MWh"})
        client_of(alice).post(page, METRIC)
        energy.refresh_from_db()
        assert (energy.kind, energy.unit, energy.factor, energy.dip_tolerance) == ("", "", 1.0, None)

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            ({"factor": "0"}, "must not be 0"),
            ({"factor": "nan"}, "no number"),
            ({"factor": "a lot"}, "&#x27;a lot&#x27; is no number"),
            ({"factor": ""}, "required"),
            ({"factor": "-1"}, "a counter only grows"),
            ({"dip_tolerance": "100"}, "less than or equal to 99"),
            ({"dip_tolerance": "-1"}, "greater than or equal to 0"),
            ({"kind": "meter"}, "meter is not one of the available choices"),
            ({"unit": "W" * 33}, "at most 32 characters"),
        ],
    )
    def test_what_cannot_be_is_told_and_not_stored(self, energy, page, alice, client_of, change, error):
        answer = client_of(alice).post(page, {**METRIC, "unit": "Wh", **change})
        assert answer.status_code == 400
        focused = re.findall(r"<input[^>]*autofocus[^>]*>", answer.content.decode())
        assert focused
        assert all(f'name="{next(iter(change))}"' in field for field in focused)
        assert error in " ".join(errors(answer))
        energy.refresh_from_db()
        assert energy.unit == "kWh"

    @pytest.mark.parametrize(
        ("kind", "shown"),
        [
            ("gauge", {"holds_until_next"}),
            ("amount", {"covers_before"}),
            ("state", set()),
            (
                "counter",
                {
                    "dip_tolerance",
                    "resets_daily",
                    "rolls_over_at",
                    "runs_both_ways",
                    "greatest_rise",
                    "spreads",
                },
            ),
        ],
    )
    def test_only_the_settings_of_its_kind_are_shown_and_the_others_stay(
        self, energy, page, alice, client_of, kind, shown
    ):
        kept = {
            "holds_until_next": True,
            "covers_before": True,
            "rolls_over_at": 1000.0,
            "greatest_rise": 7.0,
        }
        Metric.objects.filter(pk=energy.pk).update(kind=kind, **kept)
        text = client_of(alice).get(page).content.decode()
        fields = set(re.findall(r'<(?:input|select)[^>]*name="(\w+)"', text))
        common = {"next", "csrfmiddlewaretoken", "display_name", "unit", "kind", "factor", "silence_limit"}
        replacement = (
            {"replaced_at", "final_register", "start_register", "note"} if kind == "counter" else set()
        )
        assert fields - replacement == common | shown
        assert ("words-0-word" in text) == (kind == "state")
        sent = {**METRIC, "kind": kind}
        if kind != "counter":
            del sent["dip_tolerance"]
        assert client_of(alice).post(page, sent).status_code == 302
        energy.refresh_from_db()
        assert {name: getattr(energy, name) for name in kept} == kept

    def test_the_settings_of_a_counter_are_stored_as_entered(self, energy, page, alice, client_of):
        entered = {
            **METRIC,
            "silence_limit": "2 h",
            "resets_daily": "True",
            "rolls_over_at": "99999,9",
            "runs_both_ways": "True",
            "greatest_rise": "11",
            "spreads": "True",
        }
        answer = client_of(alice).post(page, entered, follow=True)
        assert "Saved." in answer.content.decode()
        energy.refresh_from_db()
        assert (energy.silence_limit, energy.rolls_over_at, energy.greatest_rise) == (7200, 99999.9, 11.0)
        assert (energy.resets_daily, energy.runs_both_ways, energy.spreads) == (True, True, True)
        again = client_of(alice).get(page).content.decode()
        assert 'value="2 h"' in again
        assert 'value="99999.9"' in again
        client_of(alice).post(
            page, {**entered, "resets_daily": "False", "rolls_over_at": "", "silence_limit": ""}
        )
        energy.refresh_from_db()
        assert (energy.resets_daily, energy.rolls_over_at, energy.silence_limit) == (False, None, None)

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            ({"silence_limit": "soon"}, "no length of time"),
            ({"rolls_over_at": "-1"}, "must be above 0"),
            ({"greatest_rise": "0"}, "must be above 0"),
            ({"spreads": "maybe"}, "not one of the available choices"),
        ],
    )
    def test_a_setting_of_its_kind_that_cannot_be_is_told(
        self, energy, page, alice, client_of, change, error
    ):
        answer = client_of(alice).post(page, {**METRIC, **change})
        assert answer.status_code == 400
        assert error in " ".join(errors(answer))

    def test_the_values_of_a_state_get_words_and_colours(self, device, base, writer, alice, client_of):
        series = ensure_series(writer, [(device.device_id, "mode")])[device.device_id, "mode"]
        time = np.arange(3, dtype=np.int64) * 1_000_000 + 1_700_000_000_000_000
        write_batch(writer, Batch(np.full(3, series, np.int32), time, np.array([2.0, 7.0, 2.0])))
        page, client = f"{base}settings/metric/?name=mode", client_of(alice)
        text = client.get(page).content.decode()
        assert re.findall(r'name="words-\d-value"[^>]*value="([^"]*)"', text) == ["2.0", "7.0"]
        lines = {
            "words-TOTAL_FORMS": "4",
            "words-INITIAL_FORMS": "2",
            "words-0-value": "2",
            "words-0-word": "charging",
            "words-0-colour": "#2e9e5b",
            "words-1-value": "7",
            "words-2-value": "9,5",
            "words-2-word": "<b>resting</b>",
        }
        sent = {**METRIC, **lines}
        assert client.post(page, sent).status_code == 302
        stored = Metric.objects.get(device=device, name="mode")
        assert stored.words == [
            {"value": 2.0, "text": "", "word": "charging", "colour": "#2e9e5b"},
            {"value": 9.5, "text": "", "word": "<b>resting</b>", "colour": ""},
        ]
        text = client.get(page).content.decode()
        assert 'value="charging"' in text
        assert "<b>resting" not in text
        twice = client.post(page, {**sent, "words-2-value": "2"})
        assert twice.status_code == 400
        assert "2 has two words" in " ".join(errors(twice))
        wrong = client.post(page, {**sent, "words-2-value": "two"})
        assert wrong.status_code == 400
        assert "is no number" in " ".join(errors(wrong))

    def test_a_unit_that_cannot_be_converted_is_kept_and_said_to_be_so(self, energy, page, alice, client_of):
        answer = client_of(alice).post(page, {**METRIC, "unit": "widgets"}, follow=True)
        assert "“widgets” is not a known unit" in answer.content.decode()

    def test_a_metric_that_the_device_does_not_have_is_404(self, base, alice, client_of):
        for query in ("", "?name=", "?name=nothing", "?name=%00", "?name=" + "x" * 500):
            assert client_of(alice).get(f"{base}settings/metric/{query}").status_code == 404

    def test_a_hostile_name_is_text(self, device, base, writer, alice, client_of):
        hostile = '"></script><img src=x onerror=alert(1)>'
        ensure_series(writer, [(device.device_id, hostile)])
        client = client_of(alice)
        [address] = re.findall(r'href="([^"]*name=[^"]*)"', client.get(f"{base}settings/").content.decode())
        answer = client.post(address, {**METRIC, "display_name": hostile, "unit": hostile[:32]}, follow=True)
        assert answer.status_code == 200
        for page in (answer, client.get(f"{base}settings/")):
            assert "<img" not in page.content.decode()
        assert Metric.objects.get(device=device).name == hostile


@pytest.mark.usefixtures("transaction_on_both")
class TestReplacements:
    @pytest.fixture
    def address(self, base):
        return f"{base}settings/replacements/?name=energy"

    def test_one_is_noted_by_the_devices_clock_and_removed(self, base, energy, address, alice, client_of):
        said = {"replaced_at": "2026-07-01T14:30", "final_register": "18 342,5".replace(" ", "\u202f")}
        answer = client_of(alice).post(address, {**said, "start_register": "0", "note": "new"}, follow=True)
        page = re.sub(r"<[^>]*>|\s+", " ", answer.content.decode())
        assert "The replacement at Wed 1 Jul 2026, 14:30:00 is noted." in page
        assert "old meter at 18342.5 kWh, new meter from 0 kWh new" in " ".join(page.split())
        stored = energy.replacements.get()
        assert stored.replaced_at == datetime(2026, 7, 1, 12, 30, tzinfo=UTC)
        assert (stored.final_register, stored.start_register, stored.note) == (18342.5, 0.0, "new")
        assert stored.entered_by == alice
        client_of(alice).post(f"{base}settings/replacements/{stored.pk}/remove/?name=energy")
        assert not energy.replacements.exists()
        gone = client_of(alice).post(f"{base}settings/replacements/{stored.pk}/remove/?name=energy")
        assert gone.status_code == 404

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            ({"replaced_at": ""}, "required"),
            ({"replaced_at": "yesterday"}, "is no date and time"),
            ({"replaced_at": "2026-03-29T02:30"}, "clocks went forward"),
            ({"replaced_at": "2999-01-01T00:00"}, "between 1970 and now"),
            ({"replaced_at": "0001-01-01T00:00"}, "out of reach"),
            ({"final_register": "much"}, "&#x27;much&#x27; is no number"),
            ({"start_register": "1e300"}, "no number that a register can show"),
            ({"note": "x" * 201}, "at most 200 characters"),
        ],
    )
    def test_what_cannot_be_is_told_and_not_stored(self, energy, address, alice, client_of, change, error):
        said = {"replaced_at": "2026-01-10T13:00", "final_register": "", "start_register": "", "note": ""}
        answer = client_of(alice).post(address, {**said, **change})
        assert answer.status_code == 400
        assert error in " ".join(errors(answer))
        assert not energy.replacements.exists()

    def test_of_a_doubled_hour_the_first_pass_is_meant(self, energy, address, alice, client_of):
        client_of(alice).post(address, {"replaced_at": "2025-10-26T02:30"})
        assert energy.replacements.get().replaced_at == datetime(2025, 10, 26, 0, 30, tzinfo=UTC)

    def test_twice_at_one_instant_is_refused(self, energy, address, alice, client_of):
        for status in (302, 400):
            assert client_of(alice).post(address, {"replaced_at": "2026-01-10"}).status_code == status
        assert energy.replacements.count() == 1

    def test_a_gauge_has_no_meter(self, base, energy, address, alice, client_of):
        Metric.objects.filter(pk=energy.pk).update(kind="gauge")
        assert (
            "Meter replacements"
            not in client_of(alice).get(f"{base}settings/metric/?name=energy").content.decode()
        )
        answer = client_of(alice).post(address, {"replaced_at": "2026-01-10T13:00"})
        assert answer.status_code == 400
        assert not energy.replacements.exists()


@pytest.mark.usefixtures("transaction_on_both")
def test_no_page_needs_an_exception_from_the_policy(base, energy, alice, client_of):
    MeterReplacement.objects.create(metric=energy, replaced_at=WINTER)
    for path in ("settings/", "settings/metric/?name=energy"):
        answer = client_of(alice).get(base + path)
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", answer.content.decode())
