"""Clouds and air temperature: smooth, different from day to day, the same for the same (seed, time)."""

from __future__ import annotations

import numpy as np

from joulebook.simulator.noise import Floats, Ints, smooth, stream
from joulebook.simulator.sun import DAY, Site

_YEAR = 365.2425 * DAY
_WARMEST = 201 * DAY  # 20 July, on the northern hemisphere
_WARMEST_SECOND = 15 * 3600  # of the sun's day: 15:00


class Weather:
    """The sky over one home."""

    def __init__(self, seed: int, place: Site) -> None:
        self._place = place
        self._front = stream(seed, "weather/front")
        self._clouds = tuple(stream(seed, f"weather/cloud/{k}") for k in range(4))
        self._warmth = stream(seed, "weather/warmth")

    def cover(self, seconds: Ints) -> Floats:
        """Return the share of the sky under clouds, 0 to 1.

        Fronts pass in a day or two; a steep curve makes clear and grey days common and mixed ones rarer.
        """
        front = smooth(self._front, seconds, 1.4 * DAY)
        share: Floats = 1.0 / (1.0 + np.exp(-4.0 * (front + 0.05)))
        return share

    def clearness(self, seconds: Ints) -> Floats:
        """Return the share of the direct light passing the clouds, 0.04 to 1.

        Value noise at four scales says how open the sky is at an instant. If it is below a limit, which rises
        with the cover, there is a cloud; the edge of a cloud takes seconds to pass.
        """
        hours, quarters, minutes, gusts = self._clouds
        openness = (
            0.40 * smooth(hours, seconds, 5400.0)
            + 0.34 * smooth(quarters, seconds, 900.0)
            + 0.20 * smooth(minutes, seconds, 140.0)
            + 0.06 * smooth(gusts, seconds, 17.0)
        )
        gap = openness + 0.75 - 1.5 * self.cover(seconds)
        share: Floats = 0.04 + 0.96 / (1.0 + np.exp(-18.0 * gap))
        return share

    def temperature(self, seconds: Ints) -> Floats:
        """Return the air's temperature in °C: season, hour of the sun's day, and days of warm or cold air."""
        latitude = abs(self._place.latitude)
        half_a_year = 0.0 if self._place.latitude >= 0 else _YEAR / 2
        season = np.cos(2 * np.pi * (seconds - _WARMEST - half_a_year) / _YEAR)
        solar = seconds + self._place.longitude * 240.0
        hour = np.cos(2 * np.pi * (solar - _WARMEST_SECOND) / DAY)
        mean = 28.0 - 0.35 * latitude
        swing = 0.17 * latitude
        spell = 4.0 * smooth(self._warmth, seconds, 2.3 * DAY)
        degrees: Floats = mean + swing * season + 3.5 * hour + spell
        return degrees
