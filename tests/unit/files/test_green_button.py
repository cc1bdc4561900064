"""Green Button (ESPI) feeds: units, powers of ten, directions, several meters, and damage."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.telemetry.files.errors import UnreadableFile
from joulebook.telemetry.files.formats import green_button
from joulebook.telemetry.files.settings import Given, Target

from .reading_files import ReadFile, read_file

POINT = "/User/1/UsagePoint/1"
START = 1_767_225_600  # 2026-01-01T00:00:00Z


def entry(own: str, content: str, *related: str, up: str = "", title: str = "") -> str:
    links = f'<link rel="self" href="{own}"/>' if own else ""
    links += f'<link rel="up" href="{up}"/>' if up else ""
    links += "".join(f'<link rel="related" href="{href}"/>' for href in related)
    return f"<entry><id>urn:{own}</id>{links}<title>{title}</title><content>{content}</content></entry>\n"


def reading_type(own: str = "/ReadingType/1", **fields: object) -> str:
    given = {
        "accumulationBehaviour": 4, "commodity": 1, "dataQualifier": 12, "flowDirection": 1,
        "intervalLength": 900, "kind": 12, "powerOfTenMultiplier": 0, "uom": 72, **fields,
    }  # fmt: skip
    inner = "".join(f"<espi:{name}>{value}</espi:{name}>" for name, value in given.items())
    return entry(own, f"<espi:ReadingType>{inner}</espi:ReadingType>")


def meter_reading(number: int = 1, of_type: str = "/ReadingType/1", *, title: str = "") -> str:
    own = f"{POINT}/MeterReading/{number}"
    return entry(own, "<espi:MeterReading/>", f"{own}/IntervalBlock", of_type, title=title)


def readings(*values: object, start: int = START, step: int = 900, more: str = "") -> str:
    return "".join(
        f"<espi:IntervalReading>{more}<espi:timePeriod><espi:duration>{step}</espi:duration>"
        f"<espi:start>{start + at * step}</espi:start></espi:timePeriod>\n<espi:value>{value}</espi:value>"
        "</espi:IntervalReading>\n"
        for at, value in enumerate(values)
    )


def block(inner: str, meter: int = 1, number: int = 1) -> str:
    up = f"{POINT}/MeterReading/{meter}/IntervalBlock"
    interval = (
        f"<espi:interval><espi:duration>86400</espi:duration><espi:start>{START}</espi:start></espi:interval>"
    )
    content = f"<espi:IntervalBlock>{interval}{inner}</espi:IntervalBlock>"
    return entry(f"{up}/{number}", content, up=up)


def feed(*entries: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<feed xmlns="http://www.w3.org/2005/Atom" '
        'xmlns:espi="http://naesb.org/espi"><title>Usage</title>\n' + "".join(entries) + "</feed>"
    )


USAGE_POINT = entry(
    POINT,
    "<espi:UsagePoint><espi:ServiceCategory><espi:kind>1</espi:kind></espi:ServiceCategory></espi:UsagePoint>",
)


def read(tmp_path: Path, text: str, given: Given | None = None) -> ReadFile:
    path = tmp_path / "usage.xml"
    path.write_text(text)
    return read_file(path, given)


def test_values_are_exact_with_their_power_of_ten_and_begin_with_their_interval(tmp_path: Path) -> None:
    text = feed(
        USAGE_POINT, meter_reading(), reading_type(powerOfTenMultiplier=-3), block(readings(1500, 35, -7))
    )
    found = read(tmp_path, text)
    values = {"2026-01-01 00:00": 1.5, "2026-01-01 00:15": 0.035, "2026-01-01 00:30": -0.007}
    assert found.series == {"electricity import": ("Wh", "amount", values)}
    assert found.lines == [6, 8, 10]
    assert not found.problems


def test_meters_of_a_feed_become_metrics_named_by_what_they_are(tmp_path: Path) -> None:
    types = (
        reading_type("/T/1"),
        reading_type("/T/2", flowDirection=19),
        reading_type("/T/3", commodity=7, flowDirection=0, uom=169, powerOfTenMultiplier=-2),
        reading_type("/T/4", accumulationBehaviour=12, uom=38, kind=37),
        reading_type("/T/5", accumulationBehaviour=1),
        reading_type("/T/6", accumulationBehaviour=12, flowDirection=0, uom=29, dataQualifier=2),
    )
    meters = [meter_reading(number, f"/T/{number}") for number in range(1, 7)]
    blocks = [block(readings(100 + number), number) for number in range(1, 7)]
    found = read(tmp_path, feed(*meters, *types, *blocks))
    shown = {name: (each.unit, each.kind, *each.values.values()) for name, each in found.series.items()}
    assert shown == {
        "electricity import": ("Wh", "amount", 101.0),
        "electricity export": ("Wh", "amount", 102.0),
        "gas": ("thm", "amount", 1.03),
        "electricity power import": ("W", "gauge", 104.0),
        "electricity register import": ("Wh", "counter", 105.0),
        "electricity average voltage": ("V", "gauge", 106.0),
    }


def test_the_usage_point_names_the_commodity_where_the_type_does_not(tmp_path: Path) -> None:
    text = feed(
        USAGE_POINT,
        meter_reading(),
        reading_type(commodity=0, flowDirection=0, uom=42),
        block(readings(2)),
    )
    assert list(read(tmp_path, text).series) == ["gas"]


def test_alike_meters_stay_apart_by_their_interval_or_title(tmp_path: Path) -> None:
    text = feed(
        meter_reading(1, "/T/1"), meter_reading(2, "/T/2"), meter_reading(3, "/T/1", title="Barn"),
        meter_reading(4, "/T/1", title="Barn"),
        reading_type("/T/1"), reading_type("/T/2", intervalLength=86_400),
        *(block(readings(number), number) for number in range(1, 5)),
    )  # fmt: skip
    assert {name: sum(each.values.values()) for name, each in read(tmp_path, text).series.items()} == {
        "electricity import": 1.0,
        "electricity import every 1440 min": 2.0,
        "electricity import every 15 min": 3.0,
        "electricity import Barn": 4.0,
    }


def test_a_type_may_come_after_its_readings(tmp_path: Path) -> None:
    text = feed(
        block(readings(5), 2), meter_reading(2, "/T/2"), reading_type("/T/1"), reading_type("/T/2", uom=71)
    )
    assert read(tmp_path, text).series["electricity apparent import"].unit == "VAh"


def test_a_feed_without_links_but_with_one_type_is_read(tmp_path: Path) -> None:
    text = feed(reading_type(""), entry("", f"<espi:IntervalBlock>{readings(5)}</espi:IntervalBlock>"))
    assert list(read(tmp_path, text).series) == ["electricity import"]


def test_readings_of_no_known_type_are_refused(tmp_path: Path) -> None:
    text = feed(reading_type("/T/1"), reading_type("/T/2"), block(readings(5)))
    with pytest.raises(UnreadableFile, match=r"of which type the readings at line \d are, and has 2 types"):
        read(tmp_path, text)


def test_readings_without_a_time_follow_from_the_beginning_of_their_block(tmp_path: Path) -> None:
    inner = "".join(
        f"<espi:IntervalReading><espi:value>{value}</espi:value></espi:IntervalReading>" for value in (1, 2)
    )
    found = read(tmp_path, feed(meter_reading(), reading_type(), block(inner)))
    assert found.series["electricity import"].values == {"2026-01-01 00:00": 1.0, "2026-01-01 00:15": 2.0}


def test_costs_are_a_metric_in_their_currency(tmp_path: Path) -> None:
    inner = readings(5, more="<espi:cost>12345</espi:cost>")
    found = read(tmp_path, feed(meter_reading(), reading_type(currency=840), block(inner)))
    assert found.series["electricity import cost"] == ("USD", "amount", {"2026-01-01 00:00": 0.12345})


def test_unreadable_readings_are_counted_with_their_line(tmp_path: Path) -> None:
    inner = readings(5, "?!", "") + readings(7).replace(str(START), "soon")
    found = read(tmp_path, feed(meter_reading(), reading_type(), block(inner)))
    assert [(code, text) for _, code, text in found.problems] == [
        ("value_type", "?!"),
        ("time_malformed", "soon"),
    ]
    assert found.problems[1][0] == found.problems[0][0] + 4
    assert found.series["electricity import"].values == {"2026-01-01 00:00": 5.0}


def test_a_metric_can_be_renamed(tmp_path: Path) -> None:
    text = feed(meter_reading(), reading_type(), block(readings(5)))
    found = read(tmp_path, text, Given(mapping={"electricity import": Target("grid")}))
    assert found.series == {"grid": ("Wh", "amount", {"2026-01-01 00:00": 5.0})}


def test_a_compressed_feed_is_read(tmp_path: Path) -> None:
    path = tmp_path / "usage.xml.gz"
    path.write_bytes(gzip.compress(feed(meter_reading(), reading_type(), block(readings(5))).encode()))
    assert len(read_file(path).lines) == 1


def test_a_feed_cut_off_is_refused_with_the_line(tmp_path: Path) -> None:
    text = feed(meter_reading(), reading_type(), block(readings(5, 6)))
    with pytest.raises(UnreadableFile, match=r"damaged or cut off at line \d+ \(.*\); fetch"):
        read(tmp_path, text[:-40])


def test_a_feed_that_declares_entities_is_refused(tmp_path: Path) -> None:
    bomb = '<!DOCTYPE feed [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'
    text = feed(meter_reading(), reading_type(), block(readings("&b;"))).replace("<feed", f"{bomb}<feed", 1)
    with pytest.raises(UnreadableFile, match="declares a document type of its own"):
        read(tmp_path, text)


def test_a_feed_that_never_says_what_it_holds_is_refused_before_it_fills_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(green_button, "MOST_HELD", 6000)
    inner = "<IntervalReading/>" * 6002
    with pytest.raises(UnreadableFile, match="more than 6,000 readings before it says"):
        read(tmp_path, feed(entry("", f"<espi:IntervalBlock>{inner}</espi:IntervalBlock>")))


@given(st.integers(-(2**47), 2**47), st.integers(-12, 12))
def test_a_power_of_ten_changes_no_digit(raw: int, power: int) -> None:
    text = green_button._scaled(str(raw), power)
    assert "e" not in text.lower()
    assert int(text.replace(".", "") or 0) == raw * 10 ** max(power, 0)
    assert len(text.partition(".")[2]) == max(-power, 0)
