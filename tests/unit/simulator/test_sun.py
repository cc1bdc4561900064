"""The sun stands where the almanac says, and a roof gets light accordingly."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from joulebook.simulator.sun import DAY, Roof, Site, clear_sky, sun_vector

BERLIN = Site(52.52, 13.40, "Europe/Berlin")
EQUATOR = Site(0.0, 0.0, "UTC")
SYDNEY = Site(-33.87, 151.21, "Australia/Sydney")


def day_of(text: str) -> np.ndarray:
    start = int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    return np.arange(start, start + DAY, dtype=np.int64)


@pytest.mark.parametrize(
    ("place", "day", "highest"),
    [
        # 90° - latitude + declination (23.44° at the solstices, 0° at the equinox)
        (BERLIN, "2026-06-21", 90 - 52.52 + 23.44),
        (BERLIN, "2026-12-21", 90 - 52.52 - 23.44),
        (BERLIN, "2026-03-20", 90 - 52.52),
        (EQUATOR, "2026-03-20", 90.0),
        (SYDNEY, "2026-12-21", 90 - 33.87 + 23.44),
    ],
)
def test_the_noon_sun_is_as_high_as_latitude_and_season_say(place: Site, day: str, highest: float) -> None:
    assert sun_vector(day_of(day), place).elevation.max() == pytest.approx(highest, abs=0.5)


@pytest.mark.parametrize(
    ("day", "minutes"),
    # The equation of time by the almanac: the sun is early in November, late in February.
    [("2026-11-03", 16.4), ("2026-02-11", -14.2), ("2026-06-13", 0.0)],
)
def test_the_sun_passes_noon_when_the_equation_of_time_says(day: str, minutes: float) -> None:
    seconds = day_of(day)
    highest = int(sun_vector(seconds, EQUATOR).elevation.argmax())
    assert highest == pytest.approx(DAY / 2 - 60 * minutes, abs=60)


def test_a_june_day_in_berlin_lasts_about_sixteen_hours_and_three_quarters() -> None:
    up = sun_vector(day_of("2026-06-21"), BERLIN).up > 0
    assert up.sum() / 3600 == pytest.approx(16.7, abs=0.2)


def test_there_is_no_light_at_night_and_never_more_than_the_sun_sends() -> None:
    for day in ("2026-06-21", "2026-12-21"):
        sun = sun_vector(day_of(day), BERLIN)
        direct, diffuse = clear_sky(sun, Roof(tilt=35.0, azimuth=180.0))
        assert (direct[sun.up <= 0] == 0).all()
        assert (diffuse[sun.up <= 0] == 0).all()
        assert (direct + diffuse).max() < 1361.0
        assert np.isfinite(direct).all()


def test_a_flat_roof_near_the_zenith_gets_what_the_formula_says() -> None:
    sun = sun_vector(day_of("2026-03-20"), EQUATOR)
    direct, diffuse = clear_sky(sun, Roof(tilt=0.0, azimuth=180.0))
    assert direct.max() == pytest.approx(1353 * 0.7, rel=0.01)  # air mass 1
    assert diffuse.max() == pytest.approx(135.3 * 0.7, rel=0.01)


def test_an_east_roof_has_its_best_hour_before_a_west_roof() -> None:
    sun = sun_vector(day_of("2026-06-21"), BERLIN)
    east, _ = clear_sky(sun, Roof(tilt=40.0, azimuth=90.0))
    west, _ = clear_sky(sun, Roof(tilt=40.0, azimuth=270.0))
    assert east.argmax() < west.argmax() - 4 * 3600


def test_the_sun_has_no_jump_at_new_year() -> None:
    start = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp())
    elevation = sun_vector(np.arange(start - 120, start + 120, dtype=np.int64), BERLIN).elevation
    assert np.abs(np.diff(elevation)).max() < 0.02
