"""The sun's position, and the irradiance of a tilted roof under a cloudless sky."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulebook.simulator.noise import Floats, Ints

DAY = 86_400


@dataclass(frozen=True)
class Site:
    """A point on the earth, in degrees (north and east positive), and the zone of the clock on its wall."""

    latitude: float = 52.52
    longitude: float = 13.40
    time_zone: str = "Europe/Berlin"


@dataclass(frozen=True)
class SunVector:
    """Unit vectors from the ground to the sun, one component an array."""

    east: Floats
    north: Floats
    up: Floats

    @property
    def elevation(self) -> Floats:
        """Height above the horizon in degrees, without refraction."""
        return np.degrees(np.arcsin(np.clip(self.up, -1.0, 1.0)))


def sun_vector(seconds: Ints, place: Site) -> SunVector:
    """Return the direction of the sun at `seconds` since 1970 UTC.

    Formula: NOAA Global Monitoring Division, "General Solar Position Calculations" (declination and
    equation of time as Fourier series of the day of the year, after Spencer 1971); good to about a
    quarter of a degree.
    """
    days = seconds.astype("datetime64[s]").astype("datetime64[D]")
    day_of_year = (days - days.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.float64)
    hour = (seconds % DAY) / 3600.0
    gamma = 2.0 * np.pi / 365.0 * (day_of_year + (hour - 12.0) / 24.0)
    declination = (
        0.006918
        - 0.399912 * np.cos(gamma)
        + 0.070257 * np.sin(gamma)
        - 0.006758 * np.cos(2 * gamma)
        + 0.000907 * np.sin(2 * gamma)
        - 0.002697 * np.cos(3 * gamma)
        + 0.00148 * np.sin(3 * gamma)
    )
    minutes_ahead = 229.18 * (
        0.000075
        + 0.001868 * np.cos(gamma)
        - 0.032077 * np.sin(gamma)
        - 0.014615 * np.cos(2 * gamma)
        - 0.040849 * np.sin(2 * gamma)
    )
    solar_minutes = hour * 60.0 + minutes_ahead + 4.0 * place.longitude
    hour_angle = np.radians(solar_minutes / 4.0 - 180.0)
    latitude = np.radians(place.latitude)
    return SunVector(
        east=-np.cos(declination) * np.sin(hour_angle),
        north=np.cos(latitude) * np.sin(declination)
        - np.sin(latitude) * np.cos(declination) * np.cos(hour_angle),
        up=np.sin(latitude) * np.sin(declination)
        + np.cos(latitude) * np.cos(declination) * np.cos(hour_angle),
    )


@dataclass(frozen=True)
class Roof:
    """How the panels lie: degrees from the horizontal, and degrees clockwise from north."""

    tilt: float
    azimuth: float


def clear_sky(sun: SunVector, roof: Roof) -> tuple[Floats, Floats]:
    """Return (direct, diffuse) irradiance on the roof in W/m² under a cloudless sky; 0 at night.

    Direct light: 1353 · 0.7^(AM^0.678) (Meinel and Meinel, "Applied Solar Energy", 1976) with the air
    mass AM after Kasten and Young (1989). Diffuse light: a tenth of the direct.
    """
    elevation = np.maximum(sun.elevation, 0.0)
    air_mass = 1.0 / (np.maximum(sun.up, 0.0) + 0.50572 * (elevation + 6.07995) ** -1.6364)
    beam = np.where(sun.up > 0.0, 1353.0 * 0.7 ** (air_mass**0.678), 0.0)
    tilt, azimuth = np.radians(roof.tilt), np.radians(roof.azimuth)
    facing = (
        sun.east * (np.sin(tilt) * np.sin(azimuth))
        + sun.north * (np.sin(tilt) * np.cos(azimuth))
        + sun.up * np.cos(tilt)
    )
    return beam * np.maximum(facing, 0.0), 0.1 * beam
