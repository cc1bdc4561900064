"""One home in blocks of a quarter of an hour: sun, load, battery and grid add up in each second."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from joulebook.simulator.appliances import Household
from joulebook.simulator.battery import MINUTE, Battery
from joulebook.simulator.clock import BLOCK
from joulebook.simulator.noise import Floats, Ints, grain, pick, smooth, stream
from joulebook.simulator.sun import DAY, Roof, Site, clear_sky, sun_vector
from joulebook.simulator.weather import Weather
from joulebook.time_zones import ZoneInfo

_LAG = 2  # seconds until the battery's inverter follows a change of the load
_NIGHT_CHARGE = 2_200.0  # W from the grid in the cheap hours of the night
_REST = 20.0  # W: an inverter's ripple is no charging
_CHEAP_HOURS = (2, 5)  # by the clock on the wall


@dataclass(frozen=True)
class HomeState:
    """The state at a block's start: the block's number, and energies in Wh."""

    block: int
    stored: float
    produced: float
    imported: float
    exported: float


@dataclass(frozen=True)
class HomeBlock:
    """A home's values in [start, start + BLOCK), one a second.

    Powers in W: `load` ≥ 0, `solar` ≥ 0, `battery` (positive: gives), `grid` (positive: bought), and
    grid = load - solar - battery. `stored` and the counters in kWh at the end of each second, `soc` in
    percent, `voltage` of the grid and `battery_voltage` in V, `frequency` in Hz, `temperature` of the
    inverter in °C.
    """

    start: int
    load: Floats
    solar: Floats
    battery: Floats
    grid: Floats
    soc: Floats
    battery_voltage: Floats
    produced: Floats
    imported: Floats
    exported: Floats
    voltage: Floats
    frequency: Floats
    temperature: Floats

    @property
    def battery_state(self) -> Floats:
        """The battery's mode: 0 rests, 1 charges, 2 gives."""
        gives = np.where(self.battery > _REST, 2.0, 0.0)
        return np.where(self.battery < -_REST, 1.0, gives)


class Home:
    """A home; its seed and its place determine all its values."""

    def __init__(self, seed: int, place: Site | None = None) -> None:
        self.seed = seed
        self.place = place or Site()
        size = stream(seed, "home/size")
        self._roof = Roof(
            tilt=25.0 + 20.0 * pick(size, 0),
            azimuth=(180.0 if self.place.latitude >= 0 else 0.0) + 50.0 * (pick(size, 1) - 0.5),
        )
        self._peak = 6_000.0 + 4_000.0 * pick(size, 2)
        self._battery = Battery(capacity=7_500.0 + 6_000.0 * pick(size, 3))
        self._household = Household(seed)
        self._weather = Weather(seed, self.place)
        self._zone = ZoneInfo(self.place.time_zone)
        self._streams = {
            name: stream(seed, name)
            for name in (
                "control",
                "ripple",
                "night",
                "volts/slow",
                "volts/fast",
                "volts/grain",
                "hertz/grain",
            )
        }
        # The frequency is the same in the whole grid, so every home sees the same one.
        self._grid_streams = {name: stream(0, name) for name in ("hertz/slow", "hertz/fast")}

    def begin(self, time: int) -> HomeState:
        """Return a first state of the home, for the block of `time` (seconds since 1970 UTC)."""
        start = stream(self.seed, "home/begin")
        return HomeState(
            block=time // BLOCK,
            stored=self._battery.capacity * (0.3 + 0.4 * pick(start, 0)),
            produced=1e6 * (2.0 + 12.0 * pick(start, 1)),
            imported=1e6 * (1.0 + 6.0 * pick(start, 2)),
            exported=1e6 * (1.0 + 7.0 * pick(start, 3)),
        )

    def advance(self, state: HomeState) -> tuple[HomeBlock, HomeState]:
        """Return the block beginning with `state`, and the state of the block after it."""
        start = state.block * BLOCK
        # The clock on the wall is this many seconds ahead of UTC.
        shift = datetime.fromtimestamp(start, UTC).astimezone(self._zone).utcoffset()
        offset = int(shift.total_seconds()) if shift is not None else 0
        with_lead = np.arange(start - _LAG, start + BLOCK, dtype=np.int64)
        load_ahead = np.round(self._household.load(with_lead, with_lead + offset), 1)
        solar_ahead, irradiance = self._solar(with_lead)
        seconds, load, solar = with_lead[_LAG:], load_ahead[_LAG:], solar_ahead[_LAG:]
        wanted, floor = self._control(seconds, load_ahead[:-_LAG] - solar_ahead[:-_LAG], offset, state)
        ripple = 4.0 * grain(self._streams["ripple"], seconds)
        battery, stored = self._battery.run(wanted, state.stored, floor=floor, ripple=ripple)
        grid = np.round(load - solar - battery, 1)
        produced = state.produced + np.cumsum(solar) / 3600.0
        imported = state.imported + np.cumsum(np.maximum(grid, 0.0)) / 3600.0
        exported = state.exported + np.cumsum(np.maximum(-grid, 0.0)) / 3600.0
        share = stored / self._battery.capacity
        block = HomeBlock(
            start=start,
            load=load,
            solar=solar,
            battery=battery,
            grid=grid,
            soc=np.round(100.0 * share, 1),
            battery_voltage=np.round(self._battery.voltage(share, battery), 2),
            produced=np.round(produced / 1000.0, 3),
            imported=np.round(imported / 1000.0, 3),
            exported=np.round(exported / 1000.0, 3),
            voltage=self._voltage(seconds, grid),
            frequency=self._frequency(seconds),
            temperature=np.round(self._weather.temperature(seconds) + 6.0 + 0.026 * irradiance[_LAG:], 1),
        )
        after = HomeState(
            block=state.block + 1,
            stored=float(stored[-1]),
            produced=float(produced[-1]),
            imported=float(imported[-1]),
            exported=float(exported[-1]),
        )
        return block, after

    def seek(self, state: HomeState, time: int) -> HomeState:
        """Return the state of the block of `time`, by simulating all blocks before it.

        `time` is in seconds since 1970 UTC and not before the block of `state`; `ValueError` otherwise.
        """
        if time // BLOCK < state.block:
            raise ValueError(f"time {time} lies before block {state.block} of the state")
        while state.block < time // BLOCK:
            _, state = self.advance(state)
        return state

    def _solar(self, seconds: Ints) -> tuple[Floats, Floats]:
        """Return the inverter's power in W, 0 while the sun is down, and the irradiance in W/m²."""
        direct, diffuse = clear_sky(sun_vector(seconds, self.place), self._roof)
        if not diffuse.any():
            return np.zeros(len(seconds)), np.zeros(len(seconds))
        clear = self._weather.clearness(seconds)
        irradiance = direct * clear + diffuse * (0.9 + 1.3 * clear * (1.0 - clear) * 4.0)
        cell = self._weather.temperature(seconds) + 0.03 * irradiance
        power: Floats = self._peak * irradiance / 1000.0 * (1.0 - 0.0035 * (cell - 25.0)) * 0.86
        np.round(np.clip(power, 0.0, 0.9 * self._peak, out=power), 1, out=power)
        return power, irradiance

    def _control(
        self, seconds: Ints, residual: Floats, offset: int, state: HomeState
    ) -> tuple[Floats, Floats]:
        """Return the power wanted from the battery (W, one a second) and its floor (share, one a minute).

        It cancels the residual load of a moment ago, a few watts off. In the cheap hours of a night before
        a day with little sun it fills up from the grid instead, and keeps its charge.
        """
        error = 9.0 * grain(self._streams["control"], seconds)
        wall = int(seconds[0]) + offset
        floor = np.zeros(BLOCK // MINUTE)
        if not _CHEAP_HOURS[0] <= wall % DAY // 3600 < _CHEAP_HOURS[1]:
            return residual + error, floor
        # The higher the noon sun will be, the less full the battery shall be in the morning.
        noon = wall // DAY * DAY + DAY // 2 - int(self.place.longitude * 240)
        height = float(sun_vector(np.array([noon], dtype=np.int64), self.place).up[0])
        mood = 0.15 * pick(self._streams["night"], wall // DAY)
        target = float(np.clip(0.82 - 0.95 * height + mood, 0.1, 0.9))
        if state.stored < target * self._battery.capacity:
            return -_NIGHT_CHARGE + error, floor
        return residual + error, floor + target

    def _voltage(self, seconds: Ints, grid: Floats) -> Floats:
        """Return the voltage at the meter: 230 V, wandering, lower while the home buys."""
        volts = (
            230.4
            + 2.6 * smooth(self._streams["volts/slow"], seconds, 7200.0)
            + 0.9 * smooth(self._streams["volts/fast"], seconds, 45.0)
            + 0.15 * grain(self._streams["volts/grain"], seconds)
            - 0.00085 * grid
        )
        return np.round(volts, 1)

    def _frequency(self, seconds: Ints) -> Floats:
        """Return the grid's frequency: 50 Hz, wandering slowly, and stirred at each full hour.

        Continental Europe shows a kick at full hours, where power stations change over with the market's
        contracts; here it fades in three minutes.
        """
        since = (seconds + 1800) % 3600 - 1800
        kick = 0.03 * np.where(since < 0, np.exp(since / 60.0), np.exp(-since / 180.0))
        sign = np.where((seconds + 1800) // 3600 % 24 < 14, 1.0, -1.0)
        hertz = (
            50.0
            + 0.026 * smooth(self._grid_streams["hertz/slow"], seconds, 480.0)
            + 0.011 * smooth(self._grid_streams["hertz/fast"], seconds, 35.0)
            + 0.0015 * grain(self._streams["hertz/grain"], seconds)
            - kick * sign
        )
        return np.round(hertz, 3)


def stand_still(state: HomeState, time: int) -> HomeState:
    """Return `state` for the block of `time`, as if the home had been switched off in between."""
    return replace(state, block=max(state.block, time // BLOCK))
