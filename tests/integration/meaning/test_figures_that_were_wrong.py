"""Figures that people once read wrong, each as a device sends it and as its owner reads it, over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from .conftest import berlin

if TYPE_CHECKING:
    from .conftest import Home

pytestmark = pytest.mark.django_db(transaction=True)

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def every(step: timedelta, start: str, end: str, value: float) -> Iterator[tuple[datetime, float]]:
    """Yield a reading of the same value each step, from one local time until another."""
    time, until = berlin(start).timestamp(), berlin(end).timestamp()
    while time < until:
        yield datetime.fromtimestamp(time, berlin(start).tzinfo), value
        time += step.total_seconds()


class TestTimeThatIsKnown:
    """A bucket's answer depends on its readings, never on the asked range."""

    def test_two_days_are_the_same_asked_alone_and_with_a_third_of_fast_readings(self, home: Home) -> None:
        home.send_values("power", every(10 * MINUTE, "2026-09-01", "2026-09-03", 600.0))
        home.send_values("power", every(SECOND, "2026-09-03T00:00", "2026-09-03T00:10", 600.0))
        alone = home.energy("power", "2026-09-01", "2026-09-03")
        assert alone["energy"] == pytest.approx([14.4, 14.4])
        assert alone["coverage"] == [1.0, 1.0]
        together = home.energy("power", "2026-09-01", "2026-09-04")
        assert together["energy"][:2] == alone["energy"]
        assert together["energy"][2] == pytest.approx(600 * 599 / 3_600_000, abs=0.0005)
        assert together["coverage"][:2] == [1.0, 1.0]

    def test_months_of_slow_readings_keep_their_energy_when_the_last_day_is_live(self, home: Home) -> None:
        home.send_values("power", every(15 * MINUTE, "2026-09-01", "2026-11-29", 1000.0))
        months = {"per": "month", "start": "2026-09-01", "end": "2026-12-01"}
        assert sum(home.energy("power", **months)["energy"]) == pytest.approx(2136.75)
        home.send_values("power", every(5 * SECOND, "2026-11-29", "2026-11-30", 1000.0))
        live = home.energy("power", **months)["energy"]
        assert live == pytest.approx([720, 745, 672 + 23.9986], abs=0.0005)
        history = home.history("power", "2026-09-01", "2026-12-01", max_points=10)
        assert (history["resolution"], history["coverage"][:2]) == ("1mo", [1.0, 1.0])

    def test_an_outage_of_forty_minutes_among_fast_readings_is_no_energy(self, home: Home) -> None:
        home.send_values("power", every(15 * MINUTE, "2026-09-01", "2026-10-15", 1000.0))
        fast = list(every(10 * SECOND, "2026-10-15T00:00", "2026-10-15T06:00", 1000.0))
        home.send_values("power", fast[:1000] + fast[1240:])
        for start in ("2026-10-15", "2026-09-01"):
            energy = home.energy("power", start, "2026-10-16")
            assert energy["energy"][-1] == pytest.approx(5.328, abs=0.0005)

    @pytest.mark.parametrize("spike", [1e20, 3.4e38, 3.4028234663852886e38, -1e20])
    def test_an_invalid_value_of_one_day_leaves_the_others_exact(self, home: Home, spike: float) -> None:
        readings = list(every(10 * MINUTE, "2026-09-01", "2026-09-05", 1000.0))
        readings[70] = (readings[70][0], spike)
        home.send_values("power", readings)
        days = home.energy("power", "2026-09-01", "2026-09-05")["energy"]
        # Nothing comes after the last ten minutes.
        assert days[1:3] == [24.0, 24.0]
        assert days[3] == pytest.approx(24 - 1 / 6, abs=0.0005)
        assert days[0] == pytest.approx(spike / 6 / 1000, rel=1e-3)
        history = home.history("power", "2026-09-01", "2026-09-11", max_points=10)
        assert (history["resolution"], history["mean"][1:4]) == ("1d", [1000.0] * 3)

    def test_energy_in_and_out_are_apart(self, home: Home) -> None:
        readings = list(every(15 * MINUTE, "2026-09-01", "2026-09-02", 0.0))
        signed = [(time, 2000.0 if place % 2 else -500.0) for place, (time, _) in enumerate(readings)]
        home.send_values("power", [*signed, (berlin("2026-09-02"), 0.0)])
        day = home.energy("power", "2026-09-01", "2026-09-02")
        assert (day["energy"], day["energy_in"], day["energy_out"]) == ([18.0], [24.0], [6.0])


class TestAmounts:
    """What flowed in an interval is summed, by the interval's own time."""

    def test_a_quarter_hour_meter_has_the_sum_of_its_quarters(self, home: Home) -> None:
        home.send_values("export", every(15 * MINUTE, "2026-10-24", "2026-10-27", 0.25))
        home.means("export", kind="amount", unit="kWh")
        days = home.energy("export", "2026-10-24", "2026-10-27")
        # Clocks go back on the 25th.
        assert (days["energy"], days["total"]) == ([24.0, 25.0, 24.0], 73.0)

    def test_an_interval_that_ends_at_midnight_is_of_the_day_before(self, home: Home) -> None:
        stamps = every(15 * MINUTE, "2026-09-01T00:15", "2026-09-03T00:15", 0.25)
        home.send_values("export", stamps)
        home.means("export", kind="amount", unit="kWh", covers="before")
        assert home.energy("export", "2026-09-01", "2026-09-04")["energy"] == [24.0, 24.0, 0.0]
        history = home.history("export", "2026-09-01", "2026-09-11", max_points=10)
        assert (history["sum"][:2], history["largest"][:2]) == ([24.0, 24.0], [0.25, 0.25])


class TestCounters:
    """A register invents no energy."""

    @pytest.mark.parametrize(
        "between",
        [[0.0], [0.0, 0.0], [99_999.0], [1.0, 2.0, 3.0], [0.0, 99_999.0]],
        ids=["zero", "two zeros", "a spike", "boot values", "a zero and a spike"],
    )
    def test_a_glitch_counts_for_nothing(self, home: Home, between: list[float]) -> None:
        """12,000 kWh and 0.1 kWh each ten minutes: 14.4 kWh a day."""
        readings = [
            (time, 12_000 + place / 10)
            for place, (time, _) in enumerate(every(10 * MINUTE, "2026-09-01", "2026-09-03T00:20", 0.0))
        ]
        for place, value in enumerate(between, start=200):
            readings[place] = (readings[place][0], value)
        home.send_values("energy", readings)
        home.means("energy", unit="kWh", kind="counter")
        days = home.energy("energy", "2026-09-01", "2026-09-03")
        assert days["energy"] == pytest.approx([14.3, 14.4])
        history = home.history("energy", "2026-09-01", "2026-09-11", max_points=10)
        assert history["increase"][:2] == pytest.approx([14.3, 14.4])
        assert (history["resets"][:2], history["glitches"][:2]) == ([0, 0], [0, len(between)])

    def test_boot_values_after_an_outage_count_for_nothing(self, home: Home) -> None:
        before = [(berlin("2026-09-01") + place * 10 * MINUTE, 12_000 + place / 10) for place in range(60)]
        booted = [(berlin("2026-09-01T13:00") + place * 10 * MINUTE, float(place)) for place in range(3)]
        after = [
            (berlin("2026-09-01T13:30") + place * 10 * MINUTE, 12_008.1 + place / 10) for place in range(64)
        ]
        home.send_values("energy", [*before, *booted, *after])
        home.means("energy", unit="kWh", kind="counter")
        assert home.energy("energy", "2026-09-01", "2026-09-02")["energy"] == pytest.approx([14.3])

    def test_a_rise_over_a_week_is_unallocated_or_spread(self, home: Home) -> None:
        weekly = [
            (berlin("2026-09-07"), 8100.0),
            (berlin("2026-09-14"), 8170.0),
            (berlin("2026-09-21"), 8240.0),
        ]
        home.send_values("energy", weekly)
        home.means("energy", unit="kWh", kind="counter", silence_limit=86_400)
        days = home.energy("energy", "2026-09-07", "2026-09-22")
        assert (days["total"], sum(days["unallocated"])) == (0.0, 140.0)
        home.means("energy", rise_over_gaps="spread")
        days = home.energy("energy", "2026-09-07", "2026-09-22")
        assert days["energy"] == [10.0] * 14 + [0.0]

    def test_a_register_of_the_day_an_overflow_and_a_net_register(self, home: Home) -> None:
        hours = [time for time, _ in every(HOUR, "2026-09-01", "2026-09-03T01:00", 0.0)]
        home.send(
            {
                "timestamp": time.isoformat(),
                "produced": float(time.hour),
                "meter": (99_990 + place) % 100_000,
                "net": 500 + 2.0 * (place % 2),
            }
            for place, time in enumerate(hours)
        )
        home.means("produced", kind="counter", unit="kWh", resets_daily=True)
        home.means("meter", kind="counter", unit="kWh", rolls_over_at=100_000)
        home.means("net", kind="counter", unit="kWh", runs_both_ways=True)
        assert home.energy("produced", "2026-09-01", "2026-09-03")["energy"] == [23.0, 23.0]
        assert home.energy("meter", "2026-09-01", "2026-09-03")["energy"] == [23.0, 24.0]
        net = home.energy("net", "2026-09-01", "2026-09-02")
        assert (net["energy"], net["energy_in"], net["energy_out"]) == ([2.0], [24.0], [22.0])

    def test_suspects_are_listed_and_each_can_be_confirmed(self, home: Home) -> None:
        readings = [(berlin("2026-09-01") + place * HOUR, 12_000.0 + place) for place in range(48)]
        readings[30] = (readings[30][0], 0.0)
        home.send_values("energy", readings)
        home.means("energy", unit="kWh", kind="counter")
        address = f"/api/devices/{home.device}/metrics/energy/suspects"
        window = {"start": "2026-08-31T00:00:00Z", "end": "2026-09-04T00:00:00Z"}
        found = home.reader.get(address, params=window)
        assert found.status_code == 200, found.text
        [suspect] = found.json()["suspects"]
        assert datetime.fromisoformat(suspect["time"]) == readings[30][0]
        decided = home.reader.post(f"{address}/{suspect['time']}", json={"decision": "confirm"})
        assert decided.status_code in {200, 204}, decided.text
        days = home.energy("energy", "2026-09-01", "2026-09-03")["energy"]
        assert days[1] == pytest.approx(6 + 12_031 + 16)


class TestUnits:
    """A unit in a name or from the sender wins; one that is not understood is no unit."""

    def test_home_assistants_line_protocol_names_units_by_its_measurements(self, home: Home) -> None:
        """Home Assistant writes the unit as measurement and the sensor as tag."""
        start = int(berlin("2026-09-01").timestamp())
        hours = range(start, start + 25 * 3600, 3600)
        home.write(
            f"Wh,entity_id=washer_energy value={place * 119.58333333333333} {at}"
            for place, at in enumerate(hours)
        )
        home.write(f"kW,entity_id=ev_power value=7.175 {at}" for at in hours)
        home.write(f"°F,entity_id=attic_temperature value=95 {at}" for at in hours)
        by_entity = {
            entity: next(name for name in home.metrics() if entity in name)
            for entity in ("washer_energy", "ev_power", "attic_temperature")
        }
        washer = home.energy(by_entity["washer_energy"], "2026-09-01", "2026-09-03")
        assert sum(washer["energy"]) == pytest.approx(2.87, abs=0.0005)
        assert home.energy(by_entity["ev_power"], "2026-09-01", "2026-09-02")["energy"] == pytest.approx(
            [172.2]
        )
        attic = home.history(
            by_entity["attic_temperature"], "2026-09-01", "2026-09-02", unit="°C", max_points=10
        )
        assert home.metrics()[by_entity["attic_temperature"]]["unit"] == "°F"
        known = [mean for mean in attic["mean"] if mean is not None]
        assert known == pytest.approx([35.0] * len(known))

    @pytest.mark.parametrize(
        ("metric", "unit"),
        [
            ("cell_voltage_mV", "mV"),
            ("leak_current_mA", "mA"),
            ("heat_energy_MJ", "MJ"),
            ("water_volume_L", "l"),
            ("water_volume_gal", "gal"),
            ("gas_volume_ft3", "ft³"),
            ("irradiance_w_m2", "W/m²"),
            ("tariff_current", ""),
            ("outside_temperature_F", "°F"),
        ],
    )
    def test_a_unit_in_a_name_is_the_unit(self, home: Home, metric: str, unit: str) -> None:
        home.send_values(metric, [(berlin("2026-09-01"), 1.0)])
        assert home.metrics()[metric]["unit"] == unit

    def test_irradiance_and_a_tariff_have_no_energy(self, home: Home) -> None:
        day = every(HOUR, "2026-09-01", "2026-09-02", 312.0)
        home.send(
            {"timestamp": at.isoformat(), "irradiance_w_m2": value, "tariff_current": 0.21}
            for at, value in day
        )
        energy = home.ask("energy", start=berlin("2026-09-01"), end=berlin("2026-09-02"))
        assert energy["series"] == []

    def test_a_packet_names_its_units(self, home: Home) -> None:
        for time, value in every(HOUR, "2026-09-01", "2026-09-02T01:00", 7.175):
            home.send([{"timestamp": time.isoformat(), "charger": value, "units": {"charger": "kW"}}])
        assert home.metrics()["charger"]["unit"] == "kW"
        assert home.energy("charger", "2026-09-01", "2026-09-02")["energy"] == pytest.approx([172.2])

    def test_a_senders_later_unit_is_a_conflict_and_no_factor(self, home: Home) -> None:
        at = [time.isoformat() for time, _ in every(HOUR, "2026-09-01", "2026-09-01T02:00", 0.0)]
        home.send([{"timestamp": at[0], "charger": 7.0, "units": {"charger": "kW"}}])
        home.send([{"timestamp": at[1], "charger": 7.0, "units": {"charger": "W"}}])
        charger = home.metrics()["charger"]
        assert (charger["unit"], charger["unit_sent"], charger["unit_refused"]) == ("kW", "kW", "W")
        assert home.history("charger", "2026-09-01", "2026-09-02")["value"] == [7.0, 7.0]

    def test_truth_values_are_states_a_signal_below_a_state_is_none_and_a_fraction_is_one(
        self, home: Home
    ) -> None:
        at = berlin("2026-09-01").isoformat()
        home.send([{"timestamp": at, "charging": True, "system_status": {"wifi_strength": -58}, "soc": 0.85}])
        kinds = {name: each["kind"] for name, each in home.metrics().items()}
        assert kinds == {"charging": "state", "system_status.wifi_strength": "gauge", "soc": "gauge"}


class TestTotals:
    """Rows as shown add up to the total as shown, which is right in every unit."""

    @pytest.mark.parametrize("unit", ["Wh", "kWh", "MWh", "MJ", "GJ"])
    def test_a_year_is_the_sum_of_its_days_in_every_unit(self, home: Home, unit: str) -> None:
        """10.4 kWh a day: rounded to 0.010 MWh each, a year is 3.8 % low."""
        home.send_values("export", every(HOUR, "2025-01-01", "2026-01-01", 10.4 / 24))
        home.means("export", kind="amount", unit="kWh")
        days = home.energy("export", "2025-01-01", "2026-01-01", unit=unit)
        rows = [Decimal(str(day)) for day in days["energy"]]
        total = Decimal(str(days["total"]))
        assert sum(rows) == total
        right = Decimal("3796") * {"Wh": 1000, "kWh": 1, "MWh": Decimal("0.001"), "MJ": Decimal("3.6"),
                                   "GJ": Decimal("0.0036")}[unit]  # fmt: skip
        last_digit = Decimal(1).scaleb(int(total.as_tuple().exponent))
        assert abs(total - right) <= max(last_digit / 2, right * Decimal("1e-12"))
        months = home.energy("export", "2025-01-01", "2026-01-01", unit=unit, per="month")
        assert Decimal(str(months["total"])) == total

    def test_a_fiftieth_of_a_watt_does_not_vanish(self, home: Home) -> None:
        home.send_values("power", every(HOUR, "2026-09-01", "2026-10-01T01:00", 0.02))
        month = home.energy("power", "2026-09-01", "2026-10-01", unit="kWh")
        assert month["total"] == pytest.approx(0.0144, abs=0.00005)
        assert sum(Decimal(str(day)) for day in month["energy"]) == Decimal(str(month["total"]))
