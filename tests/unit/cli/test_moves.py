"""A move: what it downloads again, and which targets series get."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.cli.moves.influx import points_as_lines
from joulebook.cli.moves.plan import Planned, Planner, read_targets, series_name, write_targets
from joulebook.cli.moves.server import Http, Listed, Staging, UnableToMove
from joulebook.telemetry.files.formats.format import Content
from joulebook.telemetry.files.formats.line_protocol import convert_lines
from joulebook.telemetry.files.formats.named_series import Origin, SeriesNames
from joulebook.telemetry.imports.totals import SeriesTotals
from joulebook.telemetry.line_protocol.naming import METRIC


class ThreeParts:
    """A server with three parts, of which the second one fails at first."""

    identity = "three"

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def list_series(self, until: int) -> list[Listed]:
        return []

    def parts(self, until: int) -> dict[str, int]:
        return {"a": 1, "b": 1, "c": 1}

    def download(self, part: str, until: int) -> Iterator[bytes]:
        self.asked.append((part, until))
        yield f"{part} begins\n".encode()
        if part == "b" and len(self.asked) == 2:
            raise UnableToMove("the server stopped answering")
        yield f"{part} ends\n".encode()


def test_an_interrupted_download_continues_up_to_the_same_instant(tmp_path: Path) -> None:
    server = ThreeParts()
    with pytest.raises(UnableToMove):
        Staging(tmp_path, server, now=1_000).fetch("home")
    again = Staging(tmp_path, server, now=2_000)
    file = again.fetch("home")
    assert server.asked == [("a", 1_000), ("b", 1_000), ("b", 1_000), ("c", 1_000)]
    text = gzip.decompress(file.read_bytes()).decode()
    assert text == "".join(f"{part} begins\n{part} ends\n" for part in "abc")
    assert again.fetch("home") == file
    assert len(server.asked) == 4
    again.remove()
    assert Staging(tmp_path, server, now=3_000).until == 3_000


NAME = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp", "Zs"]), min_size=1, max_size=9
)
AWKWARD = st.one_of(NAME, st.sampled_from(["a b", "a,b", "a=b", 'a"b', "a\\b", "ä ,= b"])).filter(
    lambda name: not name.endswith("\\") and name[0] not in "#="
)


@given(measurement=AWKWARD, tag=AWKWARD, text=AWKWARD, field=AWKWARD, value=st.floats(-1e99, 1e99))
def test_points_of_the_query_api_are_the_same_series_as_lines(
    measurement: str, tag: str, text: str, field: str, value: float
) -> None:
    series = {"tags": {tag: text}, "columns": ["time", field], "values": [[1_609_459_200_000_000_000, value]]}
    lines = b"# DML\n" + points_as_lines(measurement, series)
    names = SeriesNames()
    rows = b"".join(convert_lines(Content(Path("unused"), lambda: iter([lines]), "", "file"), names))
    (found,) = names.by_metric.values()
    assert found.origin == Origin(measurement, ((tag, text),), field)
    assert rows.decode().rstrip("\n").endswith(f",{value!r}")


def listed(*origins: Origin) -> list[Listed]:
    names = SeriesNames()
    return [Listed(names.find(origin), SeriesTotals(1)) for origin in origins]


def planner(
    *,
    device: str | None = "home",
    given: Mapping[str, tuple[str, str, str]] | None = None,
    patterns: str = METRIC,
) -> Planner:
    return Planner(devices=frozenset({"home", "cellar"}), device=device, patterns=patterns, given=given or {})


def targets(planned: list[Planned]) -> list[tuple[str, str, str]]:
    return [(each.device, each.metric, each.unit) for each in planned]


ENTITY = (("domain", "sensor"), ("entity_id", "grid"))


def test_a_tag_that_names_a_device_is_no_part_of_the_metric() -> None:
    series = listed(
        Origin("pump", (("host", "cellar"), ("room", "a")), "power"),
        Origin("pump", (("host", "else"),), "power"),
    )
    assert targets(planner().plan(series)) == [
        ("cellar", "pump.power{room=a}", ""),
        ("home", "pump.power{host=else}", ""),
    ]


def test_a_series_without_a_device_is_refused_by_its_name() -> None:
    with pytest.raises(UnableToMove, match="such as 'pump,host=else power'; give --device ID"):
        planner(device=None).plan(listed(Origin("pump", (("host", "else"),), "power")))


def test_an_entity_with_two_units_has_two_metrics() -> None:
    found = planner().plan(listed(Origin("W", ENTITY, "value"), Origin("kW", ENTITY, "value")))
    assert targets(found) == [
        ("home", "sensor.grid", "W"),
        ("home", "kW{domain=sensor,entity_id=grid}", "kW"),
    ]


def test_the_installations_own_names_come_first() -> None:
    found = planner(patterns="{measurement}/{room}/{field}").plan(
        listed(Origin("pump", (("room", "a"),), "on"))
    )
    assert targets(found) == [("home", "pump/a/on", "")]


def test_one_target_for_two_units_is_refused() -> None:
    origins = [Origin("W", ENTITY, "value"), Origin("kW", ENTITY, "value")]
    given = {
        series_name(origin): ("home", "grid", origin.measurement) for origin in origins
    }  # fmt: skip
    with pytest.raises(UnableToMove, match="in 'W' and 'kW'"):
        planner(given=given).plan(listed(*origins))


def test_written_targets_are_read_back_the_same(tmp_path: Path) -> None:
    series = listed(Origin("W", ENTITY, "value"), Origin("pump, big", (("room", 'a "b"'),), "on"))
    planned = planner().plan(series)
    write_targets(tmp_path / "targets.csv", planned)
    again = planner(device=None, given=read_targets(tmp_path / "targets.csv")).plan(series)
    assert targets(again) == targets(planned)


def test_a_file_that_holds_no_targets_is_refused(tmp_path: Path) -> None:
    (tmp_path / "targets.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UnableToMove, match="has not the columns series"):
        read_targets(tmp_path / "targets.csv")


@pytest.mark.parametrize("url", ["ftp://host", "http://", "http://al:secret-word@host:8086"])
def test_an_address_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(UnableToMove) as refused:
        Http(url, login="", password="")
    assert "secret-word" not in str(refused.value)
