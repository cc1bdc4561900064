"""Files whose columns say what flowed in each interval: imported for real, their energy is the sum of the file.

By day and by month, in the file's own zone; the sums are worked out here with Python's `csv` alone.
"""

from __future__ import annotations

import csv
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from ...conftest import SHARED_DATA
from ..worker_process import keeping

if TYPE_CHECKING:
    from .conftest import Home

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not SHARED_DATA.is_dir(), reason=f"the real files are not here: {SHARED_DATA}"),
]

Row = dict[str, str]
Amount = tuple[str, datetime, float]
"""A metric, when its interval begins, and what flowed in it."""


@dataclass(frozen=True)
class File:
    """A file, its zone, what the import is told, and how a person reads it."""

    name: str
    zone: str
    units: dict[str, str]
    """The unit of each metric's energy."""
    read: Callable[[list[Row], ZoneInfo], Iterator[Amount]]
    order: dict[str, Any] = field(default_factory=dict)
    header_line: int = 1
    delimiter: str = ","

    @property
    def path(self) -> Any:
        """Where it is."""
        return SHARED_DATA / self.name

    def amounts(self) -> dict[tuple[str, datetime], float]:
        """Return its amounts; a row that comes again counts once."""
        lines = self.path.read_text(encoding="utf-8-sig").splitlines()[self.header_line - 1 :]
        found: dict[tuple[str, datetime], float] = {}
        for metric, begin, value in self.read(
            list(csv.DictReader(lines, delimiter=self.delimiter)), ZoneInfo(self.zone)
        ):
            found.setdefault((metric, begin.astimezone(ZoneInfo("UTC"))), value)
        return found


def shelly(rows: list[Row], zone: ZoneInfo) -> Iterator[Amount]:
    for row in rows:
        at = datetime.strptime(row["Date/time UTC"], "%Y-%m-%d %H:%M").replace(tzinfo=zone)
        yield "active", at, float(row["Active energy Wh (B)"])


def dsmr(rows: list[Row], _zone: ZoneInfo) -> Iterator[Amount]:
    for row in rows:
        at = datetime.fromisoformat(row["Hour Start"])
        yield "low", at, float(row["Electricity 1 (Dutch Users: Low Tariff)"])
        yield "normal", at, float(row["Electricity 2 (Dutch Users: Normal Tariff)"])
        yield "low_returned", at, float(row["Electricity 1 Returned (Dutch Users: Low Tariff)"])
        yield "gas", at, float(row["Gas"])


def engie(rows: list[Row], _zone: ZoneInfo) -> Iterator[Amount]:
    for row in rows:
        yield row["Type"], datetime.fromisoformat(row["Datum"]), float(row["Verbruik"])


def fluvius(rows: list[Row], zone: ZoneInfo) -> Iterator[Amount]:
    seen = set()
    for row in rows:
        text = row["Van datum"] + row["Van tijdstip"]
        clock = datetime.strptime(text, "%d-%m-%Y%H:%M:%S").replace(tzinfo=zone)
        # The file's rows are in order: a clock time that comes again is of the second pass.
        key = (row["Register"], row["Metertype"], row["Meter"], text)
        at = clock.replace(fold=int(key in seen))
        seen.add(key)
        if row["Volume"]:
            yield row["Register"], at, float(row["Volume"].replace(",", "."))


def pge(rows: list[Row], zone: ZoneInfo) -> Iterator[Amount]:
    for row in rows:
        at = datetime.strptime(row["DATE"] + row["START TIME"], "%Y-%m-%d%H:%M").replace(tzinfo=zone)
        yield "usage", at, float(row["USAGE (kWh)"])


def smard(rows: list[Row], zone: ZoneInfo) -> Iterator[Amount]:
    for row in rows:
        at = datetime.strptime(row["Datum von"], "%d.%m.%Y").replace(tzinfo=zone)
        load = next(name for name in row if name.startswith("Gesamt"))
        yield "load", at, float(row[load].replace(".", "").replace(",", "."))


FILES = [
    File(
        "inverter/shelly_em3_phaseB.csv", "UTC", {"active": "Wh"}, shelly,
        {"map": ["Active energy Wh (B)=active:Wh", "Returned energy Wh (B)="]},
    ),
    File(
        "smartmeter/dsmrreader_hour.csv", "Europe/Amsterdam",
        {"low": "kWh", "normal": "kWh", "low_returned": "kWh", "gas": "m³"}, dsmr,
        {"map": [
            "Electricity 1 (Dutch Users: Low Tariff)=low:kWh", "Electricity 2 (Dutch Users: Normal Tariff)=normal:kWh",
            "Electricity 1 Returned (Dutch Users: Low Tariff)=low_returned:kWh",
            "Electricity 2 Returned (Dutch Users: Normal Tariff)=", "Gas=gas:m³",
        ]},
    ),
    File(
        "smartmeter/engie_verbruiken.csv", "Europe/Amsterdam", {"Elektriciteit": "kWh", "Gas": "m³"}, engie,
        {"layout": "long", "key_column": "Type", "map": ["Verbruik Elektriciteit=Elektriciteit:kWh", "Verbruik Gas=Gas:m³", "Piek Elektriciteit=", "Piek Gas="]},
    ),
    File(
        "smartmeter/fluvius_nl_kwartier.csv", "Europe/Brussels",
        {"Afname Nacht": "kWh", "Afname Dag": "kWh"}, fluvius,
        {"layout": "long", "key_column": "Register", "tz": "Europe/Brussels",
         "map": ["Afname Nacht=Afname Nacht:kWh", "Afname Dag=Afname Dag:kWh", "Injectie Nacht=", "Injectie Dag="]},
        delimiter=";",
    ),
    File(
        "smartmeter/pge_greenbutton_hourly.csv", "America/Los_Angeles", {"usage": "kWh"}, pge,
        {"tz": "America/Los_Angeles", "map": ["USAGE (kWh)=usage:kWh", "COST="], "missing_hour": "shift",
         "doubled_hour": "first"},
        header_line=7,
    ),
    File(
        "grid/smard_tag_2017-2024.csv", "Europe/Berlin", {"load": "MWh"}, smard,
        {"tz": "Europe/Berlin", "map": ["Gesamt (Netzlast) [MWh] Berechnete Auflösungen=load:MWh"]}, delimiter=";",
    ),
]  # fmt: skip


def import_file(home: Home, file: File, writer_url: str) -> None:
    """Import a file with its order, and wait for its end."""
    order = {"device": home.device, "name": file.path.name, **file.order}
    sent = home.reader.post("/api/imports", params=order, content=file.path.read_bytes())
    assert sent.status_code == 202, sent.text[:3000]
    with keeping(writer_url):
        deadline = time.monotonic() + 120
        while (state := home.reader.get(sent.headers["Location"]).json())["state"] in {"queued", "running"}:
            assert time.monotonic() < deadline, state
            time.sleep(0.2)
    assert (state["state"], state["problem"]) == ("done", ""), state


def sums(
    amounts: dict[tuple[str, datetime], float], metric: str, zone: ZoneInfo, period: Callable[[date], date]
) -> dict[date, float]:
    """Return the sum of a metric by period of the local clock."""
    parts: dict[date, list[float]] = defaultdict(list)
    for (of, begin), value in amounts.items():
        if of == metric:
            parts[period(begin.astimezone(zone).date())].append(value)
    return {day: math.fsum(values) for day, values in parts.items()}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_energy_of_a_file_of_amounts_is_its_sum_by_day_and_month(
    home: Home, telemetry: dict[str, str], file: File
) -> None:
    import_file(home, file, telemetry["writer"])
    amounts, zone = file.amounts(), ZoneInfo(file.zone)
    for metric, unit in file.units.items():
        home.means(metric, kind="amount", unit=unit)
        days = sums(amounts, metric, zone, lambda day: day)
        months = sums(amounts, metric, zone, lambda day: day.replace(day=1))
        start = datetime.combine(min(months), datetime.min.time(), zone)
        end = datetime.combine((max(months) + timedelta(days=32)).replace(day=1), datetime.min.time(), zone)
        for per, right in (("day", days), ("month", months)):
            answer = home.ask("energy", metric=metric, start=start, end=end, per=per, unit=unit, tz=file.zone)
            [series] = answer["series"]
            dates = [datetime.fromtimestamp(at, zone).date() for at in answer["time"]]
            found = dict(zip(dates, series["energy"], strict=True))
            wrong = {
                day: (value, right.get(day, 0.0))
                for day, value in found.items()
                if not math.isclose(value, right.get(day, 0.0), rel_tol=1e-12, abs_tol=0.0005 * 31)
            }
            assert wrong == {}
            assert right.keys() <= found.keys()
        total = math.fsum(value for (of, _), value in amounts.items() if of == metric)
        assert series["total"] == pytest.approx(total, rel=1e-9, abs=0.01)


def test_the_three_phase_meter_has_1510_kwh(home: Home, telemetry: dict[str, str]) -> None:
    [file] = [file for file in FILES if file.name.startswith("inverter/")]
    import_file(home, file, telemetry["writer"])
    home.means("active", kind="amount", unit="Wh")
    answer = home.ask(
        "energy", metric="active", start="2024-05-01T00:00:00Z", end="2025-06-01T00:00:00Z", per="month", tz="UTC",
        unit="kWh",
    )  # fmt: skip
    assert answer["series"][0]["total"] == pytest.approx(1510.35, abs=0.005)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_sums_worked_out_here_are_those_of_the_files_truth(file: File) -> None:
    truth = json.loads(file.path.with_name(file.path.name + ".truth.json").read_text())
    if truth["timestamps"]["duplicates"] == 0:
        first = next(iter(file.units))
        total = math.fsum(value for (metric, _), value in file.amounts().items() if metric == first)
        assert any(math.isclose(total, column["sum"], rel_tol=1e-9) for column in truth["values"].values()), (
            total,
            {name: column["sum"] for name, column in truth["values"].items()},
        )
