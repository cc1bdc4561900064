"""Small files of faults that were seen: each gives its right values by the guess, or asks first."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from joulebook.telemetry.files.errors import FileError
from joulebook.telemetry.files.guess.chosen import choose_layout
from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.parser import parse_file
from joulebook.telemetry.files.settings import Given
from joulebook.telemetry.files.source import FileSource

from ...conftest import SHARED_DATA

MINIMAL = SHARED_DATA / "minimal"
NOW = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) * 1_000_000

pytestmark = pytest.mark.skipif(not MINIMAL.exists(), reason="the folder of shared files is not here")

Points = list[tuple[str, float]]
"""Times in UTC, as far as they are written, and values."""


@dataclass
class Metric:
    """The right readings of a metric: its name's beginning, its unit, and every reading."""

    name: str
    unit: str
    points: Points


@dataclass
class Read:
    """A file as the guess alone reads it."""

    layout: FileLayout
    metrics: dict[str, tuple[str, Points]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def asked(self) -> set[str]:
        """The settings of required questions."""
        return {question.setting for question in self.layout.questions if question.is_required}


def read(path: Path) -> Read:
    source = FileSource(path)
    found = Read(choose_layout(source, Given(), profile=None, device_tz="Europe/Berlin"))
    profile = found.layout.profile
    for block in parse_file(source, profile, found.layout.columns, now=NOW):
        values = (*profile.values, *block.added)
        for at, time, value in zip(
            block.column.tolist(), block.time.tolist(), block.value.tolist(), strict=True
        ):
            instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time)
            shown = instant.strftime("%Y-%m-%d %H:%M:%S.%f").rstrip("0").rstrip(".").removesuffix(":00")
            metric, unit = values[at].metric, values[at].unit
            assert found.metrics.setdefault(metric, (unit, []))[0] == unit
            found.metrics[metric][1].append((shown, value))
        found.problems += [problem.code for problem in block.problems]
    return found


def hours(day: str, first: float, values: list[float], *, step: int = 60) -> Points:
    begin = datetime.fromisoformat(day) + timedelta(hours=first)
    times = [begin + timedelta(minutes=step * at) for at in range(len(values))]
    return at([f"{time:%Y-%m-%d %H:%M:%S}".removesuffix(":00") for time in times], values)


def at(times: list[str], values: list[float]) -> Points:
    return list(zip(times, values, strict=True))


QUARTERS = ["2026-03-20 23:00", "2026-03-20 23:15", "2026-03-20 23:30", "2026-03-20 23:45"]

RIGHT = {
    "trailing_delimiter.csv": [
        Metric("Voltage", "V", at(QUARTERS, [230.1, 231.4, 229.8, 230.6])),
        Metric("Power", "W", at(QUARTERS, [500, 520, 480, 510])),
    ],
    "range_columns_before_the_time.csv": [
        Metric("volts", "", at(["2026-01-01 00:00", "2026-01-01 00:10"], [230.5, 231.5])),
        Metric("watts", "", at(["2026-01-01 00:00", "2026-01-01 00:10"], [512, 530])),
    ],
    "season_column_short.csv": [
        Metric(
            "kWh",
            "kWh",
            hours(
                "2025-10-25",
                23.5,
                [0.11, 0.12, 0.13, 0.14, 0.15, 0.16, 0.17, 0.18, 0.19, 0.20, 0.21],
                step=15,
            ),
        )
    ],
    "zone_named_in_the_header.csv": [Metric("Mains", "kWh", hours("2026-07-14", 4, [0.512, 0.5, 0.48]))],
    "state_words.csv": [
        Metric("pv_power", "", at(["2026-08-01 06:00", "2026-08-01 06:05"], [412.5, 430.5])),
    ],
    "one_sensor_a_file_a.csv": [
        Metric("pv_power", "", hours("2026-08-01", 6, [412.5, 430.5, 441.0], step=5)),
    ],
    "one_sensor_a_file_b.csv": [
        Metric(
            "room_temp",
            "",
            at(
                ["2026-08-01 06:02:04.12", "2026-08-01 06:07:11.003", "2026-08-01 06:12:45.9"],
                [21.5, 21.4, 21.2],
            ),
        ),
    ],
    "epoch_nanoseconds.csv": [
        Metric(
            "",
            "",
            at(["2025-06-02 19:43:20", "2025-06-02 19:53:20", "2025-06-02 20:03:20"], [7251, 6923, 6510]),
        )
    ],
    "compact_date_and_time.csv": [
        Metric("T2m", "", hours("2018-01-13", 0, [2.04, 1.98, 1.95])),
        Metric("G", "", hours("2018-01-13", 0, [0.0, 0.0, 12.5])),
    ],
    "units_in_cells.csv": [
        Metric("Load", "W", hours("2026-02-13", 11, [1200, 950, 1100], step=1)),
        Metric("Feed-in", "W", hours("2026-02-13", 11, [0, 120, 340], step=1)),
    ],
    "date_format_in_the_header.csv": [
        Metric("Pac", "W", hours("2026-02-03", 11 + 40 / 60, [143.5, 150.5, 161.5], step=5)),
        Metric("ETotal", "kWh", hours("2026-02-03", 11 + 40 / 60, [7508.4, 7508.5, 7508.6], step=5)),
    ],
    "date_format_line.csv": [
        Metric("Yield", "kWh", hours("2024-04-05", 8, [100, 101, 102, 103, 104, 105, 106, 107])),
        Metric("Power", "kW", hours("2024-04-05", 8, [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5])),
    ],
    "day_order_by_even_steps.csv": [
        Metric("v", "", hours("2024-02-09", 19, [20, 21, 22, 23, 0, 1, 2, 3, 4, 5])),
    ],
    "letter_in_brackets.csv": [
        Metric("G(h)", "", hours("2025-06-13", 8, [512.5, 640, 702.5])),
        Metric("Gd(h)", "", hours("2025-06-13", 8, [110, 120.5, 125])),
        Metric("Gb(n)", "", hours("2025-06-13", 8, [402.5, 519.5, 577.5])),
    ],
    "unit_column.csv": [Metric("value", "Wh", hours("2026-05-12", 22.25, [250, 500, 750], step=15))],
    "ids_beside_values.csv": [Metric("kWh", "kWh", hours("2026-05-12", 22.25, [0.25, 0.5, 0.75], step=15))],
    "ids_units_and_interval_columns.csv": [
        Metric("Usage", "kWh", hours("2024-04-30", 22, [0.5, 1.5, 2.5, 3.5, 4.5, 5.5])),
    ],
    "quote_before_negative.csv": [
        Metric("grid", "", hours("2026-07-16", 17 + 18.85 / 60, [1, -2, -2.5, 3, 4], step=1)),
    ],
    "units_row.csv": [
        Metric("Grid", "W", hours("2026-05-31", 22, [312, 298, 305], step=15)),
        Metric("Battery", "V", hours("2026-05-31", 22, [51.62, 51.6, 51.59], step=15)),
    ],
    "logger_units_row.csv": [
        Metric("AirT", "°C", hours("2024-04-30", 22, [0, 1, 2, 3, 4, 5])),
        Metric("Press", "hPa", hours("2024-04-30", 22, [1000, 1001, 1002, 1003, 1004, 1005])),
    ],
    "hour_column_dots.csv": [
        Metric("rain", "", hours("2024-03-13", 23, [at / 10 for at in range(12)])),
    ],
    "hour_column_slashes.csv": [
        Metric("rain", "", hours("2024-03-13", 23, [at / 10 for at in range(12)])),
    ],
    "number_is_the_key.csv": [
        Metric("", "", at(["2026-01-21 23:00"], [60])),
        Metric("", "", hours("2026-01-21", 23, [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3], step=1)),
    ],
    "registers_in_blocks.csv": [
        Metric("imp", "", hours("2024-10-19", 23, [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20], step=30)),
        Metric("exp", "", at(["2024-10-19 23:00", "2024-10-20 04:30", "2024-10-20 05:00"], [50, 51, 51])),
    ],
    "registers_in_blocks_autumn.csv": [
        Metric("imp", "", hours("2024-10-26", 23, [10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20], step=30)),
        Metric("exp", "", at(["2024-10-26 23:00", "2024-10-27 05:30", "2024-10-27 06:00"], [50, 51, 51])),
    ],
    "totals_row.csv": [
        Metric(
            "kWh",
            "kWh",
            [
                (f"2024-{day} 22:00", 1.5 + at)
                for at, day in enumerate(["04-30", "05-01", "05-02", "05-03", "05-04", "05-05", "05-06"])
            ],
        ),
    ],
    "clock_without_summer_time.csv": [
        Metric("Temp", "", hours("2021-10-30", 23, [5 + at // 2 / 10 for at in range(14)], step=30)),
    ],
}
"""The right readings by file."""

MAY_ASK = {
    "registers_in_blocks.csv",
    "registers_in_blocks_autumn.csv",
    "clock_without_summer_time.csv",
    "totals_row.csv",
    "one_sensor_a_file_a.csv",
    "one_sensor_a_file_b.csv",
}
"""Files that leave room for a question; all others are read right by the guess alone."""


@pytest.mark.parametrize("name", RIGHT)
def test_a_file_is_read_right_or_asked_about(name: str) -> None:
    found = read(MINIMAL / name)
    if found.asked:
        assert name in MAY_ASK, (found.asked, [question.about for question in found.layout.questions])
        return
    shown = sorted((unit, sorted(points)) for unit, points in found.metrics.values())
    wanted = sorted((metric.unit, sorted(metric.points)) for metric in RIGHT[name])
    assert [unit for unit, _ in shown] == [unit for unit, _ in wanted], found.metrics
    for (_, points), (_, right) in zip(shown, wanted, strict=True):
        assert [time for time, _ in points] == [time for time, _ in right], found.metrics
        assert [value for _, value in points] == pytest.approx([value for _, value in right], rel=1e-12)
    for metric in RIGHT[name]:
        assert any(metric.name.casefold() in each.casefold() for each in found.metrics), found.metrics


def test_a_decimal_comma_between_commas_is_read_right_or_refused_with_the_remedy() -> None:
    refusal = ""
    metrics: dict[str, list[float]] = {}
    try:
        found = read(MINIMAL / "decimal_comma_between_commas.csv")
    except FileError as exc:
        refusal = str(exc)
    else:
        metrics = {name: [value for _, value in points] for name, (_, points) in found.metrics.items()}
        refusal = " ".join(sorted(found.asked))
    if refusal:
        assert "delimiter" in refusal or "decimal" in refusal
    else:
        assert metrics == {
            "battery_w": [-312, -310, -300, -305],
            "grid_w": [45.5, 2.5, 1.25, 3.5],
            "load_w": [1204.25, 1200.75, 1198.5, 1190.25],
        }


def test_the_end_of_an_interval_is_no_key() -> None:
    found = read(MINIMAL / "interval_ends_over_the_autumn_hour.csv")
    assert not found.asked
    ((unit, points),) = found.metrics.values()
    assert unit == "kWh"
    assert len(points) == len({time for time, _ in points}) == 1060
    assert sum(value for _, value in points) == pytest.approx(50.565, abs=1e-9)
