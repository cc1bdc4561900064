"""Exports of InfluxDB, Prometheus and VictoriaMetrics are imported with their series, units and exact times."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.telemetry.files.errors import UnreadableFile
from joulebook.telemetry.files.formats import line_protocol, registry
from joulebook.telemetry.files.formats.format import Content
from joulebook.telemetry.files.formats.named_series import TEXT_FIELDS
from joulebook.telemetry.files.guess.chosen import choose_layout
from joulebook.telemetry.files.parser import parse_file
from joulebook.telemetry.files.settings import Given
from joulebook.telemetry.files.source import FileSource

NOW = 1_800_000_000_000_000
SECOND = 1_000_000
NEW_YEAR = 1_609_459_200 * SECOND  # 2021-01-01T00:00:00Z


class Read:
    """The readings of a file, by metric, and everything about those that are none."""

    def __init__(self, path: Path) -> None:
        source = FileSource(path)
        layout = choose_layout(source, Given(), profile=None, device_tz="Europe/Berlin")
        layout.require_answers()
        self.readings: dict[str, list[tuple[int, float]]] = {}
        self.units: dict[str, str] = {}
        self.kinds: dict[str, str] = {}
        self.problems: list[tuple[int, str]] = []
        self.missing: dict[str, dict[str, int]] = {}
        for block in parse_file(source, layout.profile, layout.columns, now=NOW):
            values = (*layout.profile.values, *block.added)
            for at, time, value in zip(
                block.column.tolist(), block.time.tolist(), block.value.tolist(), strict=True
            ):
                self.readings.setdefault(values[at].metric, []).append((time, value))
            for value_column, cells in zip(values, block.cells, strict=True):
                self.units[value_column.metric] = value_column.unit
                self.kinds[value_column.metric] = value_column.kind
                counts = self.missing.setdefault(value_column.metric, {})
                for text, count in cells.na.items():
                    counts[text] = counts.get(text, 0) + count
            self.problems += [(problem.line, problem.code) for problem in block.problems]


def read(folder: Path, text: str | bytes, name: str = "file") -> Read:
    """Return the readings of a file with this text."""
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return Read(path)


EXPORT = """\
# INFLUXDB EXPORT: 1677-09-21T00:12:43Z - 2262-04-11T23:47:16Z
# DDL
CREATE DATABASE home WITH NAME autogen
# DML
# CONTEXT-DATABASE:home
# CONTEXT-RETENTION-POLICY:autogen
# writing tsm data
W,domain=sensor,entity_id=grid value=1240.5 1609459200123456789
W,domain=sensor,entity_id=grid value=-3i 1609459201000000000
W,domain=sensor,entity_id=grid friendly_name_str="Grid
meter, \\"main\\"" 1609459201000000000
pump,room=in\\ the\\ cellar on=true,starts=7u 1609459200000000000
pump no fields here
"""


def test_an_export_of_influx_inspect_has_its_series_to_the_microsecond(tmp_path: Path) -> None:
    found = read(tmp_path, EXPORT)
    assert found.readings == {
        "sensor.grid": [(NEW_YEAR + 123_456, 1240.5), (NEW_YEAR + SECOND, -3.0)],
        "pump.on{room=in the cellar}": [(NEW_YEAR, 1.0)],
        "pump.starts{room=in the cellar}": [(NEW_YEAR, 7.0)],
    }
    assert found.units["sensor.grid"] == "W"


def test_text_fields_are_counted_and_never_readings(tmp_path: Path) -> None:
    assert read(tmp_path, EXPORT).missing[TEXT_FIELDS] == {"text": 1}


def test_a_damaged_line_is_counted_with_its_number(tmp_path: Path) -> None:
    # The text before it takes two lines of the file.
    assert read(tmp_path, EXPORT).problems == [(12 + 1, "time_malformed")]


def test_lines_are_read_the_same_from_gzip(tmp_path: Path) -> None:
    plain, packed = read(tmp_path, EXPORT), read(tmp_path, gzip.compress(EXPORT.encode()), "file.gz")
    assert packed.readings == plain.readings


@pytest.mark.parametrize(
    ("digits", "precision"), [("", "seconds"), ("000", "ms"), ("000000", "us"), ("0" * 9, "ns")]
)
def test_the_precision_of_lines_without_a_header_shows_in_their_first_time(
    tmp_path: Path, digits: str, precision: str
) -> None:
    found = read(tmp_path, f"grid power=1 1609459200{digits}\ngrid power=2 1609459260{digits}\n")
    assert found.readings == {"grid.power": [(NEW_YEAR, 1.0), (NEW_YEAR + 60 * SECOND, 2.0)]}, precision


def test_one_entity_with_two_units_becomes_two_metrics(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "W,domain=sensor,entity_id=grid value=1200 1609459200000000000\n"
        "kW,domain=sensor,entity_id=grid value=1.3 1609459260000000000\n",
    )
    assert found.readings == {
        "sensor.grid": [(NEW_YEAR, 1200.0)],
        "kW{domain=sensor,entity_id=grid}": [(NEW_YEAR + 60 * SECOND, 1.3)],
    }


def test_the_same_series_of_two_databases_become_two_metrics(tmp_path: Path) -> None:
    context = "# CONTEXT-DATABASE:{}\n# CONTEXT-RETENTION-POLICY:autogen\ngrid power={} 1609459200000000000\n"
    found = read(tmp_path, "# DML\n" + context.format("raw", 1) + context.format("hourly", 2))
    assert found.readings == {
        "grid.power": [(NEW_YEAR, 1.0)],
        "hourly.autogen: grid.power": [(NEW_YEAR, 2.0)],
    }


FIELD_VALUES = st.floats(allow_nan=False, allow_infinity=False, width=64).filter(lambda x: abs(x) < 1e100)
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=8).filter(
    lambda text: "\\" not in text and '"' not in text and not text.startswith("#")
)


def escaped(text: str) -> str:
    return "".join(f"\\{each}" if each in ",= " else each for each in text)


@given(
    points=st.lists(
        st.tuples(NAMES, NAMES, FIELD_VALUES, st.integers(946_684_800, 4_102_444_799), st.booleans()),
        min_size=1, max_size=20,
    ),
    cut=st.integers(1, 60),
)  # fmt: skip
def test_any_cut_of_the_bytes_gives_the_same_rows(
    points: list[tuple[str, str, float, int, bool]], cut: int
) -> None:
    text = "# DML\n"
    for tag, field, value, second, has_text in points:
        extra = ',note="two\nlines"' if has_text else ""
        text += f"m,t={escaped(tag)} {escaped(field)}={value!r}{extra} {second}000000000\n"
    data = text.encode()

    def rows(pieces: list[bytes]) -> list[bytes]:
        content = Content(Path("unused"), lambda: iter(pieces), "", "file")
        return b"".join(line_protocol.LINE_PROTOCOL.convert(content)).splitlines()

    whole = rows([data])
    assert sorted(rows([data[at : at + cut] for at in range(0, len(data), cut)])) == sorted(whole)
    assert len(whole) == 1 + len(points) + sum(has_text for *_, has_text in points)


TABLES = """\
#group,false,false,true,true,false,false,true,true,true
#datatype,string,long,dateTime:RFC3339,dateTime:RFC3339,dateTime:RFC3339,double,string,string,string
#default,_result,,,,,,,,
,result,table,_start,_stop,_time,_value,_field,_measurement,host
,,0,2020-01-01T00:00:00Z,2022-01-01T00:00:00Z,2021-01-01T00:00:00.123456789Z,1.5,power,grid,a
,,0,2020-01-01T00:00:00Z,2022-01-01T00:00:00Z,2021-01-01T00:00:01Z,,power,grid,a

,result,table,_start,_stop,_time,_value,_field,_measurement,host
,,1,2020-01-01T00:00:00Z,2022-01-01T00:00:00Z,2021-01-01T01:00:00+01:00,2.5,power,grid,b

#group,false,false,false,false,true,true
#datatype,string,long,dateTime:RFC3339,unsignedLong,string,string
#default,largest,,,,,
,result,table,_time,_value,_field,_measurement
,,0,2021-01-01T00:00:00Z,18446744073709551615,power,grid

#group,false,false,false,false,true,true
#datatype,string,long,dateTime:RFC3339,boolean,string,string
#default,_result,,,,,
,result,table,_time,_value,_field,_measurement
,,0,2021-01-01T00:00:00Z,true,value,switch

#group,false,false,false,false,true,true
#datatype,string,long,dateTime:RFC3339,string,string,string
#default,_result,,,,,
,result,table,_time,_value,_field,_measurement
,,0,2021-01-01T00:00:00Z,heating,mode,switch

#group,false,false,false,true,false,false
#datatype,string,long,dateTime:RFC3339,string,double,long
#default,_result,,,,,
,result,table,_time,_measurement,used,free
,,0,2021-01-01T00:00:00Z,memory,7.25,8
,,0,2021-01-01T00:00:01Z,memory,7.25
"""


def test_annotated_csv_is_read_table_by_table_and_yield_by_yield(tmp_path: Path) -> None:
    found = read(tmp_path, TABLES)
    assert found.readings == {
        "grid.power{host=a}": [(NEW_YEAR + 123_456, 1.5)],
        "grid.power{host=b}": [(NEW_YEAR, 2.5)],
        "grid.power.largest": [(NEW_YEAR, float(2**64 - 1))],
        "switch": [(NEW_YEAR, 1.0)],
        "memory.used": [(NEW_YEAR, 7.25)],
        "memory.free": [(NEW_YEAR, 8.0)],
    }
    assert found.missing["grid.power{host=a}"] == {"": 1}
    assert found.missing[TEXT_FIELDS] == {"text": 1}
    assert found.problems == [(TABLES.count("\n"), "time_malformed")]


def test_an_error_of_the_query_ends_the_file_behind_its_readings(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text(
        TABLES + "\n#datatype,string,string\n#group,true,true\n#default,,\n,error,reference\n,timeout,897\n"
    )
    content = FileSource(path).chunks()
    rows = b""
    with pytest.raises(UnreadableFile, match=r"ended with an error .*timeout 897"):
        for chunk in content:
            rows += chunk
    assert rows.count(b"\n") > 8


def test_a_result_without_annotations_is_read_by_its_names(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        ",result,table,_start,_stop,_time,_value,_field,_measurement,host\n"
        ",_result,0,2020-01-01T00:00:00Z,2022-01-01T00:00:00Z,2021-01-01T00:00:00Z,1.5,power,grid,a\n"
        ",_result,1,2020-01-01T00:00:00Z,2022-01-01T00:00:00Z,2021-01-01T00:00:00Z,2.5,power,grid,b\n",
    )
    assert found.readings == {
        "grid.power{host=a}": [(NEW_YEAR, 1.5)],
        "grid.power{host=b}": [(NEW_YEAR, 2.5)],
    }


def test_csv_of_the_shell_has_its_series_and_times(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "name,tags,time,value,on,note\n"
        'W,"domain=sensor,entity_id=grid",1609459200123456789,5,true,"a, b"\n'
        "\n"
        "name,tags,time,power\n"
        "pump,room=,2021-01-01T00:00:00.5Z,1.25\n"
        "pump,room=a\n",
    )
    assert found.readings == {
        "sensor.grid": [(NEW_YEAR + 123_456, 5.0)],
        "sensor.grid.on": [(NEW_YEAR + 123_456, 1.0)],
        "pump.power": [(NEW_YEAR + SECOND // 2, 1.25)],
    }
    assert found.missing[TEXT_FIELDS] == {"text": 1}
    assert found.problems == [(6, "time_malformed")]


EXPOSITION = """\
# HELP heat_joules_total Heat.
# TYPE heat_joules_total counter
heat_joules_total{room="the \\"big\\" one",floor="1,2"} 1.5e3 1609459200123
heat_joules_total NaN 1609459200123
# TYPE power_watts gauge
power_watts 5 1609459200000
homeassistant_sensor_power_w{domain="sensor",entity="sensor.grid",friendly_name="Grid"} 7 1609459200000
power_watts 5
this is no sample at all
"""


def test_text_of_prometheus_has_its_kinds_and_units(tmp_path: Path) -> None:
    found = read(tmp_path, EXPOSITION)
    assert found.readings == {
        'heat_joules_total{floor=1\\,2,room=the "big" one}': [(NEW_YEAR + 123_000, 1500.0)],
        "power_watts": [(NEW_YEAR, 5.0)],
        "sensor.grid": [(NEW_YEAR, 7.0)],
    }
    assert [found.units[name] for name in ("power_watts", "sensor.grid")] == ["W", "W"]
    assert [found.kinds[name] for name in ("power_watts", "heat_joules_total")] == ["gauge", "counter"]
    assert found.missing["heat_joules_total"] == {"NaN": 1}
    assert [line for line, _ in found.problems] == [8, 9]


def test_times_of_openmetrics_are_seconds(tmp_path: Path) -> None:
    found = read(
        tmp_path, "# TYPE power_watts gauge\n# UNIT power_watts watts\npower_watts 5 1609459200.5\n# EOF\n"
    )
    assert found.readings == {"power_watts": [(NEW_YEAR + SECOND // 2, 5.0)]}


def exported(labels: dict[str, str], values: list[object], times: list[int]) -> str:
    """Return a series as VictoriaMetrics exports it."""
    return json.dumps({"metric": labels, "values": values, "timestamps": times}, separators=(",", ":")) + "\n"


def test_an_export_of_victoria_metrics_has_its_series(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        exported(
            {"__name__": "W_value", "db": "ha", "domain": "sensor", "entity_id": "grid"},
            [1, 2.5, None, "Infinity"],
            [1609459200123, 1609459201000, 1609459202000, 1609459203000],
        )
        + exported({"__name__": "up", "job": "a{b}"}, [1], [1609459200000])
        + '{"metric":{"__name__":"up"},"values":[1,2],"timestamps":[1609459200000]}\n',
    )
    assert found.readings == {
        "sensor.grid": [(NEW_YEAR + 123_000, 1.0), (NEW_YEAR + SECOND, 2.5)],
        "up{job=a\\{b\\}}": [(NEW_YEAR, 1.0)],
    }
    assert found.units["sensor.grid"] == "W"
    assert found.missing["sensor.grid"] == {"": 1}
    assert found.problems == [(1, "value_type"), (3, "time_malformed")]


@pytest.mark.parametrize(
    "head",
    [
        b"time,power\n2021-01-01T00:00:00Z,5\n",
        b"2021-01-01 00:00 power=5 state=on\n",
        b"timestamp power\n1609459200 5\n",
        b"# comment\n1609459200 5 6\n",
        b"power 5 1609459200\n",
        b'{"metric":"power","values":[1]}\n',
        b'"time","metric","value"\n2021-01-01T00:00:00Z,"a",1\n',
    ],
)
def test_other_text_is_none_of_these_formats(head: bytes) -> None:
    found = registry.find_format(head)
    assert found is None or found.name not in registry.CONVERTERS
