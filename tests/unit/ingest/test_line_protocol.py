"""Line protocol of any shape: what was written is read, and both paths read the same."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.ingest.access.tokens import Grant
from joulebook.ingest.packets import TooManyReadings
from joulebook.ingest.wires.line_protocol.lines import PRECISIONS_V1, LineRules, parse_lines
from joulebook.telemetry.readings import to_microseconds

NOW = to_microseconds(datetime(2026, 11, 21, 12, tzinfo=UTC))
OLDEST = to_microseconds(datetime(2000, 1, 1, tzinfo=UTC))
OWN = Grant(token="t", devices=frozenset({"meter"}), device_id="meter")
GATEWAY = Grant(token="t", devices=frozenset({"meter", "inverter"}), device_id=None)
T = 1_772_366_400_000_000_000


def rules(grant: Grant = OWN, *, precision: str = "ns", most: int = 1000) -> LineRules:
    return LineRules(
        grant=grant,
        arrived_at=NOW,
        oldest=OLDEST,
        most_readings=most,
        precision=PRECISIONS_V1[precision],
    )


def rows(readings) -> list[tuple[int, str, str, int, float]]:
    return [
        (
            readings.packet[row],
            *readings.keys[readings.key[row]],
            readings.time[row],
            readings.value[row],
        )
        for row in range(len(readings.time))
    ]


def read(body: bytes | str, grant: Grant = OWN, **asked) -> dict[str, float]:
    """Parse a body in which everything is good; return {metric: value}."""
    readings = parse_lines(body.encode() if isinstance(body, str) else body, rules(grant, **asked))
    assert readings.rejected == []
    return {metric: value for _, _, metric, _, value in rows(readings)}


def refused(body: bytes | str, grant: Grant = OWN, **asked) -> list[tuple[int, str]]:
    readings = parse_lines(body.encode() if isinstance(body, str) else body, rules(grant, **asked))
    return [(one.index, one.code) for one in readings.rejected]


# What may stand in a name: no line ends, which the format cannot carry, and no backslash at the end.
names = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\\"),
    min_size=1,
    max_size=6,
).filter(lambda name: name == name.strip() and not name.startswith("#"))
texts = st.text(st.sampled_from('ab",= \\\n#'), max_size=12)
numbers = st.one_of(
    st.floats(-1e100, 1e100).map(lambda value: (repr(value), value)),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: (f"{value}i", float(value))),
    st.integers(0, 2**64 - 1).map(lambda value: (f"{value}u", float(value))),
    st.sampled_from(["t", "T", "true", "True", "TRUE"]).map(lambda text: (text, 1.0)),
    st.sampled_from(["f", "F", "false", "False", "FALSE"]).map(lambda text: (text, 0.0)),
)
strings = texts.map(lambda text: ('"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"', None))
points = st.tuples(
    names,
    st.dictionaries(
        names.filter(lambda name: name not in {"device", "device_id", "host"}), names, max_size=3
    ),
    st.dictionaries(names, numbers | strings, min_size=1, max_size=4),
    st.integers(OLDEST, NOW),
)


def escaped(name: str, characters: str) -> str:
    return re.sub(f"([{characters}])", r"\\\1", name)


def written(point) -> str:
    measurement, tags, fields, time = point
    head = escaped(measurement, ", ") + "".join(
        f",{escaped(key, ',= ')}={escaped(value, ',= ')}" for key, value in tags.items()
    )
    pairs = ",".join(escaped(key, ",= ") + "=" + text for key, (text, _) in fields.items())
    return f"{head} {pairs} {time * 1000}"


def expected(index: int, point) -> list[tuple[int, str, str, int, float]]:
    measurement, tags, fields, time = point
    suffix = ",".join(
        f"{escaped(key, ',={}')}={escaped(value, ',={}')}" for key, value in sorted(tags.items())
    )
    suffix = f"{{{suffix}}}" if suffix else ""
    return [
        (index, "meter", f"{measurement}{'' if key == 'value' else '.' + key}{suffix}", time, value)
        for key, (_, value) in fields.items()
        if value is not None
    ]


@given(st.lists(points, max_size=6), st.booleans())
def test_every_number_that_was_written_is_read(many, fast):
    lines = [written(point) for point in many]
    readings = parse_lines("\n".join(lines).encode(), rules(), fast=fast)
    assert readings.rejected == []
    starts = [sum(line.count("\n") + 1 for line in lines[:index]) for index in range(len(lines))]
    assert rows(readings) == [
        row for start, point in zip(starts, many, strict=True) for row in expected(start, point)
    ]


pieces = st.sampled_from(
    [
        *'mdx19=,. -+_#"\\\n\t\r',
        "i",
        "u",
        "t",
        "nan",
        "1e9",
        "e400",
        f" {T}",
        "m f=1",
        ",host=a",
        "=1",
        "µ",
        "\x00",
    ]
) | st.sampled_from([b"\xff", b"\x1c"]).map(lambda raw: raw.decode("latin-1"))
plausible = st.tuples(
    st.sampled_from(["m", "m,a=b", "m,host=meter", "m,device=no", "m,a=b,a=c", "m,a", "m\\ n", "", "#"]),
    st.sampled_from([" ", "  ", " \t", ""]),
    st.lists(
        st.tuples(
            st.sampled_from(["f", "\tf", "value", "a.b", "", '"', "\\="]),
            st.sampled_from(["="]) | st.sampled_from(["", "=="]),
            st.sampled_from(
                [
                    "1",
                    "-1",
                    "+1",
                    "1.",
                    ".5",
                    "-.5",
                    ".",
                    "-",
                    "1_0",
                    "1i",
                    "-1i",
                    "1.5i",
                    "9" * 19 + "i",
                    "0x1",
                    "9" * 25 + "i",
                    "1u",
                    "-1u",
                    "t",
                    "tr",
                    "NaN",
                    "-inf",
                    "1e5",
                    "1E-5",
                    "1e",
                    "1e999",
                    "\t1",
                    '"x"\t',
                    "1\r",
                    '"x"',
                    '"',
                    '"a b"',
                    '"a\nm f=1"',
                    '"\\""',
                    '"x"y',
                    "",
                    "1\\",
                ]
            ),
        ).map("".join),
        min_size=1,
        max_size=3,
    ).map(",".join),
    st.sampled_from(
        ["", " ", "\r", f" {T}", f"  {T}", f" {T} ", f" {T}\r", f" -{T}", " 1", " 1.5", f" {T}0", f" {T} 1"]
    ),
).map("".join)


@given(st.lists(plausible, max_size=5).map("\n".join) | st.lists(pieces, max_size=30).map("".join))
def test_the_fast_path_reads_what_the_slow_one_reads(text):
    body = text.encode("latin-1", "replace")
    quick, careful = parse_lines(body, rules()), parse_lines(body, rules(), fast=False)
    assert quick == careful
    assert quick.keys == list(dict.fromkeys(quick.keys))
    assert set(quick.key) == set(range(len(quick.keys)))


@given(st.lists(plausible, min_size=1, max_size=5).map("\n".join))
def test_a_bad_line_never_costs_the_good_ones_around_it(text):
    readings = parse_lines(f"before f=1 {T}\n".encode() + text.encode(), rules())
    assert readings.keys[0] == ("meter", "before.f")
    # After a closed line: what an open quote would swallow is another question.
    if '"' not in text:
        readings = parse_lines(text.encode() + f"\nafter f=1 {T}".encode(), rules())
        assert readings.keys[-1] == ("meter", "after.f")


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parser(body):
    readings = parse_lines(body, rules())
    assert all(one.index <= body.count(b"\n") for one in readings.rejected)


def test_measurement_and_field_make_the_metric():
    body = f"cpu usage_idle=98.5,usage_user=1 {T}\npower value=5i {T}"
    assert read(body) == {"cpu.usage_idle": 98.5, "cpu.usage_user": 1, "power": 5}


def test_lines_that_differ_in_one_tag_are_different_metrics():
    body = f"cpu,rack=a,cpu=cpu0 idle=1 {T}\ncpu,cpu=cpu1,rack=a idle=2 {T}\ncpu idle=3 {T}"
    assert read(body) == {"cpu.idle{cpu=cpu0,rack=a}": 1, "cpu.idle{cpu=cpu1,rack=a}": 2, "cpu.idle": 3}


def test_the_order_of_tags_does_not_matter():
    assert set(read(f"m,b=2,a=1 value=1 {T}\nm,a=1,b=2 value=2 {T}")) == {"m{a=1,b=2}"}


def test_tags_with_separators_in_them_are_not_taken_for_other_tags():
    body = f"m,a=1\\,b\\=2 value=1 {T}\nm,a=1,b=2 value=2 {T}"
    assert read(body) == {r"m{a=1\,b\=2}": 1, "m{a=1,b=2}": 2}


@pytest.mark.parametrize(
    ("precision", "stamp"),
    [
        ("n", T + 999),
        ("ns", T + 999),
        ("u", T // 1000),
        ("us", T // 1000),
        ("µ", T // 1000),
        ("ms", T // 10**6),
        ("s", T // 10**9),
        ("m", T // (60 * 10**9)),
        ("h", T // (3600 * 10**9)),
    ],
)
def test_times_are_read_in_each_precision(precision, stamp):
    readings = parse_lines(f"m v=1 {stamp}\nm v=1 {stamp}\r".encode(), rules(precision=precision))
    assert readings.rejected == []
    assert readings.time == [T // 1000] * 2


def test_lines_without_a_time_are_placed_at_their_arrival_a_microsecond_apart():
    assert parse_lines(b"m v=1\nm v=2\r\nm v=3", rules()).time == [NOW, NOW + 1, NOW + 2]


@pytest.mark.parametrize(
    ("stamp", "code"),
    [
        (f"{T}0", "line_invalid"),
        (f"{T + 10**18}", "time_future"),
        ("1", "time_past"),
        (f"-{T}", "time_past"),
        ("1.5", "line_invalid"),
        ("now", "line_invalid"),
        (f"{T} {T}", "line_invalid"),
    ],
)
def test_a_time_that_cannot_be_used_is_refused(stamp, code):
    assert refused(f"m v=1 {stamp}\nm v=1 {T}") == [(0, code)]


def test_comments_and_blank_lines_are_passed_over():
    body = f"# power v=1\n\n   \r\n  # x\n  m v=1 {T}\n\n#"
    assert read(body) == {"m.v": 1}
    assert refused("# a\n\nbad\n") == [(2, "line_invalid")]


def test_text_is_passed_over_whatever_it_holds():
    body = f'm a="x",v=1,b="com,ma = \\"quoted\\" \\\\",c="two\nlines m v=7 {T}" {T}\nm w=2 {T}'
    readings = parse_lines(body.encode(), rules())
    assert (readings.rejected, readings.packet) == ([], [0, 2])
    assert read(body) == {"m.v": 1, "m.w": 2}
    assert read(f'm a="only" {T}') == {}


def test_a_quote_that_is_not_closed_costs_its_line_only():
    body = f'm a="x {T}\nm v=1 {T}\nm b="y",v=2 {T}\nm v=3 {T}'
    readings = parse_lines(body.encode(), rules())
    assert [(one.index, one.code) for one in readings.rejected] == [(0, "line_invalid")]
    assert readings.value == [1, 2, 3]


def test_text_inside_a_bad_line_is_not_read_as_lines():
    readings = parse_lines(f'm v=oops,a="x\nm v=666 {T}\n" {T}\nm v=1 {T}'.encode(), rules())
    assert [(one.index, one.code) for one in readings.rejected] == [(0, "line_invalid")]
    assert readings.value == [1]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("-1.5", -1.5), ("1.", 1), (".5", 0.5), ("-.5", -0.5), ("1e3", 1000), ("1.5E-3", 0.0015), ("1e+3", 1000),
        ("7i", 7), ("-7i", -7), ("9223372036854775807i", 2.0**63), ("18446744073709551615u", 2.0**64), ("T", 1), ("false", 0),
    ],
)  # fmt: skip
def test_numbers_of_every_kind_are_read(text, value):
    assert read(f"m v={text} {T}") == {"m.v": value}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("NaN", "value_not_finite"),
        ("-inf", "value_not_finite"),
        ("1e999", "value_not_finite"),
        ("-1e101", "value_not_finite"),
        ("9223372036854775808i", "line_invalid"),
        ("18446744073709551616u", "line_invalid"),
        ("-1u", "line_invalid"),
        ("1.5i", "line_invalid"),
        ("1_000", "line_invalid"),
        ("0x10", "line_invalid"),
        ("+1", "line_invalid"),
        ("tRUE", "line_invalid"),
        ("", "line_invalid"),
        ("off", "line_invalid"),
    ],
)
def test_what_is_no_number_is_refused_with_its_line(text, code):
    body = f"m v={text},w=2 {T}\nm w=1 {T}"
    assert refused(body) == [(0, code)]
    # Nothing of a refused line becomes a series.
    assert parse_lines(body.encode(), rules()).keys == [("meter", "m.w")]


@pytest.mark.parametrize(
    "line", ["m", "m ", ",a=b v=1", "m,a v=1", "m,a= v=1", "m,=b v=1", "m,a=b,a=c v=1", "m,a=b=c v=1", "m v", "m =1", "m v=1,", "m v=1 w=2"]
)  # fmt: skip
def test_a_line_that_is_no_point_is_refused(line):
    assert refused(f"{line}\nm v=1 {T}") == [(0, "line_invalid")]


def test_escapes_are_taken_off():
    body = rf"my\ meter\,x,ta\ g=v\=al v\ 1=1,v\,2\=\"=2 {T}"
    assert read(body) == {r"my meter,x.v 1{ta g=v\=al}": 1, r'my meter,x.v,2="{ta g=v\=al}': 2}


def test_a_backslash_before_anything_else_stays():
    assert read(rf"c:\temp,path=d:\x value=1 {T}") == {r"c:\temp{path=d:\\x}": 1}


def test_bytes_that_are_no_utf8_cost_their_line_or_field_only():
    assert refused(b"m\xff v=1\nm,a=\xff v=1\nm v=1,\xff=2\nm v=1") == [
        (0, "line_invalid"),
        (1, "line_invalid"),
        (2, "metric_name"),
    ]


def test_what_influxdb_reads_is_read_alike():
    """Each of these was found by giving the same lines to InfluxDB."""
    assert read(f"m,a==b,c== v=1 {T}") == {r"m.v{a=\=b,c=\=}": 1}
    assert read(f"m \tv=1,w=2 {T}") == {"m.v": 1, "m.w": 2}
    assert read(f'a\\"b,t=\\"c v=1 {T}') == {r'a"b.v{t=\\"c}': 1}
    assert parse_lines(f"m v=1 00{T}".encode(), rules()).time == [T // 1000]
    assert refused(f"m,a=b=c v=1 {T}\nm,a=\\==b= v=1 {T}") == [(0, "line_invalid"), (1, "line_invalid")]
    assert refused(f'm v=1,t="x"\t{T}') == [(0, "line_invalid")]


def test_a_measurement_with_its_tags_has_as_many_bytes_as_in_influxdb():
    assert refused(f"m,a={'x' * 65_531} v=1 {T}\n{'m' * 65_536} v=1 {T}\nm v=1 {T}") == [
        (0, "metric_name"),
        (1, "line_invalid"),
    ]


def test_a_metric_name_that_is_too_long_costs_only_itself():
    readings = parse_lines(f"m,a=b {'x' * 200}=1,v=2 {T}".encode(), rules())
    assert [(one.index, one.code) for one in readings.rejected] == [(0, "metric_name")]
    assert "leave out tags" in readings.rejected[0].message
    assert readings.keys == [("meter", "m.v{a=b}")]


@pytest.mark.parametrize(
    "body",
    [
        b"m a=1,b=2\n" * 6,
        b"m " + b",".join(b"f%d=1" % number for number in range(11)),
        b'm a="x"\n' * 11,
        b"bad\n" * 11,
        b"m " + b",".join(b"f%d=1" % number for number in range(20_000)),
        b"m " + b",".join([b'f="x"'] * 11),
        b"m " + b",".join([b"f=x"] * 11),
    ],
    ids=["readings", "fields", "lines", "bad lines", "a long line", "texts", "bad fields"],
)
@pytest.mark.parametrize("fast", [True, False])
def test_more_than_a_request_may_hold_is_refused_whole(body, fast):
    with pytest.raises(TooManyReadings):
        parse_lines(body, rules(most=10), fast=fast)
