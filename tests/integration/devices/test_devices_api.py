"""`/api/devices`: who may look and who may change, what is answered, and what is refused and how."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from joulebook.web.devices.models import Device, MeterReplacement, Metric
from joulebook.web.devices.operations import create_device

from ...docs_pages import REPOSITORY

SPRING = "2026-03-01T12:00:00.123456+01:00"


@pytest.fixture
def address(device):
    return f"/api/devices/{device.device_id}"


@pytest.fixture
def energy(device):
    """A counter of the device's, which has sent nothing yet."""
    return Metric.objects.create(device=device, name="energy", unit="kWh")


def send(client, method, address, body):
    return client.generic(method, address, json.dumps(body), content_type="application/json")


UNSAFE = [
    ("PATCH", "/metrics/energy", {"unit": "Wh"}),
    ("POST", "/metrics/energy/replacements", {"replaced_at": SPRING}),
    ("DELETE", "/metrics/energy/replacements/1", None),
]
SAFE = [
    ("GET", "", None),
    ("GET", "/metrics", None),
    ("GET", "/metrics/energy", None),
    ("GET", "/metrics/energy/replacements", None),
]


class TestTheGate:
    """These tests allow no database but `default`: any statement to telemetry is an error."""

    @pytest.mark.parametrize(("method", "path", "body"), [*SAFE, *UNSAFE])
    def test_charlie_gets_the_same_403_for_alices_device_as_for_none(
        self, device, energy, address, charlie, client_of, method, path, body
    ):
        client = client_of(charlie)
        hers = send(client, method, address + path, body)
        nobodys = send(client, method, f"/api/devices/no_such_device{path}", body)
        assert hers.status_code == nobodys.status_code == 403
        assert hers.content == nobodys.content
        assert hers["Content-Type"] == "application/problem+json"
        history = client.get(f"/api/history/{device.device_id}")
        assert hers.content == history.content

    def test_charlie_is_refused_before_what_he_sends_is_read(self, energy, address, charlie, client_of):
        answer = send(client_of(charlie), "PATCH", f"{address}/metrics/nothing_of_hers", {"unit": "W"})
        assert (answer.status_code, answer.json()["detail"]) == (403, "no device of yours has this id")

    @pytest.mark.parametrize(("method", "path", "body"), UNSAFE)
    def test_bob_who_is_shared_with_changes_nothing(
        self, energy, address, bob, client_of, method, path, body
    ):
        MeterReplacement.objects.create(pk=1, metric=energy, replaced_at=datetime(2026, 1, 1, tzinfo=UTC))
        answer = send(client_of(bob), method, address + path, body)
        assert answer.status_code == 403
        assert "only its owner" in answer.json()["detail"]
        energy.refresh_from_db()
        assert (energy.unit, energy.replacements.count()) == ("kWh", 1)

    @pytest.mark.parametrize(("method", "path", "body"), [*SAFE, *UNSAFE])
    def test_without_signing_in_the_answer_is_401(self, address, client, method, path, body):
        assert send(client, method, address + path, body).status_code == 401

    @pytest.mark.parametrize(("method", "path", "body"), UNSAFE)
    def test_a_page_of_another_site_cannot_use_alices_session(
        self, energy, address, alice, method, path, body
    ):
        MeterReplacement.objects.create(pk=1, metric=energy, replaced_at=datetime(2026, 1, 1, tzinfo=UTC))
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(alice)
        answer = send(browser, method, address + path, body)
        assert answer.status_code == 403
        assert "CSRF" in answer.json()["detail"]
        energy.refresh_from_db()
        assert (energy.unit, energy.replacements.count()) == ("kWh", 1)

    def test_a_device_token_changes_nothing(self, device, energy, address, client):
        from joulebook.web.devices.operations import issue_device_token

        header = {"Authorization": f"Bearer {issue_device_token(device)}"}
        answer = client.patch(f"{address}/metrics/energy", "{}", "application/json", headers=header)
        assert answer.status_code == 401

    def test_charlies_list_is_empty(self, device, charlie, client_of):
        assert client_of(charlie).get("/api/devices").json() == {"devices": []}


@pytest.fixture
def store(writer, device_id):
    """Store readings of a metric of the device: {seconds ago: value}."""
    import numpy as np

    from joulebook.telemetry.batch import Batch
    from joulebook.telemetry.series import ensure_series
    from joulebook.telemetry.writer import write_batch

    def put(metric, readings, device=device_id):
        now = int(time.time())
        series = ensure_series(writer, [(device, metric)])[device, metric]
        times = np.array([(now - ago) * 1_000_000 for ago in readings], np.int64)
        ids = np.full(len(times), series, np.int32)
        write_batch(writer, Batch(ids, times, np.array(list(readings.values()), np.float64)))
        return now

    return put


@pytest.mark.usefixtures("transaction_on_both")
def test_a_users_token_needs_no_cookie_and_no_csrf_token(energy, address, alice):
    from joulebook.web.accounts.operations import issue_user_token

    script = Client(enforce_csrf_checks=True)
    header = {"Authorization": f"Bearer {issue_user_token(alice)}"}
    answer = script.patch(f"{address}/metrics/energy", '{"unit": "Wh"}', "application/json", headers=header)
    assert (answer.status_code, answer.json()["unit"]) == (200, "Wh")


@pytest.mark.usefixtures("transaction_on_both")
class TestDevices:
    def test_each_is_told_with_its_newest_reading(self, device, alice, store, client_of):
        store("power", {400: 1.0, 500: 2.0})
        now = store("voltage", {3: 230.0, 4: 230.0})
        create_device(f"{device.device_id}-new", owner=alice)
        listed = client_of(alice).get("/api/devices").json()["devices"]
        by_id = {one["device"]: one for one in listed}
        assert by_id[device.device_id] == {
            "device": device.device_id,
            "name": "Home battery",
            "tz": "Europe/Berlin",
            "mine": True,
            "silence_limit": None,
            "status": "live",
            "last_time": datetime.fromtimestamp(now - 3, UTC).isoformat().replace("+00:00", "Z"),
        }
        new = by_id[f"{device.device_id}-new"]
        assert (new["status"], new["last_time"]) == ("waiting", None)

    def test_bob_sees_that_it_is_not_his(self, device, bob, client_of, address):
        assert client_of(bob).get(address).json()["mine"] is False

    def test_the_owners_silence_limit_decides(self, device, alice, store, client_of, address):
        store("power", {60: 1.0, 61: 1.0})
        assert client_of(alice).get(address).json()["status"] == "live"
        Device.objects.filter(pk=device.pk).update(silence_limit=30)
        assert client_of(alice).get(address).json()["status"] == "silent"

    def test_a_device_is_not_silent_within_three_of_its_usual_distances(
        self, device, alice, store, client_of, address
    ):
        store("power", {2000 + 900 * number: 1.0 for number in range(5)})
        assert client_of(alice).get(address).json()["status"] == "live"

    def test_one_that_reported_each_second_is_silent_after_five_minutes(
        self, device, alice, store, client_of, address
    ):
        store("power", {310 + number: 1.0 for number in range(5)})
        assert client_of(alice).get(address).json()["status"] == "silent"


@pytest.mark.usefixtures("transaction_on_both")
class TestMetrics:
    def test_all_are_told_those_that_sent_and_those_that_are_configured(
        self, device, alice, energy, store, client_of, address
    ):
        store("power", {3: 1.0})
        answer = client_of(alice).get(f"{address}/metrics").json()
        usual = {
            "form": "numbers",
            "silence_limit": None,
            "holds": "each",
            "covers": "after",
            "resets_daily": False,
            "rolls_over_at": None,
            "runs_both_ways": False,
            "greatest_rise": None,
            "rise_over_gaps": "unallocated",
            "decisions": [],
            "words": [],
        }
        assert answer["metrics"] == [
            {
                "metric": "energy",
                "display_name": "Energy",
                "unit": "kWh",
                "kind": "counter",
                "factor": 1.0,
                "dip_tolerance": 0.1,
                "unit_sent": "",
                "unit_refused": "",
                "guessed": ["display_name", "kind", "dip_tolerance"],
                "reasons": {"kind": "“energy” in the name", "unit": "set by the owner"},
                "replacements": 0,
                **usual,
            },
            {
                "metric": "power",
                "display_name": "Power",
                "unit": "W",
                "kind": "gauge",
                "factor": 1.0,
                "dip_tolerance": 0.1,
                "unit_sent": "",
                "unit_refused": "",
                "guessed": ["display_name", "unit", "kind", "dip_tolerance"],
                "reasons": {"kind": "“power” in the name", "unit": "guessed from the name"},
                "replacements": 0,
                **usual,
            },
        ]

    def test_what_is_given_changes_and_the_rest_stays(self, alice, energy, client_of, address):
        client = client_of(alice)
        first = send(client, "PATCH", f"{address}/metrics/energy", {"kind": "gauge", "factor": 0.001}).json()
        assert (first["kind"], first["factor"], first["unit"]) == ("gauge", 0.001, "kWh")
        second = send(client, "PATCH", f"{address}/metrics/energy", {"kind": None, "factor": None}).json()
        assert (second["kind"], second["factor"], second["unit"]) == ("counter", 1.0, "kWh")
        assert "kind" in second["guessed"]

    def test_every_setting_of_every_kind_is_stored_and_answered_and_null_restores_its_default(
        self, alice, energy, client_of, address
    ):
        client = client_of(alice)
        before = client.get(f"{address}/metrics").json()["metrics"][0]
        change = {
            "silence_limit": 900,
            "holds": "until_next",
            "covers": "before",
            "resets_daily": True,
            "rolls_over_at": 100_000,
            "runs_both_ways": True,
            "greatest_rise": 12.5,
            "rise_over_gaps": "spread",
            "decisions": [{"time": SPRING, "decision": "ignore"}],
            "words": [
                {"value": 3, "word": "charging", "colour": "#2e9e5b"},
                {"text": "E12", "word": "too hot"},
            ],
        }
        answer = send(client, "PATCH", f"{address}/metrics/energy", change)
        assert answer.status_code == 200
        found = client.get(f"{address}/metrics").json()["metrics"][0]
        assert found == answer.json()
        assert {name: found[name] for name in change if name not in {"decisions", "words"}} == {
            name: value for name, value in change.items() if name not in {"decisions", "words"}
        }
        assert found["decisions"] == [{"time": "2026-03-01T11:00:00.123456Z", "decision": "ignore"}]
        assert found["words"] == [
            {"value": 3.0, "text": "", "word": "charging", "colour": "#2e9e5b"},
            {"value": None, "text": "E12", "word": "too hot", "colour": ""},
        ]
        assert energy.decisions.get().by == alice
        restored = send(client, "PATCH", f"{address}/metrics/energy", dict.fromkeys(change)).json()
        assert restored == before

    def test_a_state_is_told_with_its_word_and_since_when_it_holds(self, alice, store, client_of, address):
        now = store("mode", {50: 2.0, 40: 3.0, 30: 3.0, 20: 3.0})
        client = client_of(alice)
        send(client, "PATCH", f"{address}/metrics/mode", {"words": [{"value": 3, "word": "charging"}]})
        found = client.get(f"{address}/metrics/mode").json()

        def instant(ago: int) -> str:
            return datetime.fromtimestamp(now - ago, UTC).isoformat().replace("+00:00", "Z")

        assert found["state"] == {
            "value": 3.0,
            "word": "charging",
            "since": instant(40),
            "time": instant(20),
        }
        assert found["kind"] == "state"
        store("power", {3: 1.0})
        assert client.get(f"{address}/metrics/power").json()["state"] is None

    def test_a_decision_that_stays_keeps_who_made_it_and_when(self, alice, energy, client_of, address):
        client = client_of(alice)
        first = {"time": SPRING, "decision": "confirm"}
        send(client, "PATCH", f"{address}/metrics/energy", {"decisions": [first]})
        made = energy.decisions.get()
        second = {"time": "2026-04-01T00:00:00Z", "decision": "ignore"}
        send(client, "PATCH", f"{address}/metrics/energy", {"decisions": [first, second]})
        assert made in energy.decisions.all()
        assert energy.decisions.get(pk=made.pk).at == made.at
        send(client, "PATCH", f"{address}/metrics/energy", {"decisions": [{**first, "decision": "ignore"}]})
        assert [(each.is_ignored, each.pk != made.pk) for each in energy.decisions.all()] == [(True, True)]

    def test_a_metric_that_has_sent_can_be_configured_whatever_its_name(
        self, device, alice, store, client_of, address
    ):
        store("home/energy/import", {3: 1.0})
        change = {"display_name": "Import", "unit": "kWh"}
        answer = send(client_of(alice), "PATCH", f"{address}/metrics/home%2Fenergy%2Fimport", change)
        assert (answer.status_code, answer.json()["display_name"]) == (200, "Import")
        posted = send(
            client_of(alice),
            "POST",
            f"{address}/metrics/home%2Fenergy%2Fimport/replacements",
            {"replaced_at": SPRING},
        )
        assert posted.status_code == 201

    @pytest.mark.parametrize(("method", "path", "body"), [*SAFE[2:], *UNSAFE])
    def test_a_metric_that_the_device_does_not_have_is_404(
        self, alice, client_of, address, method, path, body
    ):
        answer = send(client_of(alice), method, address + path, body)
        assert answer.status_code == 404
        assert "energy" in answer.json()["detail"]
        assert not Metric.objects.filter(device__owner=alice).exists()

    @pytest.mark.parametrize(
        ("body", "parameter"),
        [
            ({"factor": 0}, "factor"),
            ({"factor": -1}, "factor"),
            ({"factor": "much"}, "factor"),
            ({"factor": 1e400}, "factor"),
            ({"factor": True}, "factor"),
            ({"factor": "1"}, "factor"),
            ({"dip_tolerance": 1.5}, "dip_tolerance"),
            ({"dip_tolerance": False}, "dip_tolerance"),
            ({"kind": "meter"}, "kind"),
            ({"unit": "W" * 33}, "unit"),
            ({"unit": "W\u0000"}, "unit"),
            ({"display_name": "x" * 151}, "display_name"),
            ({"name": "energy2"}, "name"),
            ({"silence_limit": 0}, "silence_limit"),
            ({"silence_limit": 1.5}, "silence_limit"),
            ({"silence_limit": 86_400 * 401}, "silence_limit"),
            ({"holds": "always"}, "holds"),
            ({"covers": True}, "covers"),
            ({"resets_daily": "yes"}, "resets_daily"),
            ({"resets_daily": 1}, "resets_daily"),
            ({"rolls_over_at": 0}, "rolls_over_at"),
            ({"rolls_over_at": -5}, "rolls_over_at"),
            ({"greatest_rise": 1e300}, "greatest_rise"),
            ({"rise_over_gaps": "drop"}, "rise_over_gaps"),
            ({"decisions": [{"time": "2026-03-01", "decision": "ignore"}]}, "decisions"),
            ({"decisions": [{"time": SPRING, "decision": "maybe"}]}, "decisions"),
            (
                {
                    "decisions": [
                        {"time": f"2026-03-01T{n // 60:02}:{n % 60:02}:00Z", "decision": "ignore"}
                        for n in range(501)
                    ]
                },
                "decisions",
            ),
            ({"words": [{"value": 1, "word": "on"}, {"value": 1, "word": "off"}]}, "words"),
            ({"words": [{"value": 1, "colour": "red"}]}, "words"),
            ({"words": [{"value": 1, "word": "x" * 81}]}, "words"),
            ({"words": [{"value": 1, "word": "x\n"}]}, "words"),
            ({"words": [{"value": n, "word": "x"} for n in range(201)]}, "words"),
            ({"words": [{"worth": 1}]}, "words"),
            ({"words": {}}, "words"),
            ([], "body"),
            ("text", "body"),
        ],
    )
    def test_a_field_that_cannot_be_used_is_named_and_nothing_is_stored(
        self, alice, energy, client_of, address, body, parameter
    ):
        answer = send(client_of(alice), "PATCH", f"{address}/metrics/energy", body)
        assert answer.status_code == 400
        assert answer["Content-Type"] == "application/problem+json"
        assert answer.json()["parameter"] == parameter
        before = (energy.unit, energy.kind, energy.factor, energy.display_name)
        energy.refresh_from_db()
        assert (energy.unit, energy.kind, energy.factor, energy.display_name) == before

    @pytest.mark.parametrize("body", ["", "{", "[" * 100_000, '{"factor": NaN}', "\xff"])
    def test_what_is_no_json_is_refused(self, alice, energy, client_of, address, body):
        answer = client_of(alice).patch(f"{address}/metrics/energy", body, "application/json")
        assert answer.status_code == 400
        assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.usefixtures("transaction_on_both")
class TestReplacements:
    @pytest.fixture
    def replacements(self, energy, address):
        return f"{address}/metrics/energy/replacements"

    def test_one_is_entered_listed_and_removed(self, alice, energy, client_of, replacements, address):
        client = client_of(alice)
        body = {"replaced_at": SPRING, "final_register": 18342.5, "start_register": 0, "note": "new meter"}
        posted = send(client, "POST", replacements, body)
        assert posted.status_code == 201
        [listed] = client.get(replacements).json()["replacements"]
        assert listed == posted.json()
        assert listed["replaced_at"] == "2026-03-01T11:00:00.123456Z"
        assert (listed["final_register"], listed["start_register"]) == (18342.5, 0.0)
        assert client.get(f"{address}/metrics").json()["metrics"][0]["replacements"] == 1
        assert energy.replacements.get().entered_by == alice
        assert client.delete(f"{replacements}/{listed['number']}").status_code == 204
        assert client.get(replacements).json()["replacements"] == []
        assert client.delete(f"{replacements}/{listed['number']}").status_code == 404

    def test_registers_may_be_unknown(self, alice, client_of, replacements):
        posted = send(client_of(alice), "POST", replacements, {"replaced_at": SPRING}).json()
        assert (posted["final_register"], posted["start_register"], posted["note"]) == (None, None, "")

    def test_of_another_metric_or_device_none_is_removed(self, alice, energy, device, client_of, address):
        other = create_device(f"{device.device_id}-2", owner=alice)
        theirs = Metric.objects.create(device=other, name="energy")
        kept = MeterReplacement.objects.create(
            metric=theirs, replaced_at=datetime.now(UTC) - timedelta(days=1)
        )
        client = client_of(alice)
        assert client.delete(f"{address}/metrics/energy/replacements/{kept.pk}").status_code == 404
        assert MeterReplacement.objects.filter(pk=kept.pk).exists()

    @pytest.mark.parametrize("number", ["0", "99999999999999999999999999", "-1", "1.0", "one", "٣"])
    def test_a_number_that_none_has_is_404(self, alice, client_of, replacements, number):
        answer = client_of(alice).delete(f"{replacements}/{number}")
        assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
        assert f"no replacement {number[:20]}" in answer.json()["detail"]

    def test_administrators_find_them_in_the_admin(self, alice, energy, client_of):
        MeterReplacement.objects.create(metric=energy, replaced_at=datetime(2026, 1, 1, tzinfo=UTC))
        alice.is_staff = alice.is_superuser = True
        alice.save()
        page = client_of(alice).get("/admin/devices/meterreplacement/").content.decode()
        assert energy.device.device_id in page

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"replaced_at": "yesterday"},
            {"replaced_at": "2026-03-01T12:00:00"},
            {"replaced_at": "1969-12-31T23:59:59Z"},
            {"replaced_at": "2999-01-01T00:00:00Z"},
            {"replaced_at": 1772366400},
            {"replaced_at": True},
            {"replaced_at": SPRING, "final_register": "a lot"},
            {"replaced_at": SPRING, "start_register": False},
            {"replaced_at": SPRING, "final_register": 1e200},
            {"replaced_at": SPRING, "note": "x" * 201},
            {"replaced_at": SPRING, "by": "me"},
        ],
    )
    def test_what_cannot_be_is_refused_with_the_fields_name(self, alice, client_of, replacements, body):
        answer = send(client_of(alice), "POST", replacements, body)
        assert answer.status_code == 400
        assert answer.json()["parameter"] == (list(body) or ["replaced_at"])[-1]
        assert not MeterReplacement.objects.filter(metric__device__owner=alice).exists()

    def test_the_same_instant_twice_is_refused(self, alice, client_of, replacements):
        send(client_of(alice), "POST", replacements, {"replaced_at": SPRING})
        answer = send(client_of(alice), "POST", replacements, {"replaced_at": SPRING})
        assert (answer.status_code, answer.json()["parameter"]) == (400, "replaced_at")
        assert "already" in answer.json()["detail"]

    def test_a_gauge_has_no_meter(self, alice, energy, client_of, replacements):
        Metric.objects.filter(pk=energy.pk).update(kind="gauge")
        answer = send(client_of(alice), "POST", replacements, {"replaced_at": SPRING})
        assert answer.status_code == 409
        assert "energy is a gauge" in answer.json()["detail"]


class TestAddressesThatThereAreNot:
    @pytest.mark.parametrize(
        "path",
        ["/d/metrics/a%0Ab/replacements", "/d/metrics/", "/../nothing", "x"],
    )
    def test_they_are_told_as_problems_too(self, client, db, path):
        for method in ("GET", "POST", "DELETE"):
            answer = client.generic(method, f"/api/devices{path}")
            assert (answer.status_code, answer["Content-Type"]) == (404, "application/problem+json")
            assert "no such address" in answer.json()["detail"]

    def test_so_are_methods_that_an_address_does_not_know(self, address, client):
        answer = client.delete(f"{address}/metrics")
        assert (answer.status_code, answer["Content-Type"]) == (405, "application/problem+json")
        assert answer["Allow"] == "GET, PUT"
        assert answer.json()["detail"] == "this address does not know DELETE; use GET, PUT"


def test_the_description_tells_of_every_address_and_refusal(client, db):
    paths = client.get("/api/openapi.json").json()["paths"]
    found = {
        (method, path.removeprefix("/api/devices"))
        for path, operations in paths.items()
        for method in operations
        if path.startswith("/api/devices")
    }
    metric = "/{device_id}/metrics/{metric}"
    assert found == {
        ("get", ""),
        ("get", "/{device_id}"),
        ("get", "/{device_id}/metrics"),
        ("get", metric),
        ("patch", metric),
        ("get", f"{metric}/replacements"),
        ("post", f"{metric}/replacements"),
        ("delete", f"{metric}/replacements/{{number}}"),
        ("put", "/{device_id}/metrics"),
        ("get", f"{metric}/suspects"),
        ("post", f"{metric}/suspects/{{time}}"),
    }
    page = (REPOSITORY / "docs" / "reference" / "devices.md").read_text()
    documented = re.findall(r"^\| `([A-Z]+) /api/devices(\S*)` \|", page, re.MULTILINE)
    assert {(method.lower(), path.replace("{id}", "{device_id}")) for method, path in documented} == found
    patch = paths[f"/api/devices{metric}"]["patch"]
    assert {"200", "400", "401", "403", "404"} <= set(patch["responses"])
