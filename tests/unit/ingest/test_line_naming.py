"""Which device and metric a line writes for: by default, and by an installation's own rule."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.config import VARIABLES, Config, ConfigError
from joulebook.ingest.access.tokens import Grant
from joulebook.ingest.commit.columns import Readings
from joulebook.ingest.wires.line_protocol.lines import LineRules, parse_lines
from joulebook.ingest.wires.line_protocol.naming import DEVICE_TAGS, LineNaming
from joulebook.telemetry.line_protocol.naming import METRIC
from joulebook.telemetry.readings import to_microseconds

NOW = to_microseconds(datetime(2026, 11, 21, 12, tzinfo=UTC))
T = 1_772_366_400_000_000_000
OWN = Grant(token="t", devices=frozenset({"meter"}), device_id="meter")
GATEWAY = Grant(token="t", devices=frozenset({"meter", "inverter"}), device_id=None)


def parse(body: str, grant: Grant = OWN, **setting: str) -> Readings:
    rules = LineRules(
        grant=grant, arrived_at=NOW, oldest=0, most_readings=10_000, naming=LineNaming(**setting)
    )
    return parse_lines(body.encode(), rules)


def read(body: str, grant: Grant = OWN, **setting: str) -> dict[tuple[str, str], list[float]]:
    """Parse a body in which everything is good; return {(device, metric): values}."""
    readings = parse(body, grant, **setting)
    assert readings.rejected == []
    found: dict[tuple[str, str], list[float]] = {}
    for key, value in zip(readings.key, readings.value, strict=True):
        found.setdefault(readings.keys[key], []).append(value)
    return found


def metrics(body: str, **setting: str) -> list[str]:
    return [metric for _, metric in read(body, **setting)]


class TestTheDevice:
    @pytest.mark.parametrize("tag", ["device_id", "device", "host"])
    def test_a_tag_names_one_of_the_tokens_devices_and_is_then_no_part_of_the_metric(self, tag):
        assert read(f"m,{tag}=inverter value=1 {T}", GATEWAY) == {("inverter", "m"): [1]}

    def test_a_tag_device_with_another_meaning_is_kept_in_the_metric(self):
        """Telegraf's inputs disk and smart name a disk in it."""
        body = f"disk,device=sda1,path=/ used=1 {T}\ndisk,device=sda2,path=/home used=2 {T}"
        assert read(body) == {
            ("meter", "disk.used{device=sda1,path=/}"): [1],
            ("meter", "disk.used{device=sda2,path=/home}"): [2],
        }

    def test_a_gateways_host_is_the_device_whatever_a_tag_device_means(self):
        assert read(f"disk,device=sda1,host=inverter used=1 {T}", GATEWAY) == {
            ("inverter", "disk.used{device=sda1}"): [1]
        }

    def test_two_hosts_on_one_devices_token_do_not_take_each_others_place(self):
        body = f"cpu,host=a usage=1 {T}\ncpu,host=b usage=2 {T}"
        assert read(body) == {("meter", "cpu.usage{host=a}"): [1], ("meter", "cpu.usage{host=b}"): [2]}

    def test_the_first_tag_of_the_setting_wins_and_the_others_stay_in_the_metric(self):
        assert read(f"m,host=meter,device=inverter v=1 {T}", GATEWAY) == {
            ("inverter", "m.v{host=meter}"): [1]
        }
        assert read(f"m,host=meter,device=inverter v=1 {T}", GATEWAY, device_tags="host,device") == {
            ("meter", "m.v{device=inverter}"): [1]
        }

    def test_a_tag_of_ones_own_names_the_device(self):
        assert read(f"W,entity_id=inverter value=1 {T}", GATEWAY, device_tags="entity_id") == {
            ("inverter", "W"): [1]
        }

    @pytest.mark.parametrize(
        ("tags", "grant", "setting"),
        [
            (",device_id=other", OWN, DEVICE_TAGS),
            (",device_id=other,device=meter", OWN, DEVICE_TAGS),
            (",device_id=other,host=meter", GATEWAY, DEVICE_TAGS),
            (",host=other", OWN, "device,host!"),
            (",device=sda1,host=other", GATEWAY, DEVICE_TAGS),
            (",device=other", GATEWAY, DEVICE_TAGS),
            (",host=meter", GATEWAY, "device"),
            ("", GATEWAY, DEVICE_TAGS),
        ],
    )
    def test_a_line_that_belongs_to_none_of_the_tokens_devices_is_refused(self, tags, grant, setting):
        readings = parse(f"m{tags} v=1 {T}\nm,device=meter v=2 {T}", grant, device_tags=setting)
        assert [(one.index, one.code) for one in readings.rejected] == [(0, "device_not_allowed")]
        assert readings.value == [2]

    def test_the_refusal_says_what_the_line_held_and_what_it_should_hold(self):
        (refused,) = parse(f"m,device=sda1,host=web v=1 {T}", GATEWAY).rejected
        assert refused.message == (
            "this token writes for several devices; name one in the tag device_id, device or host "
            "(device 'sda1' and host 'web' names none of them)"
        )


class TestTheMetric:
    @pytest.mark.parametrize(
        ("pattern", "line", "metric"),
        [
            (METRIC, "power,room=cellar value=1", "power{room=cellar}"),
            (METRIC, "power,room=cellar now=1", "power.now{room=cellar}"),
            ("{measurement}.{name}.{field}{tags}", "modbus,name=pv,type=hold u=1", "modbus.pv.u{type=hold}"),
            ("{measurement}.{name}.{field}", "modbus,name=pv,type=hold u=1", "modbus.pv.u"),
            ("{measurement}.{name}.{field}", "power value=1", "power"),
            ("{measurement}.{name}.{field}", "cpu,cpu=cpu0 idle=1", "cpu.idle{cpu=cpu0}"),
            ("{domain}.{entity_id}.{field}", "W,domain=sensor,entity_id=grid value=1", "sensor.grid"),
            ("{domain}.{entity_id}.{field}", "W,domain=sensor,entity_id=grid soc=1", "sensor.grid.soc"),
            ("{field}.{room}", "t,room=hall value=1", "hall"),
            ("{field}", "t value=1", "value"),
            ("{field}{tags}", "t,a=b value=1", "value{a=b}"),
            ("{field} of {room}".replace(" ", "_"), "t,room=hall temp=1", "temp_of_hall"),
            ("{a}/{field} {b}/{field}", "t,b=x,c=y v=1", "x/v"),
            ("{0}.{field}", "t,0=zero v=1", "zero.v"),
            ("{a.b}-{field}", "t,a.b=dot v=1", "dot-v"),
        ],
    )
    def test_a_pattern_names_it(self, pattern, line, metric):
        assert metrics(f"{line} {T}", metric=pattern) == [metric]

    @pytest.mark.parametrize(
        "pattern", ["{measurement}", "{field}.{field}", "{field", "field}", "{}{field}", "x", "{{field}}"]
    )
    def test_a_pattern_that_cannot_be_used_is_refused_with_its_name_and_value(self, pattern):
        with pytest.raises(ConfigError, match="JOULEBOOK_LINE_PROTOCOL_METRIC="):
            LineNaming(metric=f"{METRIC} {pattern}")

    @pytest.mark.parametrize("tags", ["", "a,,b", "!", "a!!", ","])
    def test_a_list_of_tags_that_cannot_be_used_is_refused(self, tags):
        with pytest.raises(ConfigError, match="JOULEBOOK_LINE_PROTOCOL_DEVICE_TAGS="):
            LineNaming(device_tags=tags)

    def test_the_defaults_are_those_of_the_configuration(self):
        defaults = {variable.name: variable.default for variable in VARIABLES}
        assert defaults["JOULEBOOK_LINE_PROTOCOL_DEVICE_TAGS"] == DEVICE_TAGS
        assert defaults["JOULEBOOK_LINE_PROTOCOL_METRIC"] == METRIC
        assert Config.from_environ({}).line_protocol_metric == METRIC


class TestPointsThatFallOnOneSeries:
    """Only a rule that leaves tags out can bring them there, or names that hold separators."""

    def test_the_later_is_refused_and_says_which_line_has_the_place(self):
        body = f"cpu,cpu=cpu0 idle=1 {T}\ncpu,cpu=cpu1 idle=2 {T}\ncpu,cpu=cpu1 idle=3 {T + 10**9}"
        readings = parse(body, metric="{measurement}.{field}")
        assert [(one.index, one.metric, one.code) for one in readings.rejected] == [
            (1, "cpu.idle", "conflict")
        ]
        assert "line 1 has other tags" in readings.rejected[0].message
        assert (readings.value, set(readings.key)) == ([1, 3], {0})

    def test_the_same_value_is_no_loss_and_not_refused(self):
        body = f"cpu,cpu=cpu0 idle=1 {T}\ncpu,cpu=cpu1 idle=1 {T}"
        assert parse(body, metric="{measurement}.{field}").rejected_total == 0

    def test_by_default_only_names_with_separators_can_do_so(self):
        readings = parse(f"a.b value=1 {T}\na b=2 {T}\na.b value=3 {T}")
        assert [(one.index, one.code) for one in readings.rejected] == [(1, "conflict")]
        assert readings.value == [1, 3]

    def test_the_last_value_of_one_point_still_wins(self):
        readings = parse(f"m,a=1,b=2 v=1 {T}\nm,b=2,a=1 v=2 {T}")
        assert (readings.rejected, readings.value, len(readings.keys)) == ([], [1, 2], 1)

    def test_a_line_without_the_device_and_one_with_it_are_two_points(self):
        readings = parse(f"m v=1 {T}\nm,device=meter v=2 {T}")
        assert [(one.index, one.code) for one in readings.rejected] == [(1, "conflict")]

    def test_many_of_them_cost_no_more_than_others(self):
        body = "\n".join(f"cpu,cpu={number} idle={number} {T}" for number in range(5_000))
        readings = parse(body, metric="{measurement}.{field}")
        assert (readings.rejected_total, readings.value) == (4_999, [0])


words = st.text("ab.{}=,\\", min_size=1, max_size=4).filter(lambda text: not text.endswith("\\"))
point = st.tuples(words, st.dictionaries(words, words, max_size=3), words)


def escaped(text: str) -> str:
    return text.replace(",", "\\,").replace("=", "\\=")


@given(st.lists(point, min_size=1, max_size=8, unique_by=repr))
def test_whatever_the_names_no_point_takes_anothers_place_unsaid(points):
    lines = []
    for number, (measurement, tags, name) in enumerate(points):
        head = measurement.replace(",", "\\,") + "".join(
            f",{escaped(k)}={escaped(v)}" for k, v in tags.items()
        )
        lines.append(f"{head} {escaped(name)}={number} {T}")
    readings = parse("\n".join(lines))
    kept = list(zip(readings.key, readings.time, strict=True))
    assert len(kept) == len(set(kept))
    assert len(kept) + readings.rejected_total == len(points)


@pytest.mark.parametrize(
    ("rule", "line", "units"),
    [
        ("auto", f"kWh,entity_id=x value=1,battery=5 {T}", ["kWh"]),
        ("auto", f"kWh value=1 {T}", []),
        ("auto", f"sensor,entity_id=x value=1 {T}", []),
        ("auto", f"a,unit=V value=1 {T}", ["V"]),
        ("auto", f"a,unit=north value=1 {T}", []),
        ("none", f"kWh,entity_id=x value=1 {T}", []),
        ("measurement", f"kWh value=1,other=2 {T}", ["kWh"]),
        ("measurement", f"odd value=1 {T}", ["odd"]),
        ("tag:u", f"a,u=kW x=1,y=2 {T}", ["kW", "kW"]),
        ("tag:u", f"a x=1 {T}", []),
    ],
)
def test_a_line_names_its_unit_by_the_rule(rule, line, units):
    for fast in (True, False):
        rules = LineRules(OWN, arrived_at=NOW, oldest=0, most_readings=100, naming=LineNaming(unit=rule))
        assert list(parse_lines(f"{line}\n{line}".encode(), rules, fast=fast).units.values()) == units


@pytest.mark.parametrize("rule", ["", "tag", "tag:", "field", "auto:x"])
def test_a_rule_for_units_that_is_none_is_refused(rule):
    with pytest.raises(ConfigError, match="JOULEBOOK_LINE_PROTOCOL_UNIT"):
        LineNaming(unit=rule)
