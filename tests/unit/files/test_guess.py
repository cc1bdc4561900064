"""Guesses about a file: right where the file decides, and a question where it does not."""

from __future__ import annotations

import codecs

import pytest

from joulebook.telemetry.files.errors import FileError, UnclearFile, UnusableProfile
from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.profile import ValueColumn
from joulebook.telemetry.files.settings import Given, Target

from .settled import settled_layout


def guess(
    text: str | bytes, *, device_tz: str = "Europe/Berlin", is_whole: bool = True, **given: object
) -> FileLayout:
    head = text.encode() if isinstance(text, str) else text
    return settled_layout(head, is_whole=is_whole, given=Given(**given), device_tz=device_tz)  # type: ignore[arg-type]


def source_of(layout: FileLayout, name: str) -> str:
    return next(setting.reason for setting in layout.settings if setting.name == name)


def metrics(layout: FileLayout) -> list[str]:
    return [value.metric for value in layout.profile.values]


PLAIN = "time,P,E\n2024-01-13 00:00:00,1.5,2\n2024-01-13 00:01:00,2.5,\n2024-01-13 00:02:00,,4\n"


def test_a_plain_file_is_understood_and_every_setting_says_where_it_comes_from() -> None:
    layout = guess(PLAIN)
    profile = layout.profile
    assert (profile.delimiter, profile.encoding, profile.decimal, profile.thousands) == (
        ",",
        "utf-8",
        ".",
        "",
    )
    assert (profile.header_line, profile.first_data_line) == (1, 2)
    assert (profile.time_columns, profile.time_formats) == (("time",), ("%Y-%m-%d %H:%M:%S",))
    assert profile.values == (ValueColumn("P", "P"), ValueColumn("E", "E"))
    assert {setting.name for setting in layout.settings} == {
        "encoding", "delimiter", "header", "first data", "time", "time format", "time zone", "decimal mark",
        "thousands mark", "missing values", "kinds",
    }  # fmt: skip
    assert all(setting.reason.startswith("guessed: ") for setting in layout.settings)


def test_what_is_given_is_used_and_said_to_be_given() -> None:
    layout = guess(
        PLAIN.replace(",", ";"), delimiter=";", encoding="latin-1", header_line=1, time_columns=("TIME",),
        time_formats=("%Y-%m-%d %H:%M:%S",), tz="+02:00", decimal=".", thousands="'", na_values=("x",),
    )  # fmt: skip
    profile = layout.profile
    assert (profile.encoding, profile.tz, profile.thousands, profile.na_values) == (
        "iso8859-1",
        "+02:00",
        "'",
        ("x",),
    )
    assert profile.time_columns == ("time",)
    guessed = [setting.name for setting in layout.settings if setting.reason != "given"]
    assert guessed == ["first data", "kinds"]


@pytest.mark.parametrize(
    ("head", "encoding"),
    [
        (codecs.BOM_UTF8 + PLAIN.encode(), "utf-8"),
        (PLAIN.replace("P", "Wärme").encode(), "utf-8"),
        (PLAIN.replace("P", "Wärme").encode("cp1252"), "cp1252"),
        (PLAIN.encode("utf-16"), "utf-16"),
        (PLAIN.encode("utf-16-le"), "utf-16-le"),
        (PLAIN.encode("utf-16-be"), "utf-16-be"),
        (codecs.BOM_UTF32_LE + PLAIN.encode("utf-32-le"), "utf-32"),
    ],
)
def test_the_encoding_is_told_by_mark_by_strict_utf8_and_by_zeros(head: bytes, encoding: str) -> None:
    layout = guess(head)
    assert layout.profile.encoding == encoding
    assert len(layout.profile.values) == 2


def test_a_head_that_ends_within_a_character_is_still_utf8() -> None:
    text = PLAIN + "2024-01-13 00:03:00,1,Ä"
    assert guess(text.encode()[:-1], is_whole=False).profile.encoding == "utf-8"
    assert guess(text.encode()[:-1], is_whole=True).profile.encoding == "cp1252"


def test_letters_far_behind_the_head_decide_the_encoding() -> None:
    further = "2024-01-13 00:03:00,1,Ä\n"
    for encoding in ("utf-8", "cp1252"):
        layout = settled_layout(
            PLAIN.encode(), is_whole=False, given=Given(), device_tz="UTC", further=further.encode(encoding)
        )
        assert layout.profile.encoding == encoding


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_that_makes_columns(delimiter: str) -> None:
    assert guess(PLAIN.replace(",", delimiter)).profile.delimiter == delimiter


def test_lines_that_end_with_cr_alone_are_lines_too() -> None:
    layout = guess(PLAIN.replace("\n", "\r"))
    assert (layout.profile.line_end, len(layout.profile.values)) == ("\r", 2)
    assert guess(PLAIN.replace("\n", "\r\n")).profile.line_end == "\n"


def test_a_decimal_comma_is_no_delimiter() -> None:
    layout = guess("Datum;Zeit;kW\n" + "".join(f"13.01.2024;00:{m:02d};1{m},{m:02d}\n" for m in range(30)))
    assert (layout.profile.delimiter, layout.profile.decimal) == (";", ",")
    assert layout.profile.time_columns == ("Datum", "Zeit")
    assert layout.profile.time_formats == ("%d.%m.%Y %H:%M",)


def test_a_line_that_names_the_separator_is_believed() -> None:
    layout = guess("sep=;\nt;a\n2024-01-13;1,5\n2024-01-14;1,25\n")
    assert layout.profile.delimiter == ";"
    assert (layout.profile.header_line, layout.profile.decimal) == (2, ",")


def test_lines_without_columns_ask_for_the_delimiter() -> None:
    with pytest.raises(UnclearFile, match=r"no delimiter makes columns.*'hello'.*delimiter"):
        guess("hello\nworld\n")


@pytest.mark.parametrize("word", ["ab", "", "a", '"', "\n", "é", "5", "."])
def test_a_delimiter_that_cannot_be_is_refused(word: str) -> None:
    with pytest.raises(UnusableProfile, match=r"delimiter .* cannot be used; it is one character"):
        guess(PLAIN, delimiter=word)


def test_a_delimiter_may_be_named_by_a_word() -> None:
    assert guess(PLAIN.replace(",", "\t"), delimiter="tab").profile.delimiter == "\t"


def test_header_and_units_above_the_data_are_told_apart() -> None:
    layout = guess(
        '"TOA5","station","CR1000","4711"\n"TIMESTAMP","RECORD","AirTemp","Wind"\n"TS","RN","Deg C","m/s"\n"","","Avg","Smp"\n'
        '"2024-01-13 00:00:00",1,2.5,3\n"2024-01-13 00:10:00",2,2.6,4\n"2024-01-13 00:20:00",3,2.6,4\n'
    )
    assert (layout.profile.header_line, layout.profile.first_data_line) == (2, 5)
    values = layout.profile.values
    assert [(value.metric, value.unit) for value in values] == [("AirTemp", "°C"), ("Wind", "m/s")]
    assert source_of(layout, "left out") == "guessed: counts the rows"


def test_a_first_row_with_a_broken_time_is_data_and_not_part_of_the_heading() -> None:
    layout = guess("time,P,E\nbroken,1,2\n" + "".join(f"2024-01-13 00:{m:02d},1,2\n" for m in range(9)))
    assert (layout.profile.header_line, layout.profile.first_data_line) == (1, 2)


def test_a_file_without_header_gets_numbered_columns() -> None:
    layout = guess("1;2024-01-13 00:00;5\n2;2024-01-13 00:15;6\n3;2024-01-13 00:30;7\n")
    assert layout.profile.header_line is None
    assert (layout.columns, layout.profile.time_columns) == (
        ("column_1", "column_2", "column_3"),
        ("column_2",),
    )
    named = guess("1;2024-01-13 00:00;5\n2;2024-01-13 00:15;6\n", header_line=0, time_columns=("column_2",),
                  mapping={"column_3": Target("power", "W"), "column_1": None})  # fmt: skip
    assert named.profile.values == (ValueColumn("column_3", "power", "W"),)


def test_names_are_made_distinct_and_clean() -> None:
    layout = guess(
        ' time ,P,P,,"a\r\nb  c",P_2\n' + "".join(f"2024-01-13 00:{m:02d},1,2,3,4,5\n" for m in range(5))
    )
    assert layout.columns == ("time", "P", "P_3", "column_4", "a b c", "P_2")


def test_a_header_line_that_is_given_is_used_even_if_it_looks_like_data() -> None:
    layout = guess("x,y\n1,2\n2024-01-13 00:00,1\n2024-01-14 00:00,2\n", header_line=2)
    assert layout.columns == ("1", "2")
    with pytest.raises(UnusableProfile, match=r"header line 99: there is no such row"):
        guess(PLAIN, header_line=99)


def test_an_order_of_day_and_month_that_stays_open_is_asked_for_with_both_readings() -> None:
    rows = "".join(f"{day:02d}/04/2024 00:00,1\n" for day in range(3, 12))
    with pytest.raises(UnclearFile) as raised:
        guess("t,P\n" + rows)
    message = str(raised.value)
    for part in ("'03/04/2024 00:00'", "3 April 2024", "4 March 2024",
                 "time formats '%d/%m/%Y %H:%M'", "time formats '%m/%d/%Y %H:%M'"):  # fmt: skip
        assert part in message
    given = guess("t,P\n" + rows, time_formats=("%m/%d/%Y %H:%M",))
    assert given.profile.time_formats == ("%m/%d/%Y %H:%M",)


@pytest.mark.parametrize(("last", "expected"), [("13/04/2024", "%d/%m/%Y"), ("04/13/2024", "%m/%d/%Y")])
def test_one_later_day_decides_the_order(last: str, expected: str) -> None:
    rows = "".join(f"{day:02d}/04/2024,1\n" for day in range(3, 12))
    assert guess("t,P\n" + rows + last + ",1\n").profile.time_formats == (expected,)


def test_the_order_is_decided_together_for_times_with_and_without_a_clock() -> None:
    rows = "".join(
        f"{day:02d}/04/2024{clock},1\n" for day in range(10, 15) for clock in ("", " 06:00", " 12:00")
    )
    rows += "".join(f"{day:02d}/05/2024,1\n" for day in range(1, 3))
    assert set(guess("t,P\n" + rows).profile.time_formats) == {"%d/%m/%Y %H:%M", "%d/%m/%Y"}


def test_days_equal_to_their_month_are_not_unclear() -> None:
    assert guess("t,P\n04/04/2024,1\n05/05/2024,2\n").profile.time_formats == ("%d/%m/%Y",)


def test_two_digit_years_with_points_are_asked_for_too() -> None:
    with pytest.raises(UnclearFile, match=r"21 April 2008 or 8 April 2021"):
        guess("t;P\n21.04.08 23:00:00;1\n21.04.09 23:00:00;1\n")


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2024-01-13T00:00:00Z", "%Y-%m-%dT%H:%M:%S%z"),
        ("2024-01-13 00:00:00+0100", "%Y-%m-%d %H:%M:%S%z"),
        ("2024-01-13 00:00:00 UTC", "%Y-%m-%d %H:%M:%S %z"),
        ("2024/1/13 0:00", "%Y/%m/%d %H:%M"),
        ("13.01.2024", "%d.%m.%Y"),
        ("20240113 0015", "%Y%m%d %H%M"),
        ("20240113", "%Y%m%d"),
        ("13-Jan-2024 00:15", "%d-%b-%Y %H:%M"),
        ("January 13, 2024", "%b %d, %Y"),
        ("31/05/2022 12:05 AM", "%d/%m/%Y %I:%M %p"),
        ("5/31/2022, 1:05PM", "%m/%d/%Y, %I:%M%p"),
    ],
)
def test_common_ways_to_write_a_time_are_known(cell: str, expected: str) -> None:
    quoted = f'"{cell}"' if "," in cell else cell
    assert guess("t,P\n" + f"{quoted},1\n" * 4).profile.time_formats == (expected,)


def test_a_fraction_may_be_left_out_where_it_is_zero() -> None:
    formats = guess("t,P\n" + "2024-01-13T00:00:00.123+01:00,1\n" * 4).profile.time_formats
    assert formats == ("%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%dT%H:%M:%S%z")


def test_date_and_time_of_day_in_two_columns_belong_together() -> None:
    layout = guess("from,clock,to,clock\n" + "".join(f"13.01.2024,00:{m:02d},13.01.2024,00:{m + 1:02d}\n" for m in range(9)),
                   mapping={"to": Target("end")})  # fmt: skip
    assert layout.profile.time_columns == ("from", "clock")


def test_no_time_at_all_names_both_options() -> None:
    with pytest.raises(
        UnclearFile, match=r"no column of the file looks like a date.*time columns.*time formats"
    ):
        guess("a,b\n1,2\n3,4\n")


def test_a_format_that_no_column_has_asks_for_the_column() -> None:
    with pytest.raises(UnclearFile, match=r"no column of the file holds times in the format '%d.%m.%Y'"):
        guess(PLAIN, time_formats=("%d.%m.%Y",))


def test_an_unusual_format_finds_its_column() -> None:
    rows = "".join(f"{n},2024 {n:03d} {n % 24},7\n" for n in range(1, 60))
    layout = guess("n,when,P\n" + rows, time_formats=("%Y %j %H",))
    assert layout.profile.time_columns == ("when",)
    assert metrics(layout) == ["n", "P"]


def test_a_time_column_that_the_file_lacks_is_named_with_those_it_has() -> None:
    with pytest.raises(
        UnusableProfile, match=r"time columns 'when': the file has no such column; it has 'time', 'P', 'E'"
    ):
        guess(PLAIN, time_columns=("when",), header_line=1)


@pytest.mark.parametrize(
    ("name", "tz"),
    [
        ("Time(utc)", "UTC"), ("Date/time UTC", "UTC"), ("Date Time, GMT+02:00", "+02:00"), ("t [UTC-9]", "-9"),
        ("outcome", "Europe/Berlin"), ("time", "Europe/Berlin"),
    ],
)  # fmt: skip
def test_a_zone_in_the_header_goes_before_the_devices(name: str, tz: str) -> None:
    text = PLAIN.replace("time,", f'"{name}","note",', 1).replace(":00,", ":00,x,")
    layout = guess(text)
    assert layout.profile.tz == tz
    assert guess(text, tz="Asia/Tokyo").profile.tz == "Asia/Tokyo"


def test_times_with_their_offset_need_no_zone() -> None:
    layout = guess("t,P\n2024-01-13T00:00:00+01:00,1\n2024-07-13T00:00:00+02:00,1\n")
    assert "the times carry their offset" in source_of(layout, "time zone")


def test_a_zone_that_is_none_is_refused() -> None:
    with pytest.raises(UnusableProfile, match=r"'Mars/Olympus' is not a time zone"):
        guess(PLAIN, tz="Mars/Olympus")


@pytest.mark.parametrize(
    ("cells", "marks"),
    [
        (["1,5", "2"], (",", "")),
        (["0,253", "1,000"], (",", "")),
        (["1.135.124,50", "793.667,00"], (",", ".")),
        (["1,135,124.50", "793,667.00"], (".", ",")),
        (["1.135.124", "2.000"], (",", ".")),
        (["1.234", "2.5"], (".", "")),
        (["1,234", "12.5"], (".", ",")),
        (["12'345.5", "1"], (".", "'")),
        (["1 234,5", "2"], (",", " ")),
        (["7", "8"], (".", "")),
        (["1e-3", "-2.5E+10"], (".", "")),
    ],
)
def test_decimal_and_thousands_marks_are_told_from_the_numbers(
    cells: list[str], marks: tuple[str, str]
) -> None:
    layout = guess("t;P\n" + "".join(f"2024-01-13 00:{m:02d};{cells[m % 2]}\n" for m in range(20)))
    assert (layout.profile.decimal, layout.profile.thousands) == marks


def test_a_comma_that_can_be_both_marks_is_asked_for() -> None:
    rows = "t;P\n" + "".join(f"2024-01-13 00:{m:02d};{m + 1},234\n" for m in range(20))
    with pytest.raises(
        UnclearFile, match=r"'1,234' can be 1\.234 or 1234.*decimal , or decimal \. thousands ,"
    ):
        guess(rows)
    assert guess(rows, decimal=",").profile.thousands == ""
    assert guess(rows, decimal=".").profile.thousands == ","
    assert guess(rows, thousands=",").profile.decimal == "."


def test_a_point_that_can_be_both_marks_is_asked_for_unless_commas_part_the_cells() -> None:
    rows = "t;P\n" + "".join(f"2024-01-13 00:{m:02d};{m + 1}.234\n" for m in range(20))
    with pytest.raises(
        UnclearFile, match=r"'1\.234' can be 1\.234 or 1234.*decimal \. or decimal , thousands \."
    ):
        guess(rows)
    assert guess(rows, decimal=".").profile.thousands == ""
    assert guess(rows, thousands="").profile.decimal == "."
    assert guess(rows, decimal=",").profile.thousands == "."
    assert guess(rows.replace(";", ",")).profile.decimal == "."


def test_columns_of_text_and_columns_without_name_are_left_out_and_listed() -> None:
    layout = guess("time,flag,P,empty,\n" + "".join(f"2024-01-13 00:{m:02d},ok,{m},,\n" for m in range(9)))
    assert metrics(layout) == ["P", "empty"]
    left_out = {setting.value: setting.reason for setting in layout.settings if setting.name == "left out"}
    assert left_out == {
        "flag": "guessed: text such as 'ok'",
        "column_5": "guessed: no name, and empty so far",
    }


def test_a_mapping_renames_leaves_out_and_keeps_the_rest() -> None:
    layout = guess(PLAIN, mapping={"p": Target("power", "W")})
    assert layout.profile.values == (ValueColumn("P", "power", "W"), ValueColumn("E", "E"))
    layout = guess(PLAIN, mapping={"P": None})
    assert metrics(layout) == ["E"]
    assert source_of(layout, "left out") == "given"


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"Q": Target("power")}, "mapping 'Q': the file has no such column; it has 'time', 'P', 'E'"),
        ({"time": Target("power")}, "mapping 'time': this column holds the time"),
        ({"P": Target("E")}, "the columns 'P', 'E' all map to the metric 'E'"),
        ({"P": None, "E": None}, "no column beside the time holds numbers"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(mapping: dict[str, Target | None], message: str) -> None:
    with pytest.raises(FileError, match=message):
        guess(PLAIN, mapping=mapping)


def test_a_name_that_is_too_long_for_a_metric_is_cut_off_unless_another_is_given() -> None:
    longest = "x" * 201
    assert metrics(guess(PLAIN.replace("P", longest, 1))) == ["x" * 200, "E"]
    given = guess(PLAIN.replace("P", longest, 1), mapping={longest: Target("power")})
    assert metrics(given) == ["power", "E"]


def test_more_columns_than_any_file_has_are_refused() -> None:
    header = ",".join(f"c{n}" for n in range(5000))
    with pytest.raises(UnusableProfile, match=r"5001 columns, at most 4096.*delimiter"):
        guess(f"time,{header}\n2024-01-13,1\n", delimiter=",", time_columns=("time",))


@pytest.mark.parametrize(
    "head", [b"\x7fELF\0\0\1\2" * 500, bytes(5000), b"\n\n\n", b"\xff\xfe", b'"' * 5000, b"," * 300_000]
)
def test_what_is_no_table_is_refused_in_words(head: bytes) -> None:
    with pytest.raises(FileError) as refused:
        guess(head)
    words = refused.value.said(lambda setting, _value: f"--{setting}")
    assert ("--" in words) != ("no lines of text" in words)
