"""The units that stand in metrics' names, as the programs of this field write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.telemetry.kinds.guesses import guess_kind, guess_unit
from joulebook.telemetry.kinds.units import is_known_unit


def check(metric, unit):
    assert guess_unit(metric) == unit, metric


@pytest.mark.parametrize(
    ("metric", "unit"),
    [
        ("Wh{domain=sensor,entity_id=washer_energy}", "Wh"),
        ("kW{domain=sensor,entity_id=ev_power}", "kW"),
        ("°F{domain=sensor,entity_id=outdoor_temperature}", "°F"),
        ("mV{entity_id=battery_voltage}", "mV"),
        ("mA{entity_id=pump_current}", "mA"),
        ("MJ{entity_id=heat_meter_energy}", "MJ"),
        ("L{domain=sensor,entity_id=water_total}", "L"),
        ("gal{entity_id=water_meter}", "gal"),
        ("ft³{entity_id=gas_meter}", "ft³"),
        ("EUR/kWh{entity_id=energy_price}", "EUR/kWh"),
        ("€/kWh{entity_id=electricity_price}", "€/kWh"),
        ("EUR{entity_id=energy_cost}", "EUR"),
        ("kr/kWh{entity_id=nordpool_energy_price}", ""),
        ("W/m²{entity_id=solar_power_density}", "W/m²"),
        ("gCO2eq/kWh{entity_id=co2_intensity}", "gCO2eq/kWh"),
        ("%{entity_id=phone_battery}", "%"),
        # An attribute of Home Assistant's is a field of its own, and its unit is another.
        ("°C.humidity{domain=climate,entity_id=living_room}", "%"),
        ("kWh.battery_level{entity_id=meter}", ""),
        ("sensor.power{entity_id=washer}", "W"),
        ("meter.energy", "kWh"),
    ],
)
def test_home_assistants_measurement_is_the_unit_of_its_value(metric, unit):
    check(metric, unit)


@pytest.mark.parametrize(
    ("metric", "unit"),
    [
        ("irradiance_w_m2", "W/m²"),
        ("ghi_wm2", "W/m²"),
        ("GHI_W_m2", "W/m²"),
        ("radiation_kwh_m2", "kWh/m²"),
        ("tariff_current", ""),
        ("current_tariff", ""),
        ("price_per_kwh", ""),
        ("price_eur_per_kwh", "EUR/kWh"),
        ("price_ct_kwh", "ct/kWh"),
        ("price_eur_mwh", "EUR/MWh"),
        ("cost_eur", "EUR"),
        ("energy_cost", ""),
        ("gas_price", ""),
        ("kwh_per_100km", "kWh/100km"),
        ("power_per_phase", ""),
        ("readings_per_day", ""),
        ("flow_l_min", "l/min"),
        ("water_flow_l_per_min", "l/min"),
        ("flow_m3_h", "m³/h"),
        ("wind_speed_m_s", "m/s"),
        ("wind_kmh", "km/h"),
        ("rain_mm_h", "mm/h"),
        ("pm25_ug_m3", "µg/m³"),
        ("voc_mg_m3", "mg/m³"),
        ("cycles_per_min", ""),
    ],
)
def test_a_denominator_belongs_to_the_unit(metric, unit):
    check(metric, unit)


@pytest.mark.parametrize(
    ("metric", "unit"),
    [
        ("battery_mV", "mV"),
        ("voltage_mv", "mV"),
        ("current_ma", "mA"),
        ("power_mw", ""),
        ("total_mwh", ""),
        ("BATTERY_MV", ""),
        ("PLANT_MW", ""),
        ("plant_MW", "MW"),
        ("sensor_mW", "mW"),
        ("heat_MJ", "MJ"),
        ("heat_mj", ""),
        ("heat_gj", "GJ"),
        ("energy_uj", "µJ"),
        ("water_l", "l"),
        ("water_L", "l"),
        ("water_liters", "l"),
        ("gas_ft3", "ft³"),
        ("gas_ccf", "CCF"),
        ("gas_therms", "thm"),
        ("water_gal", "gal"),
        ("outdoor_temp_f", "°F"),
        ("tempC", "°C"),
        ("temperature.tF", "°F"),
        ("temperature.tC", "°C"),
        ("Temp (°F)", "°F"),
        ("Leistung (kW)", "kW"),
        ("Energie [MWh]", "MWh"),
        ("Power [units]", ""),
        ("Power (total)", "W"),
        ("Flow (kg/ton)", ""),
        ("G(h)", ""),
        ("Gd(h)", ""),
        ("Sunshine (h)", "h"),
        ("Temp_°X", ""),
        ("energy_watt_hours", "Wh"),
        ("battery_amp_hours", "Ah"),
        ("runtime_hours", "h"),
        ("uptime_seconds", "s"),
        ("total_hours", "h"),
        ("pressure_hpa", "hPa"),
        ("pressure_inhg", "inHg"),
        ("rssi_dbm", "dBm"),
        ("co2_ppm", "ppm"),
        ("co2_kg", "kg"),
        ("co2_saved", ""),
        ("rain_mm", "mm"),
    ],
)
def test_a_unit_in_the_name_wins_and_one_with_two_meanings_is_none(metric, unit):
    check(metric, unit)


@pytest.mark.parametrize(
    ("metric", "unit"),
    [
        ("voltage_l1", "V"),
        ("power_l", "W"),
        ("power_a", "W"),
        ("phase_a", ""),
        ("power_phase_c", "W"),
        ("power_min", "W"),
        ("temperature_min", "°C"),
        ("energy_7_days", "kWh"),
        ("power_15min", "W"),
        ("import_kWh_15min", "kWh"),
        ("ct1_power", "W"),
        ("power_ct", "W"),
        ("current_power", "W"),
        ("current_temperature", "°C"),
        ("temperature_current", ""),
        ("current_month", ""),
        ("current_consumption", ""),
        ("battery_current", "A"),
        ("current_l2", "A"),
        ("gas_resistance", ""),
        ("water_heater", ""),
        ("voltage_thd", ""),
        ("phase_angle", ""),
        ("power_on_time", ""),
    ],
)
def test_words_that_only_look_like_units_are_none(metric, unit):
    check(metric, unit)


@pytest.mark.parametrize(
    ("metric", "unit"),
    [
        # Tasmota
        ("ENERGY.Power", "W"),
        ("ENERGY.ApparentPower", "VA"),
        ("ENERGY.ReactivePower", "var"),
        ("ENERGY.Factor", ""),
        ("ENERGY.Total", "kWh"),
        ("ENERGY.Period", ""),
        ("ENERGY.Voltage", "V"),
        ("AM2301.Humidity", "%"),
        # Shelly
        ("apower", ""),
        ("a_act_power", "W"),
        ("a_aprt_power", "VA"),
        ("total_act_energy", "Wh"),
        ("a_pf", ""),
        # SunSpec
        ("W", "W"),
        ("Hz", "Hz"),
        ("WH", "Wh"),
        ("VAr", "var"),
        ("PF", ""),
        # Victron
        ("Ac/Power", "W"),
        ("Dc/0/Voltage", "V"),
        ("Dc/0/Current", "A"),
        ("Soc", "%"),
        # TP-Link
        ("power_mw", ""),
        ("total_wh", "Wh"),
        # meters by number
        ("1-0:16.7.0*255", ""),
    ],
)
def test_names_of_this_fields_devices(metric, unit):
    found = guess_unit(metric)
    assert found == unit or (found and is_known_unit(found) and found.lower() == unit.lower()), found


@pytest.mark.parametrize(
    ("metric", "kind"),
    [
        ("EUR/kWh{entity_id=tibber}", "gauge"),
        ("price_ct_kwh", "gauge"),
        ("kWh{domain=sensor,entity_id=washer}", "counter"),
        ("Wh{domain=sensor,entity_id=washer_energy}", "counter"),
        ("W{entity_id=energy_now}", "gauge"),
        ("°C{entity_id=kitchen_window}", "gauge"),
        ("heat_MJ", "counter"),
        ("kWh{entity_id=battery_energy_remaining}", "gauge"),
        ("irradiance_w_m2", "gauge"),
        ("l/min{entity_id=water}", "gauge"),
        ("total_cost_eur", "counter"),
        ("runtime_hours", "counter"),
    ],
)
def test_the_kind_fits_the_unit(metric, kind):
    assert guess_kind(metric).kind.name == kind


PIECES = ["kWh", "per", "_", ".", "/", "{", "}", "[", "]", "(", ")", "l", "a", "W", "m2", "°", "€", "ct"]
PIECES += ["entity_id=", ",", "min", "h", "15", "°F", "price", "current", "μg"]


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=12))
def test_a_guessed_unit_is_always_one_that_can_be_converted(parts):
    unit = guess_unit("".join(parts))
    assert unit == "" or is_known_unit(unit)


@pytest.mark.parametrize(
    ("metric", "unit"),
    [
        ("Active energy Wh (A)", "Wh"),
        ("Active energy Wh (B)", "Wh"),
        ("Returned energy kWh (C)", "kWh"),
        ("Current (A)", "A"),
        ("Temperature (C)", "C"),
    ],
)
def test_a_phase_in_brackets_behind_a_unit_is_no_unit(metric, unit):
    check(metric, unit)
