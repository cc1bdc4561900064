"""Time formats: what they take is what Python's strptime takes, to the microsecond."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from joulebook.telemetry.files.errors import UnusableProfile
from joulebook.telemetry.files.times import NO_OFFSET, TimeFormat, parse_times
from joulebook.telemetry.readings import from_microseconds, to_microseconds

FORMATS = (
    "%Y-%m-%d %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%m/%d/%y %I:%M:%S %p",
    "%d.%m.%Y",
    "%Y%m%d%H%M%S",
    "%Y-%m-%dT%H:%M:%S.%f",
    "%d-%b-%Y %H:%M",
    "%B %d, %Y %H:%M:%S",
    "%Y %j %H %M",
)
instants = st.datetimes(datetime(1970, 1, 1), datetime(2068, 12, 31))


def wall(text: str, *formats: str) -> str | None:
    """Return what the clock showed, as ISO text, or None where no format fits."""
    parsed = parse_times(pl.Series([text]), tuple(TimeFormat(one) for one in formats))
    return from_microseconds(int(parsed.wall[0])).replace(tzinfo=None).isoformat() if parsed.fits[0] else None


@settings(deadline=None)
@given(st.sampled_from(FORMATS), st.lists(instants, min_size=1, max_size=20))
def test_what_strftime_writes_is_read_as_strptime_reads_it(time_format: str, times: list[datetime]) -> None:
    texts = [time.strftime(time_format) for time in times]
    parsed = TimeFormat(time_format).parse(pl.Series(texts))
    assert parsed.fits.all()
    expected = [datetime.strptime(text, time_format).replace(tzinfo=UTC) for text in texts]
    assert parsed.wall.tolist() == [to_microseconds(time) for time in expected]
    assert (parsed.offset == NO_OFFSET).all()


@settings(deadline=None)
@given(st.sampled_from([text for text in FORMATS if "%Y%m" not in text]), instants, st.data())
def test_a_text_with_a_slip_is_read_as_strptime_reads_it_or_not_at_all(
    time_format: str, time: datetime, data: st.DataObject
) -> None:
    text = time.strftime(time_format)
    at = data.draw(st.integers(0, len(text) - 1))
    text = text[:at] + data.draw(st.sampled_from(list("0123456789/-.x:T"))) + text[at + 1 :]
    assume("24:00" not in text and "24 00" not in text and "0000" not in text)
    try:
        expected = datetime.strptime(text, time_format).isoformat()  # noqa: DTZ007 - no zone in it
    except ValueError:
        expected = None
    assert wall(text, time_format) == expected


@pytest.mark.parametrize(
    ("text", "time_format", "expected"),
    [
        ("2024-02-29 12:00", "%Y-%m-%d %H:%M", "2024-02-29T12:00:00"),
        ("2023-02-29 12:00", "%Y-%m-%d %H:%M", None),
        ("2100-02-29", "%Y-%m-%d", None),
        ("31/04/2024", "%d/%m/%Y", None),
        ("00/04/2024", "%d/%m/%Y", None),
        ("1/4/2024 7:05", "%d/%m/%Y %H:%M", "2024-04-01T07:05:00"),
        ("12:00 AM 01.05.2022", "%I:%M %p %d.%m.%Y", "2022-05-01T00:00:00"),
        ("12:30 pm 01.05.2022", "%I:%M %p %d.%m.%Y", "2022-05-01T12:30:00"),
        ("11:59 p.m. 01.05.2022", "%I:%M %p %d.%m.%Y", "2022-05-01T23:59:00"),
        ("13:00 PM 01.05.2022", "%I:%M %p %d.%m.%Y", None),
        ("0:10 AM 01.05.2022", "%I:%M %p %d.%m.%Y", None),
        ("12/31/1998 24:00", "%m/%d/%Y %H:%M", "1999-01-01T00:00:00"),
        ("12/31/1998 24:01", "%m/%d/%Y %H:%M", None),
        ("12/31/1998 23:60", "%m/%d/%Y %H:%M", None),
        ("2024-01-01 00:00:60", "%Y-%m-%d %H:%M:%S", None),
        ("20240101", "%Y-%m-%d", None),
        ("12024-01-01", "%Y-%m-%d", None),
        ("2024-01-01 00:00:00 ", "%Y-%m-%d %H:%M:%S", None),
        ("2024-01-01  00:00", "%Y-%m-%d %H:%M", "2024-01-01T00:00:00"),
        ("2024-01-01T00:00:00.123456789", "%Y-%m-%dT%H:%M:%S.%f", "2024-01-01T00:00:00.123456"),
        ("2024-01-01T00:00:00.5", "%Y-%m-%dT%H:%M:%S.%f", "2024-01-01T00:00:00.500000"),
        ("3 SEPT 2024", "%d %b %Y", "2024-09-03T00:00:00"),
        ("3 Foo 2024", "%d %b %Y", None),
        ("69-01-01", "%y-%m-%d", "1969-01-01T00:00:00"),
        ("68-01-01", "%y-%m-%d", "2068-01-01T00:00:00"),
        ("2024 366", "%Y %j", "2024-12-31T00:00:00"),
        ("2023 366", "%Y %j", None),
        ("1700000000", "%s", "2023-11-14T22:13:20"),
        ("1700000000.25", "%s.%f", "2023-11-14T22:13:20.250000"),
        ("1700000000123", "%Q", "2023-11-14T22:13:20.123000"),
        ("-1700000000", "%s", None),
        ("1700000000123456", "%U", "2023-11-14T22:13:20.123456"),
        ("1700000000123456789", "%N", "2023-11-14T22:13:20.123456"),
        ("9700000000123456789", "%N", None),
        ("13.01.2024 12:05 a. m.", "%d.%m.%Y %I:%M %p", "2024-01-13T00:05:00"),
        ("13.01.2024 1:05 Nachm.", "%d.%m.%Y %I:%M %p", "2024-01-13T13:05:00"),
        ("13.01.2024 1:05\u202fPM", "%d.%m.%Y %I:%M %p", "2024-01-13T13:05:00"),
        ("2024-01-13 午後1:05", "%Y-%m-%d %p%I:%M", "2024-01-13T13:05:00"),
        ("13.01.2024 1:05 xm", "%d.%m.%Y %I:%M %p", None),
        ("13.01.2024 1", "%d.%m.%Y %h", "2024-01-13T00:00:00"),
        ("13.01.2024 24", "%d.%m.%Y %h", "2024-01-13T23:00:00"),
        ("13.01.2024 0", "%d.%m.%Y %h", None),
        ("13.01.2024 25", "%d.%m.%Y %h", None),
        ("13.01.2024 25", "%d.%m.%Y %n", "2024-01-13T00:00:00"),
        ("13.01.2024 26", "%d.%m.%Y %n", None),
        ("13.01.2024 00:00", "%d.%m.%Y %E:%M", "2024-01-14T00:00:00"),
        ("13.01.2024 00:15", "%d.%m.%Y %E:%M", "2024-01-13T00:15:00"),
        ("60 5", "%Y=2024 %j %H", "2024-02-29T05:00:00"),
        ("13.01. 5:10", "%Y=2024 %d.%m. %H:%M", "2024-01-13T05:10:00"),
        ("366 0", "%Y=2023 %j %H", None),
        ("13 paź 2024", "%d %b %Y", "2024-10-13T00:00:00"),
        ("100% 2024-01-01", "100%% %Y-%m-%d", "2024-01-01T00:00:00"),
        ("(2024-01-01)", "(%Y-%m-%d)", "2024-01-01T00:00:00"),
        ("2024x01x01", "%Y.%m.%d", None),
        ("٢٠٢٤-01-01", "%Y-%m-%d", None),
        ("", "%Y-%m-%d", None),
    ],
)
def test_times_on_the_edge(text: str, time_format: str, expected: str | None) -> None:
    assert wall(text, time_format) == expected


@pytest.mark.parametrize(
    ("zone", "hours"),
    [
        ("Z", 0),
        ("UTC", 0),
        ("+02:00", 2),
        ("-0930", -9.5),
        ("+05", 5),
        ("+14:00", 14),
        ("+1", 1),
        ("-9:30", -9.5),
        ("UTC+5:45", 5.75),
        ("GMT-3", -3),
        ("+24:00", None),
        ("+01:60", None),
    ],
)
def test_an_offset_in_the_text_is_told(zone: str, hours: float | None) -> None:
    parsed = TimeFormat("%Y-%m-%dT%H:%M%z").parse(pl.Series([f"2024-10-27T02:30{zone}"]))
    assert bool(parsed.fits[0]) == (hours is not None)
    if hours is not None:
        assert timedelta(microseconds=int(parsed.offset[0])) == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("word", "pass_"),
    [("A", 1), ("b", 2), ("S", 1), ("DST", 1), ("Winterzeit", 2), ("1", 1), ("0", 2), ("", 0), ("Q", None)],
)
def test_words_for_summer_and_winter_time_mark_a_pass(word: str, pass_: int | None) -> None:
    parsed = parse_times(
        pl.Series([f"2024-10-27 02:30 {word}".strip()]),
        (TimeFormat("%Y-%m-%d %H:%M %D"), TimeFormat("%Y-%m-%d %H:%M")),
    )
    assert bool(parsed.fits[0]) == (pass_ is not None)
    assert pass_ is None or parsed.marked.tolist() == [pass_]


def test_counts_since_1970_need_no_zone() -> None:
    for text, time_format in (("1700000000", "%s"), ("1700000000000", "%Q"), ("1700000000000000000", "%N")):
        assert TimeFormat(time_format).parse(pl.Series([text])).offset.tolist() == [0]


def test_the_first_format_that_fits_a_cell_counts() -> None:
    formats = ("%d/%m/%Y", "%m/%d/%Y", "%Y-%m-%d")
    assert wall("03/04/2024", *formats) == "2024-04-03T00:00:00"
    assert wall("03/14/2024", *formats) == "2024-03-14T00:00:00"
    assert wall("2024-03-14", *formats) == "2024-03-14T00:00:00"
    assert wall("14.03.2024", *formats) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "%H:%M",
        "%Y-%m",
        "%Y-%m-%d %d",
        "%Y-%m-%d %q",
        "%d/%m",
        "%Y-%m-%d %I:%M",
        "%Y-%m-%d %H:%M %p",
        "%Y-%m-%d%",
        "%s %z",
        "%s%Q",
        "%U %z",
        "%Y-%m-%d %h %H",
    ],
)
def test_a_format_that_names_no_whole_date_is_refused(text: str) -> None:
    with pytest.raises(UnusableProfile, match="time format"):
        TimeFormat(text)
