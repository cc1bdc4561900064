"""Home Assistant's database and its downloads become exact readings."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.telemetry.files.errors import UnreadableFile
from joulebook.telemetry.files.formats import home_assistant_database
from joulebook.telemetry.files.guess.chosen import choose_layout
from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.parser import parse_file
from joulebook.telemetry.files.settings import Given, Target
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.kinds.guesses import guess_kind

from ...recorder_of_home_assistant import OLD, RECENT, VERSIONS, Recorder

NOW = 1_900_000_000_000_000
HOUR = 3600
BEGIN = 1_780_000_000 // HOUR * HOUR
"""The first hour of a database's statistics, in seconds since 1970."""

Readings = dict[tuple[str, str, str], list[tuple[float, float]]]
"""Times in seconds since 1970 and values, by metric, unit and kind."""


def read(
    path: Path, given: Given | None = None, *, sheet: str = ""
) -> tuple[Readings, list[tuple[int, str, str]], FileLayout]:
    source = FileSource(path)
    layout = choose_layout(
        source, given or Given(sheet=sheet or None), profile=None, device_tz="America/New_York"
    )
    layout.require_answers()
    readings: Readings = {}
    problems = []
    for block in parse_file(source, layout.profile, layout.columns, now=NOW):
        values = (*layout.profile.values, *block.added)
        for at, time, value in zip(
            block.column.tolist(), block.time.tolist(), block.value.tolist(), strict=True
        ):
            series = (values[at].metric, values[at].unit, values[at].kind)
            readings.setdefault(series, []).append((time / 1e6, value))
        problems += [(problem.line, problem.code, problem.text) for problem in block.problems]
    return {series: sorted(points) for series, points in readings.items()}, problems, layout


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home-assistant_v2.db"


@pytest.mark.parametrize("version", VERSIONS)
def test_states_of_every_version_are_read_with_unit_and_kind(path: Path, version: int) -> None:
    recorder = Recorder(path, version)
    states = [(BEGIN + 0.000001, "412.5"), (BEGIN + 5.123456, "unavailable"), (BEGIN + 6, "430")]
    recorder.state("sensor.pv_power", *states, unit_of_measurement="W", state_class="measurement")
    recorder.state(
        "sensor.pv_energy", (BEGIN, "7.5"), (BEGIN + 60, None), (BEGIN + 90, "8"),
        unit_of_measurement="kWh", state_class="total_increasing",
    )  # fmt: skip
    recorder.state("binary_sensor.door", (BEGIN, "off"), (BEGIN + 1, "on"))
    recorder.state("sun.sun", (BEGIN, "above_horizon"), (BEGIN + 1, "below_horizon"))
    readings, problems, layout = read(path)
    assert readings == {
        ("pv_power", "W", "gauge"): [(BEGIN + 0.000001, 412.5), (BEGIN + 6, 430)],
        ("pv_energy", "kWh", "counter"): [(BEGIN, 7.5), (BEGIN + 90, 8)],
        ("binary_sensor.door", "", "state"): [(BEGIN, 0), (BEGIN + 1, 1)],
    }
    assert not problems
    assert [(each.name, each.value) for each in layout.settings if each.name == "entities"] == [
        ("entities", "3 of 4")
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_statistics_come_before_the_states_of_their_entity(path: Path, version: int) -> None:
    """The states begin 10 minutes after the third hour; the fourth hour's statistics cover the same."""
    recorder = Recorder(path, version)
    rows = [{"start": BEGIN + hour * HOUR, "state": 100.5 + hour, "sum": 20.5 + hour} for hour in range(4)]
    recorder.statistics("sensor.pv_energy", *rows, unit="kWh", has_sum=True)
    means = [{"start": BEGIN + hour * HOUR, "mean": 10.25 * hour} for hour in range(5)]
    recorder.statistics("sensor.pv_power", *means, unit="W", has_sum=False)
    states_begin = BEGIN + 3 * HOUR + 600
    recorder.state(
        "sensor.pv_energy", (states_begin - 1, "unknown"), (states_begin, "102.75"), (BEGIN + 5 * HOUR, "105"),
        unit_of_measurement="kWh", state_class="total_increasing",
    )  # fmt: skip
    recorder.state(
        "sensor.pv_power", (states_begin, "31.5"), unit_of_measurement="W", state_class="measurement"
    )
    assert read(path)[0] == {
        ("pv_energy", "kWh", "counter"): [
            (BEGIN + HOUR, 100.5), (BEGIN + 2 * HOUR, 101.5), (BEGIN + 3 * HOUR, 102.5),
            (states_begin, 102.75), (BEGIN + 5 * HOUR, 105),
        ],
        ("pv_power", "W", "gauge"): [
            (BEGIN, 0), (BEGIN + HOUR, 10.25), (BEGIN + 2 * HOUR, 20.5), (BEGIN + 3 * HOUR, 30.75),
            (states_begin, 31.5),
        ],
    }  # fmt: skip
    assert len(read(path, sheet="states")[0]["pv_energy", "kWh", "counter"]) == 2
    assert len(read(path, sheet="statistics")[0]["pv_energy", "kWh", "counter"]) == 4


def test_a_register_that_is_reset_each_day_keeps_the_energy_of_its_sum(path: Path) -> None:
    """The meter shows the energy of the day, and lost a reset's last rise; its sum has all of it."""
    recorder = Recorder(path)
    shown = [(3.0, 3.0), (4.0, 4.0), (0.5, 4.75), (1.5, 5.75)]
    rows = [
        {"start": BEGIN + n * HOUR, "state": state, "sum": total} for n, (state, total) in enumerate(shown)
    ]
    recorder.statistics("sensor.energy_today", *rows, unit="kWh", has_sum=True)
    recorder.state(
        "sensor.energy_today",
        (BEGIN + 4.5 * HOUR, "1.75"),
        unit_of_measurement="kWh",
        state_class="total_increasing",
    )
    (points,) = read(path)[0].values()
    assert [value for _, value in points] == [-1.25, -0.25, 0.5, 1.5, 1.75]


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6) | st.none()), min_size=2, max_size=20),
    st.integers(0, 10**6),
)
def test_a_register_always_rises_as_its_sum_and_ends_at_the_meter(
    rises: list[tuple[int, int | None]], last: int
) -> None:
    """In thousandths: what the meter itself showed meanwhile does not count."""
    sums = list(accumulate(rise for rise, _ in rises))
    ahead = (last - sums[-1]) / 1000
    shown = [None if meter is None else meter / 1000 for _, meter in rises[:-1]] + [last / 1000]
    registers = [
        home_assistant_database._register(total / 1000, meter, ahead)
        for total, meter in zip(sums, shown, strict=True)
    ]
    assert registers[-1] == last / 1000
    for register, total in zip(registers, sums, strict=True):
        assert register == pytest.approx((total - sums[-1] + last) / 1000, rel=1e-8, abs=2e-9)


@given(st.integers(0, 4_102_444_800_000_000))
def test_an_instant_is_exact_to_the_microsecond(micros: int) -> None:
    instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    text = instant.strftime("%Y-%m-%d %H:%M:%S.%f")
    expected = instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert home_assistant_database._time_cells([micros / 1e6, text]) == [expected, expected]


def test_statistics_of_others_are_their_sum(path: Path) -> None:
    """A supplier's statistics hold what flowed in the hour as their state."""
    rows = [{"start": BEGIN + n * HOUR, "state": 0.5, "sum": 0.5 * n + 0.5} for n in range(3)]
    recorder = Recorder(path)
    recorder.statistics("supplier:energy", *rows, unit="kWh", has_sum=True, source="supplier")
    (points,) = read(path)[0].values()
    assert points == [(BEGIN + (n + 1) * HOUR, 0.5 * n + 0.5) for n in range(3)]


def test_a_unit_that_changed_is_converted_to_the_newest(path: Path) -> None:
    recorder = Recorder(path)
    rows = [{"start": BEGIN, "state": 1500.0, "sum": 500.0}]
    recorder.statistics("sensor.energy", *rows, unit="Wh", has_sum=True)
    kind = {"state_class": "total_increasing"}
    recorder.state("sensor.energy", (BEGIN + 2 * HOUR, "1750"), unit_of_measurement="Wh", **kind)
    recorder.state("sensor.energy", (BEGIN + 3 * HOUR, "1.875"), unit_of_measurement="kWh", **kind)
    recorder.state("sensor.energy", (BEGIN + 2.5 * HOUR, "3.5"), unit_of_measurement="m³", **kind)
    assert read(path)[0] == {
        ("energy", "kWh", "counter"): [
            (BEGIN + HOUR, 1.5), (BEGIN + 2 * HOUR, 1.75), (BEGIN + 3 * HOUR, 1.875),
        ],
        ("energy m³", "m³", "counter"): [(BEGIN + 2.5 * HOUR, 3.5)],
    }  # fmt: skip


def test_statistics_of_another_kind_than_the_states_are_a_metric_of_their_own(path: Path) -> None:
    recorder = Recorder(path)
    recorder.statistics("sensor.load", {"start": BEGIN, "mean": 5.0}, unit="kWh", has_sum=False)
    recorder.state(
        "sensor.load", (BEGIN + 2 * HOUR, "7"), unit_of_measurement="kWh", state_class="total_increasing"
    )
    assert {metric for metric, _, _ in read(path)[0]} == {"load", "load statistics"}


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [(range(20), "counter"), ([5, 6, 7, 8, 9, 0, 1, 2, 3, 4], "counter"), ([5, 4] * 6, "gauge")],
)
def test_energy_without_a_class_is_a_register_if_it_only_rises(
    path: Path, numbers: list[int], kind: str
) -> None:
    states = [(BEGIN + at, str(number)) for at, number in enumerate(numbers)]
    Recorder(path).state("sensor.washer", *states, unit_of_measurement="kWh")
    assert [series[2] for series in read(path)[0]] == [kind]


def test_entities_can_be_left_out_and_renamed_however_late_they_begin(path: Path) -> None:
    recorder = Recorder(path)
    recorder.state("sensor.early", *((BEGIN + n, str(n)) for n in range(30_000)), unit_of_measurement="W")
    recorder.state("sensor.late", (BEGIN + 40_000, "1.5"), unit_of_measurement="W")
    readings, _, layout = read(path, Given(mapping={"early": None, "late": Target("heater")}))
    assert readings == {("heater", "W", "gauge"): [(BEGIN + 40_000, 1.5)]}
    assert [value.metric for value in layout.profile.values] == ["heater"]


def test_words_among_numbers_are_counted_with_their_row(path: Path) -> None:
    Recorder(path).state(
        "sensor.power", (BEGIN, "1"), (BEGIN + 1, 'so, "so"'), (BEGIN + 2, "2"), unit_of_measurement="W"
    )
    readings, problems, _ = read(path)
    assert problems == [(2, "value_type", 'so, "so"')]
    assert readings == {("power", "W", "gauge"): [(BEGIN, 1), (BEGIN + 2, 2)]}


def test_counts_and_sums_are_those_of_the_database(path: Path) -> None:
    recorder = Recorder(path)
    for number in range(7):
        recorder.state(
            f"sensor.power_{number}",
            *((BEGIN + number * 0.001 + n * 10, f"{(n * 7919 + number) % 1000 / 8}") for n in range(3_000)),
            unit_of_measurement="W", state_class="measurement",
        )  # fmt: skip
    with closing(sqlite3.connect(path)) as conn:
        truth = {
            name.removeprefix("sensor."): (count, total)
            for name, count, total in conn.execute(
                "SELECT states_meta.entity_id, count(*), sum(CAST(state AS REAL)) FROM states JOIN states_meta "
                "USING (metadata_id) GROUP BY 1"
            )
        }
    readings, problems, _ = read(path)
    found = {metric: (len(points), sum(v for _, v in points)) for (metric, _, _), points in readings.items()}
    assert found == truth
    assert not problems


@pytest.mark.parametrize("has_log", [False, True])
def test_the_database_is_never_written(path: Path, has_log: bool) -> None:
    recorder = Recorder(path)
    recorder.state("sensor.power", (BEGIN, "1"), unit_of_measurement="W")
    with closing(sqlite3.connect(path)) as conn:
        if has_log:
            conn.execute("PRAGMA journal_mode = WAL")
            with conn:
                conn.execute(
                    "INSERT INTO states (state, metadata_id, last_updated_ts) VALUES ('2', 1, ?)",
                    (BEGIN + 1,),
                )
        before = hashlib.sha256(path.read_bytes()).digest()
        (points,) = read(path)[0].values()
        assert len(points) == (2 if has_log else 1)
        assert hashlib.sha256(path.read_bytes()).digest() == before
    if not has_log:
        assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_part_that_there_is_not_is_refused_by_name(path: Path) -> None:
    Recorder(path).state("sensor.power", (BEGIN, "1"), unit_of_measurement="W")
    assert FileSource(path).sheets() == ("states and statistics", "states", "statistics")
    with pytest.raises(UnreadableFile, match="no part 'events'; it has 'states and statistics'"):
        read(path, sheet="events")
    with pytest.raises(UnreadableFile, match="holds no numbers in its statistics"):
        read(path, sheet="statistics")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("DROP TABLE states; CREATE TABLE notes (text)", "not Home Assistant's"),
        ("DROP TABLE states; CREATE VIEW states AS SELECT 1 AS state_id, 2 AS state, 3 AS last_updated",
         "not Home Assistant's"),
        ("INSERT INTO states (state) VALUES ('1')", "on its way from one version"),
        ("DROP INDEX ix_states_metadata_id_last_updated_ts", "lacks the index of its table states"),
        ("DROP INDEX ix_statistics_statistic_id_start", "lacks the index of its table statistics"),
        ("DROP TABLE statistics; CREATE TABLE statistics (id, statistic_id, start)", "before 2021.9"),
        ("DELETE FROM states", "holds no numbers"),
    ],
)  # fmt: skip
def test_another_database_is_refused_in_words(path: Path, script: str, message: str) -> None:
    Recorder(path).state("sensor.power", (BEGIN, "1"), unit_of_measurement="W")
    with closing(sqlite3.connect(path)) as conn:
        conn.executescript(script)
    with pytest.raises(UnreadableFile, match=message):
        FileSource(path).head(100)


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9])
def test_a_damaged_database_is_refused_in_words(path: Path, kept: float) -> None:
    recorder = Recorder(path, OLD)
    recorder.state("sensor.power", *((BEGIN + n, str(n)) for n in range(5_000)), unit_of_measurement="W")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(UnreadableFile, match="cannot be read further as a database"):
        read(path)


def test_a_state_without_a_time_is_counted_with_its_row(path: Path) -> None:
    recorder = Recorder(path, RECENT)
    recorder.state("sensor.power", (BEGIN, "1"), unit_of_measurement="W")
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("INSERT INTO states (state, metadata_id, last_updated_ts) VALUES ('2', 1, 'noon')")
    readings, problems, _ = read(path)
    assert [(line, text) for line, _, text in problems] == [(2, "no time: noon")]
    assert [len(points) for points in readings.values()] == [1]


def test_the_beginning_of_a_large_database_is_read_without_the_rest(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(path)
    recorder.state("sensor.power", *((BEGIN + n, str(n)) for n in range(60_000)), unit_of_measurement="W")
    rows: Counter[str] = Counter()
    lines = home_assistant_database._lines

    def counted(readings: list[Any]) -> bytes:
        rows["read"] += len(readings)
        return lines(readings)

    monkeypatch.setattr(home_assistant_database, "_lines", counted)
    FileSource(path).head(100_000)
    assert 0 < rows["read"] <= 10_000


ENERGY = """\
entity_id,type,unit,2026-07-31T22:00:00.000Z,2026-08-01T22:00:00.000Z,2026-08-02T22:00:00.000Z
sensor.grid_import,grid_consumption,kWh,1.5,,2.25
sensor.grid_import_cost,grid_consumption_cost,EUR,0.45,,0.675
sensor.gas_meter,gas_consumption,m3,0.5,0.25,oops
,calculated_total_consumption,kWh,3,1e-7,4
"""


def test_the_energy_page_gives_amounts_with_their_units(tmp_path: Path) -> None:
    path = tmp_path / "energy.csv"
    path.write_text(ENERGY)
    readings, problems, _ = read(path)
    first, second, third = (seconds(f"2026-{day} 22:00") for day in ("07-31", "08-01", "08-02"))
    assert readings == {
        ("grid_import_delta", "kWh", "amount"): [(first, 1.5), (third, 2.25)],
        ("grid_import_cost_delta", "EUR", "amount"): [(first, 0.45), (third, 0.675)],
        ("gas_meter_delta", "m3", "amount"): [(first, 0.5), (second, 0.25)],
        ("calculated_total_consumption", "kWh", "amount"): [(first, 3), (second, 1e-7), (third, 4)],
    }
    assert problems == [(4, "value_type", "oops")]


HISTORY = """\
entity_id,state,last_changed,current_temperature,hvac_action
sensor.pv_power,unavailable,2026-07-31T20:00:00.000Z
sensor.pv_power,412.5,2026-08-01T06:00:00.123Z
sensor.pv_power,"rather, much",2026-08-01T06:01:00.000Z
binary_sensor.door,on,2026-08-01T06:00:00.000Z
climate.flat,20.5,2026-08-01T06:00:00.000Z,19.5,heating
sensor.text,a, b,2026-08-01T06:00:00.000Z,1,2,3
"""


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_the_history_page_gives_each_entity_as_a_metric(tmp_path: Path, line_end: str) -> None:
    path = tmp_path / "history.csv"
    path.write_bytes(HISTORY.replace("\n", line_end).encode())
    readings, problems, _ = read(path)
    six = seconds("2026-08-01 06:00")
    assert readings == {
        ("pv_power", "", ""): [(six + 0.123, 412.5)],
        ("binary_sensor.door", "", "state"): [(six, 1)],
        ("climate.flat", "", ""): [(six, 20.5)],
        ("climate.flat.current_temperature", "", "gauge"): [(six, 19.5)],
    }
    assert [line for line, _, _ in problems] == [4, 7]


@pytest.mark.parametrize(("delimiter", "decimal"), [("\t", "."), (";", ","), (",", "."), ("|", ",")])
def test_exported_statistics_give_what_flowed_in_each_hour_and_means(
    tmp_path: Path, delimiter: str, decimal: str
) -> None:
    """The hours of a day, in the zone of the device: the file has none. The metric's name says the kind."""
    path = tmp_path / "statistics.tsv"
    lines = [["statistic_id", "unit", "start", "min", "max", "mean", "sum", "state"]]
    for hour in range(24):
        rise = f"{1000 + hour * 0.5 + hour % 2 / 4}"
        lines.append(["sensor.grid_energy", "kWh", f"25.06.2026 {hour:02}:00", "", "", "", rise, rise])
    lines += [
        ["sensor.room", "°C", f"25.06.2026 {hour:02}:00", "1", "99", f"{20 + hour / 4}", "", ""]
        for hour in range(24)
    ]
    numbers = [
        [cell.replace(".", decimal) if at > 2 else cell for at, cell in enumerate(row)] for row in lines
    ]
    path.write_text("\n".join(delimiter.join(row) for row in numbers) + "\n")
    readings, problems, _ = read(path)
    begin = seconds("2026-06-25 04:00")
    assert readings == {
        ("grid_energy_delta", "kWh", ""): [
            (begin + hour * HOUR, 0.75 if hour % 2 else 0.25) for hour in range(1, 24)
        ],
        ("room", "°C", ""): [(begin + hour * HOUR, 20 + hour / 4) for hour in range(24)],
    }
    assert not problems
    assert guess_kind("grid_energy_delta").kind.name == "amount"


def test_a_table_with_further_columns_is_guessed_as_any_other(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("entity_id,state,last_changed,price\nsensor.a,1,2026-08-01T06:00:00Z,5\n")
    assert FileSource(path).format is None
