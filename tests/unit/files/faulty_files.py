"""Makes up files with the faults of real exports, alone and together, and what they hold: the truth."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

Readings = dict[int, float]
"""Values by instant, in microseconds since 1970 UTC."""


@dataclass
class Series:
    """The readings of one metric, and its unit, None where the file does not say it."""

    unit: str | None
    readings: Readings


@dataclass
class FaultyFile:
    """A file, its name, its truth, the zone of its device, and the names of its faults."""

    data: bytes
    name: str
    tz: str
    truth: list[Series]
    faults: tuple[str, ...]


@dataclass
class Column:
    """A column: its name, its cells, and for a metric its unit and values."""

    name: str
    cells: list[str]
    unit: str | None = None
    values: list[float | None] = field(default_factory=list)


@dataclass
class Table:
    """A file in the making: columns of times, other columns, and lines around them."""

    dice: random.Random
    zone: tzinfo
    tz: str
    moments: list[datetime]
    delimiter: str
    decimal: str
    times: list[Column] = field(default_factory=list)
    before: list[Column] = field(default_factory=list)
    metrics: list[Column] = field(default_factory=list)
    after: list[Column] = field(default_factory=list)
    above: list[str] = field(default_factory=list)
    units_row: bool = False
    closing_delimiter: bool = False
    footer: list[str] = field(default_factory=list)
    instants: list[int] = field(default_factory=list)
    name: str = "export.csv"
    has_unit_in_name: bool = False

    def local(self) -> list[datetime]:
        """Return the moments on the clock of the file's zone."""
        return [moment.astimezone(self.zone) for moment in self.moments]

    def number(self, value: float, places: int = 2) -> str:
        return f"{value:.{places}f}".replace(".", self.decimal)


def microseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000


def make_faulty_file(seed: int) -> FaultyFile:
    """Return the file of a seed; the same seed makes the same file."""
    dice = random.Random(seed)
    whole = list(WHOLE_FILES)
    if dice.random() < 0.35:
        name = dice.choice(whole)
        return WHOLE_FILES[name](dice, name)
    time_name = dice.choice(list(TIMES))
    table = begin(dice, over_autumn=time_name in OVER_AUTUMN, seconds=TIMES_STEP.get(time_name))
    TIMES[time_name](table)
    faults = [time_name]
    for name in dice.sample(list(COLUMNS), dice.choice((0, 1, 1, 2))):
        if not (set(EXCLUDES.get(name, ())) & set(faults)):
            faults.append(name)
            COLUMNS[name](table)
    if dice.random() < 0.4:
        name = dice.choice(list(ROWS))
        if not (set(EXCLUDES.get(name, ())) & set(faults)):
            faults.append(name)
            ROWS[name](table)
    return write(table, tuple(faults))


def begin(dice: random.Random, *, over_autumn: bool = False, seconds: int | None = None) -> Table:
    """Return a plain table of one to three metrics over a day or two, perhaps over the autumn hour."""
    step = seconds or dice.choice((300, 900, 1800, 3600))
    tz = "Europe/Berlin"
    count = dice.randint(90, 140) if step < 3600 else dice.randint(40, 60)
    first = datetime(2025, dice.randint(1, 12), dice.randint(1, 27), tzinfo=UTC)
    zone = ZoneInfo(tz)
    if over_autumn:
        # From the evening before to the noon after 26 October 2025, 03:00.
        first = datetime(2025, 10, 25, 20, tzinfo=UTC)
        count = 16 * 3600 // step
    moments = [first + timedelta(seconds=step * at) for at in range(count)]
    if not over_autumn:
        # No change of the clocks within: that is a fault of its own.
        while moments[0].astimezone(zone).utcoffset() != moments[-1].astimezone(zone).utcoffset():
            moments = [moment + timedelta(days=3) for moment in moments]
    decimal = dice.choice((".", ","))
    delimiter = ";" if decimal == "," else dice.choice((",", ";", "\t"))
    table = Table(dice, zone, tz, moments, delimiter, decimal)
    table.instants = [microseconds(moment) for moment in moments]
    names = dice.sample(("Netz", "Batterie", "Load", "PV", "Feed-in", "Aussen"), dice.randint(1, 3))
    for at, name in enumerate(names):
        values = [round(dice.uniform(-50, 50) + 300 * (at + 1), 2) for _ in moments]
        column = Column(name, [table.number(value) for value in values], None, list(values))
        table.metrics.append(column)
    return table


def write(table: Table, faults: tuple[str, ...]) -> FaultyFile:
    """Return the table as a file with its truth."""
    columns = [*table.before, *table.times, *table.metrics, *table.after]
    lines = list(table.above)
    lines.append(table.delimiter.join(column.name for column in columns))
    if table.units_row:
        lines.append(table.delimiter.join((column.unit or "") for column in columns))
    for at in range(len(table.moments)):
        line = table.delimiter.join(column.cells[at] for column in columns)
        lines.append(line + table.delimiter * table.closing_delimiter)
    lines += table.footer
    truth = [
        Series(
            column.unit,
            {
                instant: value
                for instant, value in zip(table.instants, column.values, strict=True)
                if value is not None
            },
        )
        for column in table.metrics
    ]
    return FaultyFile("\n".join(lines).encode() + b"\n", table.name, table.tz, truth, faults)


# Times


def plain(table: Table) -> None:
    table.times = [Column("time", [f"{t:%Y-%m-%d %H:%M}" for t in table.local()])]


def season_column(table: Table) -> None:
    """Say in a column of its own which clock a time is by."""
    summer, winter = table.dice.choice(
        (("S", "W"), ("MESZ", "MEZ"), ("CEST", "CET"), ("DST", ""), ("1", "0"))
    )
    table.times = [Column("Zeit", [f"{t:%d.%m.%Y %H:%M}" for t in table.local()])]
    is_summer = [bool(t.dst()) for t in table.local()]
    name = table.dice.choice(("clock", "Zeitart", "Season"))
    table.after.append(Column(name, [summer if each else winter for each in is_summer]))


def season_behind_the_time(table: Table) -> None:
    summer, winter = table.dice.choice(((" MESZ", " MEZ"), (" CEST", " CET"), (" DST", "")))
    local = table.local()
    table.times = [Column("Zeit", [f"{t:%d.%m.%Y %H:%M}{summer if t.dst() else winter}" for t in local])]


def interval_end_column(table: Table) -> None:
    """Give the begin and the end of each interval, over the hour of autumn."""
    step = table.moments[1] - table.moments[0]
    local = table.local()
    ends = [(moment + step).astimezone(table.zone) for moment in table.moments]
    if table.dice.random() < 0.5:
        table.times = [
            Column("Datum", [f"{t:%d.%m.%Y}" for t in local]),
            Column("von", [f"{t:%H:%M}" for t in local]),
            Column("bis", [f"{t:%H:%M}" for t in ends]),
        ]
    else:
        table.times = [
            Column("From", [f"{t:%Y-%m-%d %H:%M}" for t in local]),
            Column("To", [f"{t:%Y-%m-%d %H:%M}" for t in ends]),
        ]


def no_summer_time(table: Table) -> None:
    """Run evenly through the change: a logger without summer time."""
    table.zone = UTC if table.dice.random() < 0.3 else ZoneInfo("Etc/GMT-1")
    table.times = [Column("Zeit", [f"{t:%d.%m.%Y %H:%M}" for t in table.local()])]


def doubled_hour_in_order(table: Table) -> None:
    table.times = [Column("Zeit", [f"{t:%d.%m.%Y %H:%M}" for t in table.local()])]


def zone_in_the_header(table: Table) -> None:
    name = table.dice.choice(("America/New_York", "Australia/Melbourne", "Asia/Kolkata", "UTC"))
    table.zone = ZoneInfo(name)
    table.times = [Column(f"Time ({name})", [f"{t:%Y-%m-%d %H:%M}" for t in table.local()])]


def epoch(table: Table) -> None:
    digits = table.dice.choice((0, 3, 6, 9))
    table.times = [Column("time", [str(int(t.timestamp()) * 10**digits) for t in table.moments])]


def compact(table: Table) -> None:
    form = table.dice.choice(("%Y%m%d:%H%M", "%Y%m%d%H%M", "%Y%m%d%H%M%S", "%Y%m%dT%H%M"))
    table.times = [Column("time", [t.strftime(form) for t in table.local()])]


def format_in_the_header(table: Table) -> None:
    """Name the order of day and month in the header, in days that leave it open."""
    day_first = table.dice.random() < 0.5
    move(table, datetime(2025, table.dice.randint(1, 11), 3, 8, tzinfo=UTC), hours=8)
    word, form = (
        ("dd/MM/yyyy HH:mm", "%d/%m/%Y %H:%M") if day_first else ("MM/dd/yyyy HH:mm", "%m/%d/%Y %H:%M")
    )
    table.times = [Column(word, [t.strftime(form) for t in table.local()])]


def even_steps_tell_the_day(table: Table) -> None:
    """Cross midnight between days up to the 12th: only one order keeps the steps even."""
    move(table, datetime(2025, table.dice.randint(2, 10), table.dice.randint(3, 8), 18, tzinfo=UTC))
    form = table.dice.choice(("%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M"))
    table.times = [Column("t", [t.strftime(form) for t in table.local()])]


def hour_column(table: Table) -> None:
    first = table.dice.choice((0, 1))
    form = table.dice.choice(("%d.%m.%Y", "%d/%m/%Y", "%Y-%m-%d", "%m/%d/%Y"))
    move(
        table,
        datetime(2025, table.dice.randint(2, 9), table.dice.randint(14, 24), 0, tzinfo=UTC)
        - timedelta(hours=2),
    )
    while table.local()[0].hour:
        move(table, table.moments[0] + timedelta(hours=1))
    table.times = [
        Column("day", [t.strftime(form) for t in table.local()]),
        Column("hour", [str(t.hour + first) for t in table.local()]),
    ]


def halves_of_the_day(table: Table) -> None:
    morning, evening = table.dice.choice(
        (("AM", "PM"), ("a. m.", "p. m."), ("a.m.", "p.m."), ("vorm.", "nachm."), ("am", "pm"))
    )
    cells = [
        f"{t:%Y-%m-%d} {(t.hour + 11) % 12 + 1}:{t:%M} {morning if t.hour < 12 else evening}"
        for t in table.local()
    ]
    table.times = [Column("Time", cells)]


def ends_of_intervals(table: Table) -> None:
    """Run from 00:15 to 24:00 or 00:00: the times are ends, as the column's name says."""
    step = table.moments[1] - table.moments[0]
    ends = [(moment + step).astimezone(table.zone) for moment in table.moments]
    name = table.dice.choice(("Interval end", "Ende", "Period ending", "bis"))
    table.times = [Column(name, [f"{t:%d.%m.%Y %H:%M}" for t in ends])]


def range_columns(table: Table) -> None:
    """Put the constant range of a query before the time."""
    table.before = [
        Column("_start", [f"{table.moments[0]:%Y-%m-%dT%H:%M:%SZ}"] * len(table.moments)),
        Column("_stop", [f"{table.moments[-1]:%Y-%m-%dT%H:%M:%SZ}"] * len(table.moments)),
    ]
    table.times = [Column("_time", [f"{t:%Y-%m-%dT%H:%M:%SZ}" for t in table.moments])]


def move(table: Table, first: datetime, hours: int | None = None) -> None:
    """Let the table begin at another moment, and perhaps end after some hours."""
    step = table.moments[1] - table.moments[0]
    table.moments = [first + step * at for at in range(len(table.moments))]
    if hours is not None:
        kept = max(12, int(timedelta(hours=hours) / step))
        table.moments = table.moments[:kept]
        for column in table.metrics:
            column.cells, column.values = column.cells[:kept], column.values[:kept]
    table.instants = [microseconds(moment) for moment in table.moments]


TIMES: dict[str, Callable[[Table], None]] = {
    each.__name__: each
    for each in (
        plain, season_column, season_behind_the_time, interval_end_column, no_summer_time, doubled_hour_in_order,
        zone_in_the_header, epoch, compact, format_in_the_header, even_steps_tell_the_day, hour_column, halves_of_the_day,
        ends_of_intervals, range_columns,
    )
}  # fmt: skip
OVER_AUTUMN = {
    "season_column", "season_behind_the_time", "interval_end_column", "no_summer_time", "doubled_hour_in_order",
}  # fmt: skip
TIMES_STEP = {"hour_column": 3600, "compact": 900, "even_steps_tell_the_day": 1800}


# Columns


def state_words(table: Table) -> None:
    """Put the words of a sensor without a value among the numbers."""
    word = table.dice.choice(("unavailable", "unknown"))
    column = table.dice.choice(table.metrics)
    for at in table.dice.sample(range(len(column.cells)), 5):
        column.cells[at], column.values[at] = word, None


def units_in_cells(table: Table) -> None:
    """Write each number with its unit; a large one with the larger unit."""
    column = table.dice.choice(table.metrics)
    column.unit = "W"
    for at, value in enumerate(column.values):
        if value is not None:
            is_kilo = table.dice.random() < 0.4
            column.cells[at] = (
                f"{table.number(value / 1000, 5)} kW" if is_kilo else f"{table.number(value)} W"
            )


def unit_in_the_name(table: Table) -> None:
    for column in table.metrics:
        unit = table.dice.choice(("kWh", "W", "V"))
        form = table.dice.choice(("{} [{}]", "{} ({})", "{} in {}", "{} {}", "[{1}] {0}"))
        column.unit, column.name = unit, form.format(column.name, unit)


def letter_in_brackets(table: Table) -> None:
    for letter, column in zip("hnx", table.metrics, strict=False):
        column.name = f"G({letter})"
        column.unit = ""


def units_row(table: Table) -> None:
    for column in table.metrics:
        column.unit = table.dice.choice(("W", "V", "kWh", "hPa"))
    table.units_row = True


def ids(table: Table) -> None:
    """Put numbers beside the values that only name things."""
    number = str(table.dice.randint(10_000_000, 99_999_999))
    name = table.dice.choice(("Meter Id", "Serial", "Zählernummer", "plant"))
    table.before = [Column(name, [number] * len(table.moments)), *table.before]


def interval_word(table: Table) -> None:
    table.after.append(
        Column("Interval", [table.dice.choice(("60min", "PT15M", "00:15"))] * len(table.moments))
    )


def text_column(table: Table) -> None:
    words = ("ok", "true value", "Wert echt")
    table.after.append(Column("Status", [table.dice.choice(words) for _ in table.moments]))


def row_numbers(table: Table) -> None:
    table.before = [
        Column(table.dice.choice(("#", "Nr.", "RecNo")), [str(at + 1) for at in range(len(table.moments))]),
        *table.before,
    ]


def quote_before_negative(table: Table) -> None:
    column = table.dice.choice(table.metrics)
    for at in table.dice.sample(range(len(column.cells)), 8):
        value = -abs(round(table.dice.uniform(1, 90), 2))
        column.cells[at], column.values[at] = "'" + table.number(value), value


COLUMNS: dict[str, Callable[[Table], None]] = {
    each.__name__: each
    for each in (
        state_words, units_in_cells, unit_in_the_name, letter_in_brackets, units_row, ids, interval_word, text_column,
        row_numbers, quote_before_negative,
    )
}  # fmt: skip
_OF_UNITS = ("units_in_cells", "unit_in_the_name", "letter_in_brackets", "units_row")
EXCLUDES: dict[str, tuple[str, ...]] = {
    **{name: tuple(each for each in _OF_UNITS if each != name) for name in _OF_UNITS},
    "quote_before_negative": ("units_in_cells",),
    "state_words": ("units_in_cells",),
    "totals_row": ("units_in_cells",),
}
EXCLUDES["units_in_cells"] += ("quote_before_negative", "state_words")


# Rows


def closing_delimiter(table: Table) -> None:
    table.closing_delimiter = True


def totals_row(table: Table) -> None:
    """End with the sum of each column."""
    word = table.dice.choice(("Total", "Summe", "Sum"))
    width = len(table.before) + len(table.times)
    sums = [table.number(sum(value or 0 for value in column.values)) for column in table.metrics]
    cells = [word, *[""] * (width - 1), *sums, *[""] * len(table.after)]
    table.footer = [table.delimiter.join(cells)]


def footer(table: Table) -> None:
    table.footer = ["", table.dice.choice(("End of report", "Erstellt von: Portal 7", "* estimated"))]


def preamble(table: Table) -> None:
    table.above = ["Report", f"Meter{table.delimiter}4711", ""]


ROWS: dict[str, Callable[[Table], None]] = {
    each.__name__: each for each in (closing_delimiter, totals_row, footer, preamble)
}


# Files of a kind of their own


def shown_twice(local: list[datetime], at: int) -> bool:
    """Return whether another moment has the same time on the clock."""
    return [moment.replace(tzinfo=None, fold=0) for moment in local].count(
        local[at].replace(tzinfo=None, fold=0)
    ) > 1


def registers_in_blocks(dice: random.Random, name: str) -> FaultyFile:
    """Write one register after the other, each over the same times; the second has gaps of its own."""
    table = begin(dice, over_autumn=dice.random() < 0.5)
    local = table.local()
    lines = [table.delimiter.join(("register", "at", "reading"))]
    truth = []
    for key in dice.sample(("imp", "exp", "gas"), 2):
        readings: Readings = {}
        some = set(dice.sample(range(len(local)), dice.randint(len(local) // 3, len(local))))
        # One pass of a doubled time alone would leave open which it is.
        kept = [at for at in range(len(local)) if at in some or shown_twice(local, at)]
        for at in kept:
            value = round(dice.uniform(0, 900), 2)
            readings[table.instants[at]] = value
            lines.append(table.delimiter.join((key, f"{local[at]:%Y-%m-%d %H:%M}", table.number(value))))
        truth.append(Series(None, readings))
    return FaultyFile("\n".join(lines).encode() + b"\n", table.name, table.tz, truth, (name,))


def number_is_the_key(dice: random.Random, name: str) -> FaultyFile:
    """Tell two series apart by a number: minutes and hours."""
    table = begin(dice, seconds=60)
    table.moments = table.moments[:120]
    keys = dice.sample(range(1, 40), 2)
    rows, truth = [], [Series(None, {}), Series(None, {})]
    for at, moment in enumerate(table.moments):
        local = moment.astimezone(table.zone)
        for key, series, is_there in zip(keys, truth, (True, at % 60 == 0), strict=True):
            if is_there:
                value = round(dice.uniform(0, 90), 2)
                series.readings[microseconds(moment)] = value
                rows.append((f"{local:%Y-%m-%d %H:%M:%S}", str(key), table.number(value)))
    header = dice.choice(
        (("TIMESTAMP", "PERIOD_ID", "USED"), ("time", "kind", "value"), ("at", "channel", "used"))
    )
    lines = [table.delimiter.join(row) for row in (header, *rows)]
    return FaultyFile("\n".join(lines).encode() + b"\n", table.name, table.tz, truth, (name,))


def one_sensor_a_file(dice: random.Random, name: str) -> FaultyFile:
    table = begin(dice)
    sensor = dice.choice(("sensor.pv_power", "sensor.room_temp", "sensor.grid"))
    series = Series(None, {})
    lines = ["entity_id,state,last_changed"]
    for instant, moment in zip(table.instants, table.moments, strict=True):
        value = round(dice.uniform(0, 900), 1)
        text = f"{value}"
        if dice.random() < 0.05:
            text = dice.choice(("unavailable", "unknown"))
        else:
            series.readings[instant] = value
        lines.append(f"{sensor},{text},{moment:%Y-%m-%dT%H:%M:%S.000Z}")
    return FaultyFile("\n".join(lines).encode() + b"\n", table.name, table.tz, [series], (name,))


def unit_column(dice: random.Random, name: str) -> FaultyFile:
    """Say the unit in a column, the same in each row or changing by register."""
    table = begin(dice)
    table.times = [Column("start", [f"{t:%d.%m.%Y %H:%M}" for t in table.local()])]
    keys = dice.sample(("Bezug", "Lieferung", "Gas"), dice.randint(1, 2))
    units = [dice.choice(("Wh", "kWh", "m³")) for _ in keys]
    header = ["start", *(["register"] if len(keys) > 1 else []), "value", "unit"]
    lines = [table.delimiter.join(header)]
    truth = [Series(unit, {}) for unit in units]
    for at, cell in enumerate(table.times[0].cells):
        for key, unit, series in zip(keys, units, truth, strict=True):
            value = round(dice.uniform(0, 900), 2)
            series.readings[table.instants[at]] = value
            cells = [cell, *([key] if len(keys) > 1 else []), table.number(value), unit]
            lines.append(table.delimiter.join(cells))
    return FaultyFile("\n".join(lines).encode() + b"\n", table.name, table.tz, truth, (name,))


def decimal_comma_between_commas(dice: random.Random, name: str) -> FaultyFile:
    table = begin(dice)
    table.delimiter = table.decimal = ","
    table.times = [Column("time", [f"{t:%Y-%m-%dT%H:%M:%S}+00:00" for t in table.moments])]
    for column in table.metrics:
        column.cells = [
            table.number(value) if dice.random() < 0.7 or value is None else str(round(value))
            for value in column.values
        ]
        column.values = [float(cell.replace(",", ".")) for cell in column.cells]
    return write(table, (name,))


def second_table(dice: random.Random, name: str) -> FaultyFile:
    """Repeat the header, and begin the times anew for another quantity."""
    table = begin(dice)
    local = table.local()
    truth, lines = [], []
    headers = dice.choice(
        ((("time", "Bezug"), ("time", "Einspeisung")), (("time", "value"), ("time", "value")))
    )
    for header in headers:
        lines.append(table.delimiter.join(header))
        readings: Readings = {}
        for instant, moment in zip(table.instants, local, strict=True):
            value = round(dice.uniform(0, 900), 2)
            readings[instant] = value
            lines.append(table.delimiter.join((f"{moment:%Y-%m-%d %H:%M}", table.number(value))))
        truth.append(Series(None, readings))
        if dice.random() < 0.5:
            lines.append("")
    return FaultyFile("\n".join(lines).encode() + b"\n", table.name, table.tz, truth, (name,))


def tables_beside_each_other(dice: random.Random, name: str) -> FaultyFile:
    """Put two tables beside each other, each with dates of its own."""
    table = begin(dice)
    local = table.local()
    later = [moment + timedelta(days=40) for moment in table.moments]
    if local[0].utcoffset() != later[-1].astimezone(table.zone).utcoffset():
        later = table.moments
    truth = [Series(None, {}), Series(None, {})]
    lines = [table.delimiter.join(("Datum", "Bezug", "Datum", "Einspeisung"))]
    for first, second in zip(table.moments, later, strict=True):
        cells = []
        for moment, series in ((first, truth[0]), (second, truth[1])):
            value = round(dice.uniform(0, 900), 2)
            series.readings[microseconds(moment)] = value
            cells += [f"{moment.astimezone(table.zone):%d.%m.%Y %H:%M}", table.number(value)]
        lines.append(table.delimiter.join(cells))
    return FaultyFile("\n".join(lines).encode() + b"\n", table.name, table.tz, truth, (name,))


def more_cells_than_names(dice: random.Random, name: str) -> FaultyFile:
    """Name fewer columns than the rows have."""
    table = begin(dice)
    plain(table)
    values = [round(dice.uniform(0, 900), 2) for _ in table.moments]
    table.after.append(Column("", [table.number(value) for value in values]))
    made = write(table, (name,))
    header, rest = made.data.split(b"\n", 1)
    made.data = header.rstrip(table.delimiter.encode()) + b"\n" + rest
    made.truth.append(Series(None, dict(zip(table.instants, values, strict=True))))
    return made


def records(dice: random.Random, name: str) -> FaultyFile:
    """Say in the first field what a line is; only some lines hold readings."""
    table = begin(dice)
    lines, series = [f"HDR{table.delimiter}portal{table.delimiter}2025"], Series(None, {})
    for at, moment in enumerate(table.local()):
        if at % 24 == 0:
            lines.append(table.delimiter.join(("DAY", f"{moment:%Y-%m-%d}", str(dice.randint(1, 9)))))
        value = round(dice.uniform(0, 900), 2)
        series.readings[table.instants[at]] = value
        lines.append(table.delimiter.join(("VAL", f"{moment:%Y-%m-%d %H:%M}", table.number(value))))
    lines.append(f"END{table.delimiter}{len(lines)}")
    return FaultyFile("\n".join(lines).encode() + b"\n", table.name, table.tz, [series], (name,))


WHOLE_FILES: dict[str, Callable[[random.Random, str], FaultyFile]] = {
    each.__name__: each
    for each in (
        registers_in_blocks, number_is_the_key, one_sensor_a_file, unit_column, decimal_comma_between_commas, second_table,
        tables_beside_each_other, more_cells_than_names, records,
    )
}  # fmt: skip
