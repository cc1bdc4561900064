"""Times of whole files: in whatever way they are written, they come back exactly or are asked about."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulebook.telemetry.files.errors import UnclearFile, plain_name
from joulebook.telemetry.files.guess.layout import FileLayout, guess_layout
from joulebook.telemetry.files.guess.questions import Question
from joulebook.telemetry.files.parser import parse_file
from joulebook.telemetry.files.settings import Given
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.time_words import MONTHS

NOW = 1_900_000_000_000_000
Way = Callable[[datetime], str]


def guess(text: str, device_tz: str = "Europe/Berlin", **settings_given: object) -> FileLayout:
    chosen = Given(**settings_given)  # type: ignore[arg-type]
    return guess_layout(text.encode(), is_whole=True, given=chosen, device_tz=device_tz)


def required(layout: FileLayout) -> list[Question]:
    return [question for question in layout.questions if question.is_required]


def times(tmp_path: Path, text: str, layout: FileLayout) -> list[str]:
    """Return the UTC times of the first metric, in the file's order."""
    return [f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in instants(tmp_path, text, layout)]


def instants(tmp_path: Path, text: str, layout: FileLayout) -> list[datetime]:
    path = tmp_path / "file.csv"
    path.write_text(text)
    blocks = list(parse_file(FileSource(path), layout.profile, layout.columns, now=NOW))
    found = [
        (int(line), int(time))
        for block in blocks
        for column, time, line in zip(block.column, block.time, block.line, strict=True)
        if column == len(layout.profile.values) - 1
    ]
    begin = datetime(1970, 1, 1, tzinfo=UTC)
    return [begin + timedelta(microseconds=time) for _, time in sorted(found)]


def setting(layout: FileLayout, name: str) -> tuple[str, str]:
    return next((each.value, each.reason) for each in layout.settings if each.name == name)


# Every way × zone × order


def half(morning: str, evening: str, *, is_before: bool = False) -> Way:
    def write(t: datetime) -> str:
        clock = f"{(t.hour + 11) % 12 + 1}:{t:%M}"
        word = morning if t.hour < 12 else evening
        return f"{t:%Y-%m-%d} {word + clock if is_before else f'{clock} {word}'}"

    return write


def month_named(names: str, form: str) -> Way:
    months = names.split()
    return lambda t: t.strftime(form.replace("MONTH", months[t.month - 1]))


def count(digits: int) -> Way:
    return lambda t: str(int(t.timestamp()) * 10**digits)


def utc_offset(t: datetime) -> str:
    minutes = round((t.utcoffset() or timedelta()).total_seconds() / 60)
    rest = f":{abs(minutes) % 60:02d}" if minutes % 60 else ""
    return f"{t:%Y-%m-%d %H:%M} (UTC{'-' if minutes < 0 else '+'}{abs(minutes) // 60}{rest})"


LOCAL: dict[str, Way] = {
    "iso": lambda t: f"{t:%Y-%m-%d %H:%M}",
    "points": lambda t: f"{t:%d.%m.%Y %H:%M}",
    "day first": lambda t: f"{t:%d/%m/%Y %H:%M}",
    "month first": lambda t: f"{t:%m/%d/%Y %H:%M}",
    "short year": lambda t: f"{t:%d.%m.%y %H:%M}",
    "compact with a colon": lambda t: f"{t:%Y%m%d:%H%M}",
    "compact": lambda t: f"{t:%Y%m%d%H%M}",
    "points in the clock": lambda t: f"{t:%d.%m.%Y %H.%M}",
    "h in the clock": lambda t: f"{t:%d/%m/%Y %Hh%M}",
    "a word behind": lambda t: f"{t:%d.%m.%Y %H:%M} Uhr",
    "a range": lambda t: f"{t:%d.%m.%Y %H:%M}-{t + timedelta(minutes=15):%H:%M}",
    "English halves": half("AM", "PM"),
    "Spanish halves": half("a. m.", "p. m."),
    "German halves": half("vorm.", "nachm."),
    "Greek halves": half("π.μ.", "μ.μ."),
    "Japanese halves": half("午前", "午後", is_before=True),
    "Korean date": lambda t: f"{t.year}. {t.month}. {t.day}. {t:%H:%M}",
    "Chinese date": lambda t: f"{t.year}年{t.month}月{t.day}日 {t:%H:%M}",
    "Polish months": month_named("sty lut mar kwi maj cze lip sie wrz paź lis gru".replace("lis", "nov"), "%d MONTH %Y %H:%M"),
    "Finnish months": month_named(
        "tammikuuta helmikuuta maaliskuuta huhtikuuta toukokuuta kesäkuuta heinäkuuta elokuuta syyskuuta lokakuuta "
        "marraskuuta joulukuuta".replace("kuuta", "kuu"), "%d. MONTH %Y %H:%M"),
    "French months": month_named("janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.", "%d MONTH %Y %H:%M"),
}  # fmt: skip
EXACT: dict[str, Way] = {
    "seconds": count(0),
    "milliseconds": count(3),
    "microseconds": count(6),
    "nanoseconds": count(9),
    "basic": lambda t: f"{t.astimezone(UTC):%Y%m%dT%H%M%SZ}",
    "offset": utc_offset,
    "zone's own name": lambda t: f"{t:%Y-%m-%dT%H:%M%z}[{t.tzinfo}]",
}
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Melbourne", "Asia/Kolkata", "UTC")


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([*LOCAL, *EXACT]),
    st.sampled_from(ZONES),
    st.dates(date(2019, 1, 1), date(2026, 12, 20)),
    st.sampled_from([15, 30, 60]),
    st.integers(30, 250),
    st.booleans(),
)
def test_times_come_back_exactly_or_are_asked_about(
    tmp_path: Path, name: str, tz: str, day: date, step: int, rows: int, is_backwards: bool
) -> None:
    zone = ZoneInfo(tz)
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=zone).astimezone(UTC)
    moments = [noon + timedelta(minutes=step * n) for n in range(rows)]
    if is_backwards:
        moments.reverse()
    write = LOCAL.get(name) or EXACT[name]
    # Exact times come back whatever the device's zone is.
    device_tz = tz if name in LOCAL else "Pacific/Auckland"
    cells = [write(moment.astimezone(zone)) for moment in moments]
    text = "t;Volt\n" + "".join(f"{cell};{230 + at % 7}\n" for at, cell in enumerate(cells))
    layout = guess(text, device_tz)
    if questions := required(layout):
        answered = [
            guess(text, device_tz, **answer.given) for question in questions for answer in question.answers
        ]
        assert moments in [instants(tmp_path, text, one) for one in answered if not required(one)]
    else:
        assert instants(tmp_path, text, layout) == moments


# Changes of the clocks


def quarter_hours(begin: datetime, hours: int) -> list[datetime]:
    return [begin + timedelta(minutes=15 * n) for n in range(hours * 4)]


BERLIN = ZoneInfo("Europe/Berlin")
AUTUMN = quarter_hours(datetime(2025, 10, 25, 20, tzinfo=UTC), 12)
SPRING = quarter_hours(datetime(2025, 3, 29, 20, tzinfo=UTC), 12)
WORDS = (
    ("S", "W"),
    ("DST", ""),
    ("MESZ", "MEZ"),
    ("Sommerzeit", "Normalzeit"),
    ("1", "0"),
    ("true", "false"),
)


@pytest.mark.parametrize(("summer", "winter"), WORDS)
@pytest.mark.parametrize("is_beside", [True, False])
def test_words_for_summer_and_winter_part_the_doubled_hour(
    tmp_path: Path, summer: str, winter: str, is_beside: bool
) -> None:
    # Each time of the doubled hour once, in winter time: only the words say so.
    moments = [moment for moment in AUTUMN if moment.astimezone(BERLIN).dst() is not None]
    moments = [m for m in moments if not datetime(2025, 10, 26, 0, tzinfo=UTC) <= m < datetime(2025, 10, 26, 1, tzinfo=UTC)]  # fmt: skip
    local = [moment.astimezone(BERLIN) for moment in moments]
    words = [summer if moment.dst() else winter for moment in local]
    if (not winter or winter == "0") and not is_beside:
        return  # A number behind a time is no word, and no word at all says nothing of the doubled hour.
    mark = ";" if is_beside else " "
    rows = "".join(
        f"{moment:%d.%m.%Y %H:%M}{mark}{word};{at}\n"
        for at, (moment, word) in enumerate(zip(local, words, strict=True))
    )
    text = f"time;{'DST;' if is_beside else ''}V\n{rows}"
    layout = guess(text)
    assert not required(layout)
    expected = [f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in moments]
    if winter:
        assert times(tmp_path, text, layout) == expected


def test_a_column_of_letters_that_is_no_season_stays_out_of_the_times(tmp_path: Path) -> None:
    local = [moment.astimezone(BERLIN) for moment in AUTUMN]
    text = "time;V;state\n" + "".join(f"{t:%d.%m.%Y %H:%M};1;{'SW'[at % 2]}\n" for at, t in enumerate(local))
    assert guess(text).profile.time_columns == ("time",)


@pytest.mark.parametrize("moments", [AUTUMN, SPRING])
def test_a_clock_that_runs_evenly_through_a_change_is_asked_about(
    tmp_path: Path, moments: list[datetime]
) -> None:
    text = "t;V\n" + "".join(f"{moment + timedelta(hours=1):%d.%m.%Y %H:%M};1\n" for moment in moments)
    layout = guess(text)
    (question,) = required(layout)
    assert [answer.label for answer in question.answers] == ["+01:00", "+02:00", "UTC", "Europe/Berlin"]
    for answer in question.answers:
        assert not required(guess(text, **answer.given))
    expected = [f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in moments]
    assert times(tmp_path, text, guess(text, **question.answers[0].given)) == expected


def test_a_year_without_summer_time_is_read_at_one_offset_and_said_so() -> None:
    year = [datetime(2025, 1, 1) + timedelta(hours=n) for n in range(365 * 24)]
    layout = guess("t;V\n" + "".join(f"{moment:%d.%m.%Y %H:%M};1\n" for moment in year))
    assert not required(layout)
    value, reason = setting(layout, "time zone")
    assert value == "+01:00"
    assert "no summer time" in reason


def test_a_local_year_is_read_in_the_devices_zone() -> None:
    year = [datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(365 * 24)]
    text = "t;V\n" + "".join(f"{moment.astimezone(BERLIN):%d.%m.%Y %H:%M};1\n" for moment in year)
    assert setting(guess(text), "time zone")[0] == "Europe/Berlin"


# Zones


ROWS = "".join(f"2025-07-14 {hour:02d}:00;{hour}\n" for hour in range(12))


@pytest.mark.parametrize(
    ("head", "first"),
    [
        ("Time (America/New_York);V\n", "04:00"),
        ("Zone;America/New_York\nTime;V\n", "04:00"),
        ("Time (UTC+1);V\n", "23:00"),
        ("Time UTC-05:00;V\n", "05:00"),
        ("Time [GMT+2];V\n", "22:00"),
        ("Timezone: UTC\n\nTime;V\n", "00:00"),
        ("Exported 2025-07-20 10:00 UTC\nTime;V\n", "22:00"),
    ],
)
def test_a_zone_named_above_the_times_goes_before_the_devices(tmp_path: Path, head: str, first: str) -> None:
    text = head + ROWS
    assert times(tmp_path, text, guess(text, delimiter=";"))[0][11:16] == first


def test_a_zone_in_a_column_of_its_own_is_that_of_the_times(tmp_path: Path) -> None:
    text = "Time;Place;V\n" + ROWS.replace(":00;", ":00;America/New_York;")
    assert times(tmp_path, text, guess(text))[0] == "2025-07-14T04:00:00Z"


def test_an_abbreviation_in_summer_is_asked_for_unless_the_times_tell(tmp_path: Path) -> None:
    text = "Zeitzone: CET\nTime;V\n" + ROWS
    (question,) = required(guess(text, delimiter=";"))
    assert [answer.label for answer in question.answers] == ["+01:00", "Europe/Berlin"]
    year = [datetime(2025, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(365 * 24)]
    local = "Time (CET);V\n" + "".join(f"{moment.astimezone(BERLIN):%d.%m.%Y %H:%M};1\n" for moment in year)
    assert guess(local).profile.tz == "Europe/Berlin"
    fixed = "Time (CET);V\n" + "".join(f"{moment:%d.%m.%Y %H:%M};1\n" for moment in year)
    assert guess(fixed).profile.tz == "+01:00"
    assert not required(guess(local)) + required(guess(fixed))


def test_two_abbreviations_name_local_time(tmp_path: Path) -> None:
    text = "Time (CET/CEST);V\n" + ROWS
    assert guess(text).profile.tz == "Europe/Berlin"
    assert times(tmp_path, text, guess(text, "UTC"))[0] == "2025-07-13T22:00:00Z"


def test_an_offset_with_places_behind_it_may_be_that_of_winter_alone(tmp_path: Path) -> None:
    text = "Time zone: (UTC+01:00) Amsterdam, Berlin, Rome\nTime;V\n" + ROWS
    (question,) = required(guess(text, delimiter=";"))
    assert [answer.label for answer in question.answers] == ["+01:00", "Europe/Berlin"]
    winter = text.replace("2025-07", "2025-01")
    assert not required(guess(winter, delimiter=";"))
    assert times(tmp_path, winter, guess(winter, delimiter=";"))[0] == "2025-01-13T23:00:00Z"


def test_a_zones_name_that_several_zones_have_is_asked_for(tmp_path: Path) -> None:
    text = "Time;V\n" + ROWS.replace(";", " IST;")
    (question,) = required(guess(text))
    assert question.setting == "tz"
    assert "IST" in question.said(plain_name)
    assert not required(guess(text, "Asia/Kolkata"))
    assert times(tmp_path, text, guess(text, "Asia/Kolkata"))[0] == "2025-07-13T18:30:00Z"


# Order of day and month


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("dd/MM/yyyy HH:mm", 4), ("MM/dd/yyyy HH:mm", 5), ("TT/MM/JJJJ", 4), ("jj/mm/aaaa", 4), ("DD/MM/YY", 4)],
)
@pytest.mark.parametrize("head", ["t;V\n{0};W\n", "{0};V\n", "Dates are {0}\n\nt;V\n"])
def test_the_files_own_pattern_decides_day_and_month(pattern: str, expected: int, head: str) -> None:
    text = head.format(pattern) + "".join(f"05/04/2024 {hour:02d}:00;{hour}\n" for hour in range(10, 20))
    layout = guess(text, delimiter=";")
    assert not required(layout)
    # The fifth of April, or the fourth of May.
    assert layout.profile.time_formats[0].startswith("%d/%m" if expected == 4 else "%m/%d")
    assert setting(layout, "order of dates")[0].startswith(pattern[:8])


@pytest.mark.parametrize("form", ["%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d-%m-%Y %H:%M"])
def test_days_that_follow_evenly_decide_day_and_month(form: str) -> None:
    moments = quarter_hours(datetime(2024, 2, 9, 20, tzinfo=UTC), 9)
    layout = guess("t;V\n" + "".join(f"{moment.strftime(form)};1\n" for moment in moments))
    assert layout.profile.time_formats == (form,)
    assert not required(layout)


# Hours beside dates


@pytest.mark.parametrize("form", ["%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y-%m-%d"])
@pytest.mark.parametrize("first", [0, 1])
def test_hours_beside_dates_are_read_with_either_order(tmp_path: Path, form: str, first: int) -> None:
    local = [datetime(2024, 3, 14) + timedelta(hours=n) for n in range(48)]
    text = "day;hour;V\n" + "".join(f"{t.strftime(form)};{t.hour + first};1\n" for t in local)
    layout = guess(text)
    assert not required(layout)
    assert times(tmp_path, text, layout)[0] == "2024-03-13T23:00:00Z"


def test_hours_counted_to_25_pass_the_doubled_hour(tmp_path: Path) -> None:
    begin = datetime(2024, 10, 25, 22, tzinfo=UTC)
    moments = [begin + timedelta(hours=n) for n in range(24 + 25 + 24)]
    days = [moment.astimezone(BERLIN).date() for moment in moments]
    text = "day;hour;V\n" + "".join(
        f"{day:%d/%m/%Y};{at - days.index(day) + 1};1\n" for at, day in enumerate(days)
    )
    layout = guess(text)
    assert not required(layout)
    assert instants(tmp_path, text, layout) == moments


def test_hours_without_0_and_24_are_asked_about_and_either_answer_works(tmp_path: Path) -> None:
    text = "day;hour;V\n" + "".join(f"{day}/05/2024;{h};1\n" for day in (14, 15) for h in range(6, 20))
    (question,) = required(guess(text))
    assert question.setting == "time_formats"
    first = [times(tmp_path, text, guess(text, **answer.given))[0] for answer in question.answers]
    assert first == ["2024-05-14T04:00:00Z", "2024-05-14T03:00:00Z"]


# Ends of intervals


def ends_file(name: str, moments: list[datetime], *, is_wall: bool) -> str:
    """Return rows with the ends of quarter hours, by the clock at the end, or as the begin plus 15 minutes."""
    quarter = timedelta(minutes=15)
    ends = [
        (moment.astimezone(BERLIN).replace(tzinfo=None) + quarter)
        if is_wall
        else (moment + quarter).astimezone(BERLIN)
        for moment in moments
    ]
    return f"{name};kWh\n" + "".join(
        f"{end:%d.%m.%Y %H:%M};0.{at % 7 * (1 + at % 3)}\n" for at, end in enumerate(ends)
    )


@pytest.mark.parametrize("name", ["Interval end", "Period ending", "bis", "Ende", "to", "intervalEnd"])
@pytest.mark.parametrize("is_wall", [True, False])
def test_ends_by_name_are_stored_at_the_beginning_also_in_the_doubled_hour(
    tmp_path: Path, name: str, is_wall: bool
) -> None:
    text = ends_file(name, AUTUMN, is_wall=is_wall)
    layout = guess(text)
    assert setting(layout, "times mark") == (
        "the end of an interval",
        f"guessed: {name!r} names the end of an interval",
    )
    assert not required(layout)
    assert instants(tmp_path, text, layout) == AUTUMN
    assert not guess(text, time_marks="start").profile.interval


def test_backwards_ends_pass_the_doubled_hour_too(tmp_path: Path) -> None:
    text = ends_file("bis", AUTUMN[::-1], is_wall=True)
    assert instants(tmp_path, text, guess(text)) == AUTUMN[::-1]


def test_times_from_0015_to_0000_mark_ends_and_those_of_registers_do_not(tmp_path: Path) -> None:
    moments = quarter_hours(datetime(2024, 5, 13, 22, tzinfo=UTC), 48)
    text = ends_file("t", moments, is_wall=True)
    assert instants(tmp_path, text, guess(text)) == moments
    register = "t;kWh\n" + "".join(
        f"{line.split(';')[0]};{at}\n" for at, line in enumerate(text.splitlines()[1:])
    )
    layout = guess(register)
    assert setting(layout, "times mark")[0] == "the start of an interval"
    assert instants(tmp_path, register, layout)[0] == moments[1]


def test_a_begin_beside_an_end_is_the_time(tmp_path: Path) -> None:
    local = [moment.astimezone(BERLIN) for moment in AUTUMN]
    text = "bis;von;kWh\n" + "".join(
        f"{t + timedelta(minutes=15):%d.%m.%Y %H:%M};{t:%d.%m.%Y %H:%M};{at % 5}\n"
        for at, t in enumerate(local)
    )
    layout = guess(text)
    assert layout.profile.time_columns == ("von",)
    assert instants(tmp_path, text, layout) == AUTUMN


def test_a_column_of_one_date_is_no_time() -> None:
    text = "created;time;V\n" + "".join(f"2024-05-01 10:00;2024-05-01 {h:02d}:00;1\n" for h in range(9))
    assert guess(text).profile.time_columns == ("time",)


def test_midnights_at_the_end_of_their_date_are_those_of_the_next(tmp_path: Path) -> None:
    """The times of each date run from 00:15 to 00:00."""
    local = [datetime(2024, 5, 13) + timedelta(minutes=15 * n) for n in range(1, 96 * 3 + 1)]
    text = "date;time;kWh\n" + "".join(
        f"{t - timedelta(minutes=1):%d.%m.%Y};{t:%H:%M};0.{at % 7 * (1 + at % 3)}\n"
        for at, t in enumerate(local)
    )
    layout = guess(text)
    assert layout.profile.time_formats == ("%d.%m.%Y %E:%M",)
    begin = datetime(2024, 5, 12, 22, tzinfo=UTC)
    assert instants(tmp_path, text, layout) == [begin + timedelta(minutes=15 * n) for n in range(96 * 3)]


# Days of the year


DAYS = [datetime(2024, 2, 27) + timedelta(hours=n) for n in range(96)]


@pytest.mark.parametrize(
    ("head", "row"),
    [
        ("station;doy;hour;V;year\n", "{t:%j};{t:%H}"),
        ("Year: 2024\n\nstation;doy;hour;V;w\n", "{t:%j};{t:%H}"),
        ("2024\nstation;Julian day;hhmm;V;w\n", "{t:%j};{t:%H%M}"),
    ],
)
def test_days_of_a_year_find_their_year(tmp_path: Path, head: str, row: str) -> None:
    last = "2024" if "year" in head else "7"
    text = head + "".join(f"7;{row.format(t=t)};{at % 9}.5;{last}\n" for at, t in enumerate(DAYS))
    layout = guess(text, "UTC", delimiter=";")
    path = tmp_path / "file.csv"
    path.write_text(text)
    (block,) = parse_file(FileSource(path), layout.profile, layout.columns, now=NOW)
    assert sorted(set(block.time.tolist())) == [int(t.replace(tzinfo=UTC).timestamp()) * 10**6 for t in DAYS]


def test_days_without_any_year_ask_for_it_and_the_remedy_works() -> None:
    text = "doy;hour;V\n" + "".join(f"{t:%j};{t:%H};{at % 9}.5\n" for at, t in enumerate(DAYS))
    with pytest.raises(UnclearFile, match=r"lack their year.*time formats '%Y=2024 %j %H'"):
        guess(text)
    layout = guess(text, time_columns=("doy", "hour"), time_formats=("%Y=2023 %j %H",))
    assert layout.profile.time_columns == ("doy", "hour")
    named = guess_layout(text.encode(), is_whole=True, given=Given(), device_tz="UTC", name="log_2019.csv")
    assert named.profile.time_formats == ("%Y=2019 %j %H",)


def test_every_month_has_one_number_by_each_name() -> None:
    assert set(MONTHS.values()) == set(range(1, 13))
    assert (MONTHS["märz"], MONTHS["aoû"], MONTHS["října"], MONTHS["дек"]) == (3, 8, 10, 12)
