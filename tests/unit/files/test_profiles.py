"""Saved and built-in profiles on real and made-up files, and the list of what was rejected."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from joulebook.telemetry.files.builtin import BUILTIN, find_builtin
from joulebook.telemetry.files.errors import UnusableProfile
from joulebook.telemetry.files.guess.chosen import apply_profile
from joulebook.telemetry.files.guess.layout import guess_layout
from joulebook.telemetry.files.parser import parse_file
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.rejected import RejectedWriter, plain_text
from joulebook.telemetry.files.settings import Given, Target
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.table import Problem

from .settled import settled_layout

DATA = Path(__file__).parents[4] / "shared" / "data"
NOW = 1_900_000_000_000_000
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real files are not here: {DATA}")

TEXT = "Station 7\ntime;P;E\n" + "".join(f"13.01.2024 00:{m:02d};{m},5;{m}\n" for m in range(20))


def saved(text: str, **given: object) -> ImportProfile:
    layout = settled_layout(text.encode(), is_whole=True, given=Given(**given), device_tz="UTC")  # type: ignore[arg-type]
    return ImportProfile.from_json(json.loads(json.dumps(layout.profile.as_json())))


def test_a_saved_profile_reads_another_file_whose_header_stands_elsewhere() -> None:
    profile = saved(TEXT, mapping={"P": Target("power", "kW")})
    other = "Station 8\nmore\n\nE;time;P\n" + "5;14.01.2024 00:00;1,25\n" * 2
    layout = apply_profile(other.encode(), profile, Given())
    assert (layout.profile.header_line, layout.profile.first_data_line) == (4, 5)
    assert layout.columns == ("E", "time", "P")
    assert [(value.metric, value.unit) for value in layout.profile.values] == [("power", "kW"), ("E", "")]


def test_what_is_given_beside_a_profile_overrules_it_where_it_can() -> None:
    profile = saved(TEXT)
    layout = apply_profile(TEXT.encode(), profile, Given(tz="+02:00", na_values=("x",), mapping={"P": None}))
    assert (layout.profile.tz, layout.profile.na_values) == ("+02:00", ("x",))
    assert [value.metric for value in layout.profile.values] == ["E"]
    with pytest.raises(UnusableProfile, match="delimiter cannot be combined with a saved profile"):
        apply_profile(TEXT.encode(), profile, Given(delimiter=","))
    with pytest.raises(UnusableProfile, match="mapping 'Q'"):
        apply_profile(TEXT.encode(), profile, Given(mapping={"Q": None}))


def test_a_file_without_a_column_of_the_profile_is_refused_with_those_it_has() -> None:
    with pytest.raises(
        UnusableProfile, match=r"no column 'E', which the profile names; line 2 has 'time', 'P', 'Q'"
    ):
        apply_profile(TEXT.replace(";E", ";Q").encode(), saved(TEXT), Given())


@needs_data
@pytest.mark.parametrize(
    ("name", "profile", "metrics"),
    [
        ("weather/surfrad_slv16001.dat", "surfrad", {"zen": 154529.39, "dw_solar": 202130.7}),
        ("logger/tomst_tms_94184102_nohdr.csv", "tomst-tms", {"T1": 91962.8125, "T2": 66055.4375}),
        ("weather/tmy3_703165_hour24.csv", "tmy3", {"GHI (W/m^2)": 829243.0, "Lprecip depth (mm)": 7592.0}),
        (
            "logger/hobo_20024354_tab_gmt+2.txt",
            "hobo-ymd",
            {"Temp, °C (LGR S/N: 20024354, SEN S/N: 20024354)": 270483.472},
        ),
        ("campbell/brightwind_demo_data2.csv", "day-first", {"Spd80mN": 1798.178}),
        ("campbell/brightwind_demo_data4.csv", "day-first", {"Spd80mN": 1798.178}),
    ],
)
def test_a_built_in_profile_answers_all_questions_of_its_files(
    name: str, profile: str, metrics: dict[str, float]
) -> None:
    source = FileSource(DATA / name)
    layout = guess_layout(
        source.head(4 << 20), is_whole=True, given=find_builtin(profile).given, device_tz="UTC"
    )
    assert not [question for question in layout.questions if question.is_required]
    blocks = list(parse_file(source, layout.profile, layout.columns, now=NOW))
    names = [value.metric for value in layout.profile.values]
    for metric, expected in metrics.items():
        numbers = np.concatenate([block.value[block.column == names.index(metric)] for block in blocks])
        assert float(numbers.sum()) == pytest.approx(expected, rel=1e-9)
    assert not any(block.rows_rejected for block in blocks)


def test_built_in_profiles_are_named_and_described() -> None:
    assert all(profile.about and name == profile.name for name, profile in BUILTIN.items())
    with pytest.raises(UnusableProfile, match=r"no profile 'nope'.*built in are hobo-ymd, "):
        find_builtin("nope")


def test_the_list_of_rejected_rows_has_them_all_with_the_line_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "readings.csv"
    bad = "".join(f"broken;{m};\t=2\n13.01.2024 01:{m % 60:02d};x{m};1\n" for m in range(1500))
    path.write_text(TEXT + bad)
    layout = settled_layout(TEXT.encode(), is_whole=False, given=Given(), device_tz="UTC")
    out = io.StringIO(newline="")
    writer = RejectedWriter(out)
    for block in parse_file(FileSource(path), layout.profile, layout.columns, now=NOW, most_problems=10**9):
        writer.add(block.problems)
    rows = list(csv.reader(io.StringIO(out.getvalue(), newline="")))
    assert rows[0] == ["line", "column", "code", "text", "row", "file"]
    assert len(rows) == 1 + 3000 == writer.count + 1
    assert rows[1] == ["23", "", "time_malformed", "broken", "broken;0;\t=2", ""]
    assert rows[2] == ["24", "P", "value_type", "x0", "", ""]


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"), ("@x", "'@x"), ("+cmd|x", "'+cmd|x"), ("-2+3", "'-2+3"), ("\t=1", "'\t=1"),
        ("-12.5", "-12.5"), ("+1,5e-3", "+1,5e-3"), ("abc", "abc"), ("", ""),
    ],
)  # fmt: skip
def test_no_cell_of_the_list_is_a_formula_and_numbers_stay(cell: str, shown: str) -> None:
    assert plain_text(cell) == shown
    out = io.StringIO(newline="")
    RejectedWriter(out).add([Problem(1, cell, "value_type", cell, cell)])
    assert list(csv.reader(io.StringIO(out.getvalue(), newline="")))[1] == [
        "1",
        shown,
        "value_type",
        shown,
        shown,
        "",
    ]
