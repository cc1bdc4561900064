"""What metrics are taken for by their names alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.telemetry.kinds.guesses import guess_kind, guess_unit
from joulebook.telemetry.kinds.kinds import GAUGE, KINDS


@pytest.mark.parametrize(
    ("metric", "kind", "unit"),
    [
        ("power", "gauge", "W"),
        ("battery.voltage", "gauge", "V"),
        ("voltage_l2", "gauge", "V"),
        ("powerL1", "gauge", "W"),
        ("p_kw", "gauge", "kW"),
        ("state_of_charge", "gauge", "%"),
        ("battery.soc", "gauge", "%"),
        ("power_factor", "gauge", ""),
        ("apparent_power", "gauge", "VA"),
        ("reactive_power", "gauge", "var"),
        ("water_temperature", "gauge", "°C"),
        ("gas_flow", "gauge", ""),
        ("energy_price", "gauge", ""),
        ("battery_energy_remaining", "gauge", "kWh"),
        ("power_total", "gauge", "W"),
        ("total_act_power", "gauge", "W"),
        ("power_phase_a", "gauge", "W"),
        ("temperature", "gauge", "°C"),
        ("alpha", "gauge", ""),
        ("1.7.0", "gauge", ""),
        ("energy", "counter", "kWh"),
        ("energy.imported", "counter", "kWh"),
        ("energy_off_peak", "counter", "kWh"),
        ("home/energy/import", "counter", "kWh"),
        ("EnergyTotal", "counter", "kWh"),
        ("import_kWh", "counter", "kWh"),
        ("ImportKWh", "counter", "kWh"),
        ("e_wh", "counter", "Wh"),
        ("reactive_energy", "counter", "kvarh"),
        ("import_register", "counter", ""),
        ("rain_total", "counter", ""),
        ("water", "counter", "m³"),
        ("gas_m3", "counter", "m³"),
        ("1.8.0", "counter", ""),
        ("1-0:1.8.0*255", "counter", ""),
        ("state", "state", ""),
        ("door", "state", ""),
        ("light_on", "state", ""),
        ("power_state", "state", ""),
        ("relay", "state", ""),
        ("relay_power", "gauge", "W"),
        ("status_code", "state", ""),
        ("system_status.wifi_strength", "gauge", ""),
        ("system_status.firmware", "gauge", ""),
        ("system_status.cpu_temperature", "gauge", "°C"),
        ("inverter.status", "state", ""),
        ("status.0", "state", ""),
        ("relay.0", "state", ""),
        ("door.front", "state", ""),
        ("power_meter.energy", "counter", "kWh"),
        ("battery.power.total", "gauge", "W"),
        ("interval_energy", "amount", "kWh"),
        ("energy_delta_kwh", "amount", "kWh"),
        ("temperature_delta", "gauge", "°C"),
        ("report_interval", "gauge", ""),
    ],
)
def test_kind_and_unit_are_guessed_from_the_name(metric, kind, unit):
    assert (guess_kind(metric).kind.name, guess_unit(metric)) == (kind, unit)


def test_the_price_of_energy_is_no_register_though_its_last_part_is():
    assert guess_kind("price.energy") == (GAUGE, "“price” in the name")


def test_a_guess_says_why():
    assert guess_kind("grid.energy").why == "“energy” in the name"
    assert guess_kind("alpha").why == "nothing in the name says otherwise"


@given(st.text(min_size=1, max_size=200))
def test_every_name_has_a_guess(metric):
    assert KINDS[guess_kind(metric).kind.name] is guess_kind(metric).kind
    assert len(guess_unit(metric)) <= 32
