"""Makes up files as ugly as loggers write them, together with what they hold: the truth that reading must find."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

SENTINELS = ("-9999", "-999.9", "-9900")
NA_MARKS = ("", "NA", "-", "?", "NaN", "---", "n/a", "NULL")
KEYS = ("Bezug Tag", "Bezug Nacht", "Lieferung", "Gas")
NAMES = (
    "Leistung [kW]", "Zählerstand (kWh)", "Spannung L1", "T_Außen", "Wind m/s", "Humidity", "Pressure [hPa]", "Batt_V",
    "GHI W/m2", "COP", "Total", "E-Today", "Ströme",
)  # fmt: skip
BAD_CELLS = ("ERR", "1.2.3.4", "12x", "over range", "--5", "#DIV/0!")
BAD_TIMES = ("garbage", "31.02.2024 00:00", "0000-00-00", "", "99:99")


@dataclass
class Truth:
    """What a file holds: readings by label and instant, how many cells have none, and what cannot be read."""

    readings: dict[str, dict[int, float]] = field(default_factory=dict)
    na: int = 0
    malformed: list[int] = field(default_factory=list)
    """Line of each malformed cell."""
    rejected: list[int] = field(default_factory=list)
    rows: int = 0


@dataclass
class UglyFile:
    """A file, its truth, and the answers to what it may leave open."""

    data: bytes
    truth: Truth
    tz: str
    recipe: dict[str, object]
    time_format: str
    decimal: str
    sentinel: str


@dataclass(frozen=True)
class Stamp:
    """One way to write times: into one cell or several, and the format that reads it (joined by blanks)."""

    name: str
    format: str
    write: Callable[[datetime], tuple[str, ...]]
    finest: int = 1
    carries_offset: bool = False
    coarsest: int = 86_400


def _clock12(moment: datetime) -> str:
    return f"{(moment.hour + 11) % 12 + 1:02d}:{moment:%M:%S} {'AM' if moment.hour < 12 else 'PM'}"


def _offset(moment: datetime) -> str:
    return f"{moment:%z}"[:3] + ":" + f"{moment:%z}"[3:5]


STAMPS = (
    Stamp("iso", "%Y-%m-%d %H:%M:%S", lambda t: (f"{t:%Y-%m-%d %H:%M:%S}",)),
    Stamp("iso T", "%Y-%m-%dT%H:%M:%S", lambda t: (f"{t:%Y-%m-%dT%H:%M:%S}",)),
    Stamp("iso offset", "%Y-%m-%dT%H:%M:%S%z", lambda t: (f"{t:%Y-%m-%dT%H:%M:%S}{_offset(t)}",), carries_offset=True),
    Stamp("iso Z", "%Y-%m-%dT%H:%M:%S%z", lambda t: (f"{t.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",), carries_offset=True),
    Stamp("german", "%d.%m.%Y %H:%M", lambda t: (f"{t:%d.%m.%Y %H:%M}",), 60),
    Stamp("german two cells", "%d.%m.%Y %H:%M:%S", lambda t: (f"{t:%d.%m.%Y}", f"{t:%H:%M:%S}")),
    Stamp("german short", "%d.%m.%y %H:%M", lambda t: (f"{t:%d.%m.%y %H:%M}",), 60),
    Stamp("day first", "%d/%m/%Y %H:%M:%S", lambda t: (f"{t:%d/%m/%Y %H:%M:%S}",)),
    Stamp("month first", "%m/%d/%Y %H:%M", lambda t: (f"{t.month}/{t.day}/{t:%Y %H:%M}",), 60),
    Stamp("half days", "%m/%d/%Y %I:%M:%S %p", lambda t: (f"{t:%m/%d/%Y} {_clock12(t)}",)),
    Stamp("half days two cells", "%m/%d/%Y %I:%M:%S %p", lambda t: (f"{t:%m/%d/%Y}", _clock12(t))),
    Stamp("slashes", "%Y/%m/%d %H:%M", lambda t: (f"{t:%Y/%m/%d %H:%M}",), 60),
    Stamp("month name", "%d-%b-%Y %H:%M", lambda t: (f"{t:%d-%b-%Y %H:%M}",), 60),
    Stamp("packed", "%Y%m%d %H%M", lambda t: (f"{t:%Y%m%d %H%M}",), 60),
    Stamp("epoch", "%s", lambda t: (str(int(t.timestamp())),), carries_offset=True),
    Stamp("epoch ms", "%Q", lambda t: (str(int(t.timestamp()) * 1000),), carries_offset=True),
    Stamp("parts", "%Y %m %d %H %M", lambda t: (str(t.year), str(t.month), str(t.day), str(t.hour), str(t.minute)), 60,
          coarsest=3600),
    Stamp("hour beside", "%d.%m.%Y %H%D", lambda t: (f"{t:%d.%m.%Y}", str(t.hour)), 3600, coarsest=3600),
    Stamp("range", "%d.%m.%Y %H:%M - %*", lambda t: (f"{t:%d.%m.%Y %H:%M} - {t + timedelta(hours=1):%d.%m.%Y %H:%M}",), 60),
    Stamp("weekday", "%a, %d.%m.%Y %H:%M", lambda t: (f"{('Mo', 'Di', 'Mi', 'Do', 'Fr', 'Sa', 'So')[t.weekday()]}, {t:%d.%m.%Y %H:%M}",), 60),
)  # fmt: skip
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Melbourne")


def make_ugly_file(seed: int) -> UglyFile:
    """Return the file of a seed; the same seed makes the same file."""
    return _Maker(random.Random(seed)).make()


class _Maker:
    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.truth = Truth()
        self.lines: list[str] = []
        self.layout = dice.choices(("wide", "long", "across"), (7, 2, 1))[0]
        self.tz = dice.choice(ZONES)
        self.zone: tzinfo = UTC if self.tz == "UTC" else ZoneInfo(self.tz)
        self.delimiter = dice.choice((",", ";", ";", "\t", "|", "blanks", "widths"))
        self.is_plain = self.delimiter in ("blanks", "widths")
        self.step = dice.choice((60, 300, 900, 3600, 3600))
        stamps = [s for s in STAMPS if s.finest <= self.step <= s.coarsest and self._fits(s)]
        self.stamp = dice.choice(stamps)
        self.decimal = dice.choice((".", ","))
        self.thousands = (
            ""
            if dice.random() < 0.7 or self.is_plain
            else dice.choice([mark for mark in (".", ",", "'", " ") if mark != self.decimal])
        )
        self.sentinel = dice.choice(SENTINELS) if dice.random() < 0.2 and self.layout == "wide" else ""
        self.na_marks = [m for m in dice.sample(NA_MARKS, 2) if m or not self.is_plain] or ["NA"]
        self.affix = (
            dice.choice(("$", "€", " kWh", " %")) if dice.random() < 0.08 and not self.is_plain else ""
        )
        self.quotes_all = dice.random() < 0.1 and not self.is_plain
        self.has_faults = dice.random() < 0.6
        self.has_header = dice.random() < 0.85 or self.layout == "across"
        self.is_formula = dice.random() < 0.05 and not self.is_plain
        self.places = dice.choice((0, 1, 2, 3))

    def _fits(self, stamp: Stamp) -> bool:
        if self.layout == "across":
            return stamp.name in ("iso", "german", "slashes", "month name", "day first", "month first")
        if self.tz == "Asia/Kolkata" and stamp.finest == 3600:
            return False
        if self.delimiter == "blanks":
            return stamp.name not in ("weekday", "range")  # Their blanks cannot be told from those between.
        return True

    def make(self) -> UglyFile:
        names = self.dice.sample(NAMES, self.dice.randint(1, 6))
        if self.is_plain:
            names = [name.replace(" ", "_") for name in names]
        self._preamble(len(names))
        if self.layout == "across":
            self._across()
        elif self.layout == "long":
            self._long()
        else:
            self._wide(names)
        self._footer()
        encoding = self.dice.choice(("utf-8", "utf-8", "utf-8-sig", "cp1252", "utf-16"))
        ending = self.dice.choice(("\n", "\r\n"))
        text = ending.join(self._aligned(self.lines))
        if self.dice.random() < 0.8:
            text += ending
        recipe = {
            name: getattr(self, name)
            for name in ("layout", "tz", "delimiter", "step", "decimal", "thousands", "sentinel", "na_marks", "affix",
                         "quotes_all", "has_faults", "has_header", "is_formula", "places")
        }  # fmt: skip
        recipe |= {"stamp": self.stamp.name, "encoding": encoding}
        return UglyFile(
            text.encode(encoding), self.truth, self.tz, recipe, self.stamp.format, self.decimal, self.sentinel
        )

    def _preamble(self, width: int) -> None:
        kind = self.dice.random()
        if self.delimiter == ";" and kind < 0.05:
            self.lines.append("sep=;")
        elif kind < 0.3 and self.has_header and not self.is_plain:
            for _ in range(self.dice.randint(1, 4)):
                self.lines.append(
                    self.dice.choice(("Station Nord", "Serial: 4711", "", "Export 2024", "Site;Roof"))
                )
        elif kind < 0.4:
            self.lines.append("# written by logger 7")

    def _row(self, cells: list[str]) -> None:
        if self.delimiter == "blanks":
            self.lines.append(
                " " * self.dice.randint(0, 2)
                + "".join(c + " " * self.dice.randint(1, 4) for c in cells[:-1])
                + cells[-1]
            )
        elif self.delimiter == "widths":
            self.lines.append("\x00".join(cells))
        else:
            self.lines.append(self.delimiter.join(self._quoted(cell) for cell in cells))

    def _aligned(self, lines: list[str]) -> list[str]:
        """Return lines of fixed widths: each column as wide as its widest cell, to the right."""
        rows = [line.split("\x00") for line in lines]
        width: dict[int, int] = {}
        for row in rows:
            if len(row) > 1:
                for at, cell in enumerate(row):
                    width[at] = max(width.get(at, 0), len(cell) + 2)
        return [
            "".join(cell.rjust(width[at]) for at, cell in enumerate(row)) if len(row) > 1 else row[0]
            for row in rows
        ]

    def _quoted(self, cell: str) -> str:
        if self.is_formula and cell and self.dice.random() < 0.3 and self.delimiter not in cell:
            return f'="{cell}"'
        if self.quotes_all or self.delimiter in cell:
            return f'"{cell}"'
        return cell

    def _moments(self) -> Iterator[datetime]:
        """Yield aware local times, one step after the other; sometimes over a change of the clocks."""
        count = self.dice.randint(40, 300)
        begin = datetime(
            2024, self.dice.randint(1, 12), self.dice.randint(1, 28), self.dice.randint(0, 23), tzinfo=UTC
        )
        if self.dice.random() < 0.25 and self.layout != "across":
            begin = self.dice.choice((datetime(2024, 10, 26, 22, tzinfo=UTC), datetime(2024, 11, 2, 22, tzinfo=UTC),
                                      datetime(2024, 3, 30, 22, tzinfo=UTC)))  # fmt: skip
        times = [begin + timedelta(seconds=self.step * n) for n in range(count)]
        if self.dice.random() < 0.1:
            times.reverse()
        for moment in times:
            yield moment.astimezone(self.zone)

    def _number(self, column: int, row: int) -> tuple[str, float]:
        base = (10.0 ** (column % 5)) * (1 + 0.3 * self.dice.random()) + row * 0.01
        value = round(base if self.dice.random() < 0.8 or column == 0 else -base, self.places + (column == 0))
        places = self.places + (column == 0)
        text = (
            f"{abs(value):,.{places}f}".replace(",", "\x01")
            .replace(".", self.decimal)
            .replace("\x01", self.thousands)
        )
        sign = "-" if value < 0 else ""
        shown = f"{sign}{text}"
        if self.affix and column == 0:
            shown = f"{self.affix}{shown}" if self.affix in "$€" else f"{shown}{self.affix}"
        return shown, float(f"{value:.{places}f}")

    def _cell(self, label: str, column: int, row: int, time: int) -> str:
        chance = self.dice.random()
        self.truth.readings.setdefault(label, {})
        if chance < 0.05:
            self.truth.na += 1
            return self.dice.choice(self.na_marks)
        if chance < 0.1 and self.sentinel and column == 1:
            self.truth.na += 1
            return self.sentinel.replace(".", self.decimal)
        if chance > 0.99 and self.has_faults and not self.is_plain:
            self.truth.malformed.append(len(self.lines) + 1)
            return self.dice.choice(BAD_CELLS)
        text, value = self._number(column, row)
        self.truth.readings[label][time] = value
        return text

    def _fault(self, width: int) -> None:
        """Sometimes write something between the rows that is none."""
        if not self.has_faults or self.dice.random() > 0.02:
            return
        kind = self.dice.choice(("time", "blank", "cells", "text"))
        if kind == "blank":
            self.lines.append("")
        elif kind == "cells" and not self.is_plain:
            self.truth.rejected.append(len(self.lines) + 1)
            self.lines.append(self.delimiter.join(["7"] * (width + 3)))
        elif kind == "time" and not self.is_plain:
            self.truth.rejected.append(len(self.lines) + 1)
            count = len(self.stamp.write(datetime(2024, 1, 1, tzinfo=UTC)))
            time = [self.dice.choice(BAD_TIMES)] * count
            cells = [*time, *["1"] * (width - count)]
            if not any(time) and len(cells) == len(time):
                cells.append("1")
            self.lines.append(self.delimiter.join(cells))
        elif kind == "text":
            self.truth.rejected.append(len(self.lines) + 1)
            self.lines.append("Verbindung")

    def _footer(self) -> None:
        if self.dice.random() < 0.2 and not self.is_plain:
            if self.dice.random() < 0.5:
                self.lines.append("")
            self.truth.rejected.append(len(self.lines) + 1)
            self.lines.append(self.dice.choice(("Summe", f"Total{self.delimiter}12", "End of file")))

    def _time_names(self) -> list[str]:
        count = len(self.stamp.write(datetime(2024, 1, 1, tzinfo=UTC)))
        if count == 1:
            return ["Zeitstempel"]
        return ["Datum", "Uhrzeit"] if count == 2 else ["Year", "Month", "Day", "Hour", "Minute"]

    def _wide(self, names: list[str]) -> None:
        header = [*self._time_names(), *names]
        if self.has_header:
            self._row(header)
            if self.dice.random() < 0.15 and not self.is_plain:
                self._row([*["" for _ in self._time_names()], *["kW" for _ in names]])
        for row, moment in enumerate(self._moments()):
            if row > 3:
                self._fault(len(header))
            time = int(moment.timestamp()) * 1_000_000
            labels = names if self.has_header else [f"#{at}" for at in range(len(names))]
            cells = [self._cell(label, at, row, time) for at, label in enumerate(labels)]
            self._row([*self.stamp.write(moment), *cells])
            self.truth.rows += 1

    def _long(self) -> None:
        keys = self.dice.sample(KEYS, self.dice.randint(2, 4))
        if self.is_plain:
            keys = [key.replace(" ", "_") for key in keys]
        has_unit = self.dice.random() < 0.5
        if self.has_header:
            self._row([*self._time_names(), "Register", "Wert", *(["Einheit"] if has_unit else [])])
        moments = list(self._moments())
        if self.dice.random() < 0.5:
            order = [(row, moment, key) for key in keys for row, moment in enumerate(moments)]
        else:
            order = [(row, moment, key) for row, moment in enumerate(moments) for key in keys]
        for row, moment, key in order:
            time = int(moment.timestamp()) * 1_000_000
            cell = self._cell(key, keys.index(key), row, time)
            self._row([*self.stamp.write(moment), key, cell, *(["kWh"] if has_unit else [])])
            self.truth.rows += 1

    def _across(self) -> None:
        self.stamp = next(stamp for stamp in STAMPS if stamp.name == self.stamp.name)
        day_format = self.stamp.format.split(" ")[0]
        self.stamp = Stamp(self.stamp.name, day_format, lambda t: (t.strftime(day_format),))
        style = self.dice.choice(("clock", "number", "word"))
        labels = {
            "clock": [f"{hour:02d}:00" for hour in range(24)],
            "number": [str(hour) for hour in range(1, 25)],
            "word": [f"H{hour:02d}" for hour in range(1, 25)],
        }[style]
        keys = self.dice.sample(KEYS, 2) if self.dice.random() < 0.4 else [""]
        if self.is_plain:
            keys = [key.replace(" ", "_") for key in keys]
        self._row(["Datum", *(["Register"] if keys[0] else []), *labels])
        first = datetime(2024, self.dice.randint(5, 7), self.dice.randint(1, 28))
        for row in range(self.dice.randint(20, 60)):
            day = first + timedelta(days=row)
            for key in keys:
                cells = []
                for hour in range(24):
                    moment = (day + timedelta(hours=hour)).replace(tzinfo=self.zone)
                    cells.append(self._cell(key, hour % 3, row, int(moment.timestamp()) * 1_000_000))
                self._row([*self.stamp.write(day), *([key] if key else []), *cells])
                self.truth.rows += 1
