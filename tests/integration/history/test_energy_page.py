"""The page of a device's energy: what it adds up to, where it leads, and what it says of what is missing."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser

import numpy as np
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.readings import to_microseconds
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import write_batch
from joulebook.time_zones import ZoneInfo
from joulebook.web.devices.models import Metric

START = datetime(2026, 2, 28, 23, tzinfo=UTC)
"""Midnight of the first of March in Berlin, whose clocks go forward on the 29th."""

pytestmark = pytest.mark.usefixtures("transaction_on_both")


class Table(HTMLParser):
    """The page's only table as rows of texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._in_cell = False
        self.feed(page[page.index("<table") : page.index("</table>")])

    def handle_starttag(self, tag: str, attrs: object) -> None:
        """Begin a row or a cell."""
        if tag == "tr":
            self.rows.append([])
        elif tag in {"th", "td"}:
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        """End a cell."""
        if tag in {"th", "td"}:
            self.rows[-1][-1] = self.rows[-1][-1].strip()
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        """Add to the cell."""
        if self._in_cell:
            self.rows[-1][-1] += data


@pytest.fixture
def store(device, writer):
    def store(metric, time, value):
        series = ensure_series(writer, [(device.device_id, metric)])[device.device_id, metric]
        number = np.full(len(time), series, np.int32)
        write_batch(writer, Batch(number, np.asarray(time, np.int64), np.asarray(value, np.float64)))

    return store


@pytest.fixture
def home(device, store):
    """March: a restless power and a register with a silence from the 9th at 18:00 to the 10th at 06:00."""
    time = to_microseconds(START) + np.arange(31 * 288, dtype=np.int64) * 300_000_000
    store("power", time, 500 + 333.337 * np.sin(np.arange(len(time)) / 50))
    berlin = START + timedelta(days=8, hours=18)
    quiet = (time > to_microseconds(berlin)) & (time < to_microseconds(berlin + timedelta(hours=12)))
    store("energy.imported", time[~quiet], (np.arange(len(time)) * 0.0412345)[~quiet])
    return device


def look(client, device, **query):
    answer = client.get(f"/devices/{device.device_id}/energy/", query)
    assert answer.status_code == 200
    return answer.content.decode()


def number(text):
    return Decimal(text.replace("\u202f", "").replace("−", "-"))


def summed(page, column):
    rows = Table(page).rows
    body, foot = rows[2:-1], rows[-1]
    shown = [number(row[column]) for row in body if row[column] not in {"", "–"}]
    return sum(shown), number(foot[column]), len(body)


@pytest.mark.parametrize("unit", ["Wh", "kWh", "MWh"])
def test_the_days_shown_add_up_to_the_last_digit_and_are_the_months_row(home, alice, client_of, unit):
    client = client_of(alice)
    days = look(client, home, on="2026-03", unit=unit)
    months = look(client, home, per="month", on="2026-03", unit=unit)
    march = next(row for row in Table(months).rows if row[0] == "March")
    # Register: energy, unallocated, cover; power: energy, cover.
    for column in (1, 2, 4):
        total, foot, rows = summed(days, column)
        assert rows == 31
        assert total == foot == number(march[column])
    assert unit in days


def test_what_no_day_can_claim_stands_apart_and_is_hatched(home, alice, client_of):
    page = look(client_of(alice), home, on="2026-03")
    rows = {row[0]: row for row in Table(page).rows}
    tenth = rows["Tue 10 Mar"]
    assert number(tenth[2]) == Decimal("5.937768")  # 144 steps of 0.0412345
    assert rows["Wed 11 Mar"][2] == ""
    assert number(rows["Sun 29 Mar"][1]) < number(rows["Sat 28 Mar"][1])  # 23 hours
    assert tenth[3] == "75\u202f%"
    assert 'class="lost" fill="url(#hatch-0)"' in page
    assert "5.937\u202f768 kWh unallocated" in page


def test_weeks_belong_to_the_quarter_in_which_they_begin(home, alice, client_of):
    client = client_of(alice)
    page = look(client, home, per="week", on="2026-03-31")
    weeks = [row[0] for row in Table(page).rows[2:-1]]
    assert (weeks[0], weeks[-1], len(weeks)) == ("5–11 Jan", "30 Mar – 5 Apr", 13)
    assert "January to March 2026" in page
    assert "October to December 2025" in look(client, home, per="week", on="2026-01-02")


def test_earlier_and_later_lead_from_frame_to_frame_and_end_where_the_readings_do(home, alice, client_of):
    client = client_of(alice)
    page = look(client, home, on="2026-03")
    assert 'rel="prev"' not in page
    later = re.search(r'href="([^"]*)" rel="next"', page)[1].replace("&amp;", "&")
    april = client.get(f"/devices/{home.device_id}/energy/{later}").content.decode()
    assert "<strong>April 2026</strong>" in april
    assert 'rel="prev"' in april
    assert "Nothing was measured in May 2026" in look(client, home, on="2026-05")
    assert 'rel="next"' not in look(client, home)


@pytest.mark.parametrize(
    "query",
    [
        {"per": "year"},
        {"on": "2026-13"},
        {"on": "9999-12-31"},
        {"on": "0001-01-01"},
        {"tz": "Mars/X"},
        {"unit": "V"},
        {"metric": "nothing"},
        {"per": "week", "on": "1970-01-01"},
    ],
    ids=str,
)
def test_an_address_that_makes_no_sense_shows_the_usual(home, alice, client_of, query):
    assert "Total" in look(client_of(alice), home, **query)


def test_other_quantities_keep_their_units_beside_energy(home, store, alice, client_of):
    store("water", [to_microseconds(START), to_microseconds(START) + 600_000_000], [10.0, 10.25])
    page = look(client_of(alice), home, on="2026-03", unit="Wh")
    assert Table(page).rows[0] == ["", "Energy imported Wh", "Power Wh", "Water m³"]
    assert "0.250 m³" in page


def test_a_device_without_power_or_counters_is_told_what_to_do(device, store, alice, bob, client_of):
    store("temperature", [to_microseconds(START)], [20.0])
    hers = look(client_of(alice), device)
    assert "No energy to show" in hers
    assert f'href="/devices/{device.device_id}/settings/"' in hers
    assert f'href="/devices/{device.device_id}/settings/"' not in look(client_of(bob), device)
    Metric.objects.create(device=device, name="temperature", kind="counter", unit="kWh")
    assert "No energy to show" not in look(client_of(alice), device)


def test_a_device_without_readings_leads_to_the_first(device, alice, client_of):
    assert "No readings yet" in look(client_of(alice), device)


def test_names_of_metrics_are_text(device, store, alice, client_of):
    store("<b>power</b>", [to_microseconds(START)], [20.0])
    page = look(client_of(alice), device, on="2026-03")
    assert "<b>power" not in page.lower()


def test_in_and_out_stand_apart_where_energy_flows_both_ways(device, store, alice, client_of):
    """Twelve hours of 1 kW and then twelve of −0.5 kW, a reading a minute."""
    begin = to_microseconds(datetime(2026, 5, 4, tzinfo=ZoneInfo(device.time_zone)))
    minute = np.arange(24 * 60 + 1, dtype=np.int64)
    values = np.where(minute < 720, 1000.0, -500.0)
    values[-1] = 0.0
    store("battery.power", begin + minute * 60_000_000, values)
    page = look(client_of(alice), device, on="2026-05", metric="battery.power")
    rows = {row[0]: row for row in Table(page).rows}
    assert rows["Day"][1:] == ["In", "Out", "Net", "Cover"]
    assert [number(cell) for cell in rows["Mon 4 May"][1:4]] == [12, 6, 6]
    assert [number(cell) for cell in rows["Total"][1:4]] == [12, 6, 6]
    assert " net, " in page


def test_a_rise_that_is_spread_over_days_says_so(device, store, alice, client_of):
    """A register that is silent from one noon to that four days later."""
    begin = to_microseconds(datetime(2026, 6, 1, 12, tzinfo=ZoneInfo(device.time_zone)))
    hours = np.array([*range(-12, 1), *range(96, 109)], dtype=np.int64)
    store("gas.energy", begin + hours * 3_600_000_000, np.where(hours < 96, 100.0, 140.0))
    Metric.objects.create(device=device, name="gas.energy", kind="counter", unit="kWh", spreads=True)
    page = look(client_of(alice), device, on="2026-06", metric="gas.energy")
    rows = {row[0]: row for row in Table(page).rows}
    assert rows["Day"][1:] == ["Energy", "Spread", "Cover"]
    for column in (1, 2):
        assert [number(rows[day][column]) for day in ("Mon 1 Jun", "Tue 2 Jun", "Fri 5 Jun")] == [5, 10, 5]
        assert number(rows["Total"][column]) == 40
