"""The words behind --map."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.telemetry.files.errors import UnusableProfile
from joulebook.telemetry.files.settings import Target, mapping_from, mapping_word
from joulebook.telemetry.kinds.kinds import KINDS


def test_a_column_gets_a_metric_a_unit_or_is_left_out() -> None:
    assert mapping_from(["P=power", "U = voltage : V ", "T [°C]=temperature:°C", "note="]) == {
        "P": Target("power"),
        "U ": Target("voltage", "V"),
        "T [°C]": Target("temperature", "°C"),
        "note": None,
    }


def test_the_last_equals_sign_and_the_last_colon_part_the_words() -> None:
    assert mapping_from(["a=b=c:d:"]) == {"a=b": Target("c:d")}


def test_a_kind_behind_the_unit_is_no_part_of_it() -> None:
    assert mapping_from(["a=b:kWh:counter", "c=d::amount", "e=f:gauge", "g=h:i::state", "j=gauge"]) == {
        "a": Target("b", "kWh", kind="counter"),
        "c": Target("d", kind="amount"),
        "e": Target("f", kind="gauge"),
        "g": Target("h:i", kind="state"),
        "j": Target("gauge"),
    }


names = st.text(st.sampled_from("ab:.= µ"), min_size=1, max_size=8).map(str.strip).filter(bool)


@given(
    names,
    st.builds(
        Target,
        names.filter(lambda name: "=" not in name and not name.endswith(":") and name.strip(": ") != ""),
        st.sampled_from(["", "kWh", "W/m²"]),
        kind=st.sampled_from(["", *KINDS]),
    ),
)
def test_each_target_comes_back_from_its_word(column: str, target: Target) -> None:
    assert mapping_from([mapping_word(column, target)]) == {column: target}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["power"], "must be COLUMN=METRIC"),
        (["=power"], "must be COLUMN=METRIC"),
        (["P=a", "P=b"], "'P' is mapped twice"),
        (["P=:W"], "must not be empty"),
        (["P=" + "x" * 201], "at most 200"),
        (["P=power:" + "W" * 33], "at most 32"),
    ],
)
def test_words_that_say_nothing_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(UnusableProfile, match=message):
        mapping_from(words)
