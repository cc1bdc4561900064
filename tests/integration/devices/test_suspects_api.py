"""Suspects of counters over HTTP: who may look and decide, and what a decision changes."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.readings import to_microseconds
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import write_batch
from joulebook.web.devices.models import Metric

BEGIN = datetime(2026, 3, 1, 23, tzinfo=UTC)
TEN_MINUTES = timedelta(minutes=10)
DAY = {"start": BEGIN.isoformat(), "end": (BEGIN + timedelta(days=1)).isoformat()}
ZERO_AT = (BEGIN + 72 * TEN_MINUTES).isoformat()


@pytest.fixture
def store(writer, device_id):
    """Store a metric's values, one each ten minutes."""

    def put(metric: str, values: list[float]) -> None:
        number = ensure_series(writer, [(device_id, metric)])[device_id, metric]
        time = to_microseconds(BEGIN) + np.arange(len(values), dtype=np.int64) * 600_000_000
        rows = Batch(np.full(len(values), number, np.int32), time, np.array(values, np.float64))
        write_batch(writer, rows)

    return put


@pytest.fixture
def meter(device, store):
    """A register that rises by 14.4 kWh a day, and shows 0 once at noon."""
    values = [round(12_000 + place / 10, 3) for place in range(146)]
    values[72] = 0.0
    store("energy", values)
    return f"/api/devices/{device.device_id}/metrics/energy/suspects"


def decide(client, address: str, decision: object, time: str = ZERO_AT):
    return client.post(f"{address}/{time}", json.dumps(decision), content_type="application/json")


@pytest.mark.django_db(databases=["default", "telemetry"])
class TestSuspects:
    def energy(self, client, device) -> list[float]:
        answer = client.get(f"/api/energy/{device.device_id}", {"metric": "energy", **DAY}).json()
        return answer["series"][0]["energy"]

    def test_each_is_listed_with_what_is_at_stake_also_for_bob(self, device, meter, alice, bob, client_of):
        for user in (alice, bob):
            answer = client_of(user).get(meter, DAY)
            assert answer.status_code == 200, answer.content
            [suspect] = answer.json()["suspects"]
            assert datetime.fromisoformat(suspect.pop("time")) == datetime.fromisoformat(ZERO_AT)
            assert suspect == {
                "taken_for": "glitch", "readings": 1, "before": 12_007.1, "value": 0.0, "after": 12_007.3,
                "effect": 12_007.1, "counted": False, "decision": None,
            }  # fmt: skip

    def test_a_decision_counts_at_once_and_can_be_withdrawn(self, device, meter, alice, client_of):
        client = client_of(alice)
        assert self.energy(client, device) == [14.3]
        assert decide(client, meter, {"decision": "confirm"}).status_code == 204
        assert self.energy(client, device) == [7.1 + 12_007.3 + 7.0]
        [suspect] = client.get(meter, DAY).json()["suspects"]
        assert (suspect["decision"], suspect["counted"]) == ("confirm", True)
        assert decide(client, meter, {"decision": "none"}).status_code == 204
        assert self.energy(client, device) == [14.3]

    def test_a_page_of_them_says_where_the_next_begins(self, device, store, alice, client_of):
        values = [round(500 + place / 10, 3) for place in range(100)]
        values[20] = values[40] = values[60] = 0.0
        store("energy", values)
        address, client = f"/api/devices/{device.device_id}/metrics/energy/suspects", client_of(alice)
        seen, end = [], None
        for expected in (2, 1):
            answer = client.get(address, {"limit": 2, **({"end": end} if end else {})}).json()
            assert len(answer["suspects"]) == expected
            seen += [each["time"] for each in answer["suspects"]]
            end = answer["next"]
        assert end is None
        assert seen == sorted(seen, reverse=True)

    def test_traps_are_told_by_name_and_value(self, device, store, alice, client_of):
        for name, value in (("energy_total", 300), ("energy_t1", 100), ("energy_t2", 200)):
            store(name, [value, value + value / 1000])
        store("energy_today", [1, 1.05])
        store("energy_yesterday", [9.0, 9.0])
        client = client_of(alice)
        found = {
            metric: [
                trap["name"]
                for trap in client.get(f"/api/devices/{device.device_id}/metrics/{metric}/suspects").json()[
                    "traps"
                ]
            ]
            for metric in ("energy_total", "energy_t1", "energy_today", "energy_yesterday")
        }
        assert found == {
            "energy_total": ["total_of_tariffs"],
            "energy_t1": [],
            "energy_today": ["today"],
            "energy_yesterday": ["yesterday"],
        }

    @pytest.mark.parametrize("time", ["2026-03-01T23:00:01Z", "2026-03-01T23:00:00", "noon", "1"])
    def test_no_decision_is_stored_where_there_is_no_reading(self, meter, alice, client_of, time):
        assert decide(client_of(alice), meter, {"decision": "confirm"}, time).status_code == 404
        assert not Metric.objects.filter(decisions__isnull=False).exists()

    def test_another_kind_has_none(self, device, store, alice, client_of):
        store("power", [1.0, 2.0])
        answer = client_of(alice).get(f"/api/devices/{device.device_id}/metrics/power/suspects")
        assert (answer.status_code, answer.json()["detail"]) == (
            409, "power is of the kind gauge; only counters have suspects",
        )  # fmt: skip

    @pytest.mark.parametrize("wrong", [{}, {"decision": "maybe"}, {"decision": "ignore", "why": 1}, []])
    def test_another_answer_is_refused(self, meter, alice, client_of, wrong):
        assert decide(client_of(alice), meter, wrong).status_code == 400

    @pytest.mark.parametrize("wrong", [{"limit": "0"}, {"limit": "501"}, {"start": "noon"}, {"page": "2"}])
    def test_another_question_is_refused(self, meter, alice, client_of, wrong):
        assert client_of(alice).get(meter, wrong).status_code == 400


class TestTheGate:
    """These tests allow no database but `default`: any statement to telemetry is an error."""

    @pytest.mark.django_db(databases=["default"])
    def test_charlie_sees_none_and_bob_decides_nothing(self, device, bob, charlie, client_of):
        address = f"/api/devices/{device.device_id}/metrics/energy/suspects"
        assert client_of(charlie).get(address).status_code == 403
        for user in (bob, charlie):
            assert decide(client_of(user), address, {"decision": "ignore"}).status_code == 403
