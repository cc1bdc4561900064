"""Built-in profiles: settings documented by makers of loggers and publishers of data.

The files themselves leave these settings open. Each profile is a set of settings on top of the guess: it
also fits files of the same kind with other columns.
"""

from __future__ import annotations

from dataclasses import dataclass

from joulebook.telemetry.files.errors import UnusableProfile
from joulebook.telemetry.files.profile import DEFAULT_NA_VALUES
from joulebook.telemetry.files.settings import Given, Target


@dataclass(frozen=True)
class BuiltinProfile:
    """A built-in profile: its name, the files it is for, and its settings."""

    name: str
    about: str
    given: Given


_SURFRAD = [
    "dw_solar",
    "uw_solar",
    "direct_n",
    "diffuse",
    "dw_ir",
    "dw_casetemp",
    "dw_dometemp",
    "uw_ir",
    "uw_casetemp",
    "uw_dometemp",
    "uvb",
    "par",
    "netsolar",
    "netir",
    "totalnet",
    "temp",
    "rh",
    "windspd",
    "winddir",
    "pressure",
]
_SURFRAD_UNITS = dict.fromkeys([*_SURFRAD[:5], "uw_ir", "par", "netsolar", "netir", "totalnet"], "W/m²") | {
    "dw_casetemp": "K", "dw_dometemp": "K", "uw_casetemp": "K", "uw_dometemp": "K", "uvb": "mW/m²",
    "temp": "°C",
    "rh": "%", "windspd": "m/s", "winddir": "°", "pressure": "mbar",
}  # fmt: skip


_SURFRAD_MAPPING: dict[str, Target | None] = {
    "column_2": None,
    "column_7": None,
    "column_8": Target("zen", "°"),
    **{
        f"column_{9 + 2 * at + is_qc}": Target(f"{name}_qc") if is_qc else Target(name, _SURFRAD_UNITS[name])
        for at, name in enumerate(_SURFRAD)
        for is_qc in (False, True)
    },
}
_ALL = (
    BuiltinProfile(
        "hobo-ymd",
        "HOBOware exports whose dates are written year first, with two digits (24.06.30 23:15:00)",
        Given(time_formats=("%y.%m.%d %H:%M:%S", "%y/%m/%d %H:%M:%S", "%y-%m-%d %H:%M:%S")),
    ),
    BuiltinProfile(
        "hobo-us",
        "HOBOware exports in its American form (06/30/24 11:15:00 PM)",
        Given(time_formats=("%m/%d/%y %I:%M:%S %p", "%m/%d/%y %H:%M:%S")),
    ),
    BuiltinProfile(
        "tomst-tms",
        "TOMST TMS loggers (data_…_0.csv, no header, times in UTC, -200 where a sensor failed)",
        Given(
            delimiter=";",
            header_line=0,
            time_columns=("column_2",),
            time_formats=("%Y.%m.%d %H:%M", "%Y.%m.%d %H:%M:%S", "%d.%m.%Y %H:%M:%S"),
            tz="UTC",
            na_values=(*DEFAULT_NA_VALUES, "-200"),
            mapping={
                "column_1": None,
                "column_3": None,
                "column_4": Target("T1", "°C"),
                "column_5": Target("T2", "°C"),
                "column_6": Target("T3", "°C"),
                "column_7": Target("moisture"),
                "column_8": Target("shake"),
                "column_9": Target("err"),
            },
        ),
    ),
    BuiltinProfile(
        "surfrad",
        "NOAA SURFRAD and SOLRAD daily files (.dat, no header, UTC, -9999.9 for none)",
        Given(
            delimiter="blanks",
            header_line=0,
            time_columns=("column_1", "column_3", "column_4", "column_5", "column_6"),
            time_formats=("%Y %m %d %H %M",),
            tz="UTC",
            na_values=(*DEFAULT_NA_VALUES, "-9999.9"),
            mapping=_SURFRAD_MAPPING,
        ),
    ),
    BuiltinProfile(
        "tmy3",
        "NREL TMY3 typical years (hours from 01:00 to 24:00 that end their interval, -9900 for none)",
        Given(
            header_line=2,
            time_columns=("Date (MM/DD/YYYY)", "Time (HH:MM)"),
            time_formats=("%m/%d/%Y %H:%M",),
            time_marks="end",
            na_values=(*DEFAULT_NA_VALUES, "-9900"),
        ),
    ),
    BuiltinProfile(
        "day-first",
        "files whose dates are written day first (03/04/2026 is the 3rd of April)",
        Given(
            time_formats=tuple(
                f"%d/%m/%Y {clock}".strip()
                for clock in ("%H:%M:%S", "%H:%M", "%H:%M:%S%z", "%I:%M:%S %p", "%I:%M %p", "")
            )
        ),
    ),
    BuiltinProfile(
        "month-first",
        "files whose dates are written month first (03/04/2026 is the 4th of March)",
        Given(
            time_formats=tuple(
                f"%m/%d/%Y {clock}".strip()
                for clock in ("%H:%M:%S", "%H:%M", "%H:%M:%S%z", "%I:%M:%S %p", "%I:%M %p", "")
            )
        ),
    ),
)
BUILTIN = {profile.name: profile for profile in _ALL}
"""The built-in profiles by name."""


def find_builtin(name: str) -> BuiltinProfile:
    """Return a built-in profile; raises `UnusableProfile` with a list of all."""
    if name not in BUILTIN:
        raise UnusableProfile(
            f"there is no profile {name!r}, and no file of that name; built in are {', '.join(BUILTIN)}"
        )
    return BUILTIN[name]
