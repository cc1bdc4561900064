"""The words behind --map."""

from __future__ import annotations

import pytest

from joulebook.telemetry.files.errors import UnusableProfile
from joulebook.telemetry.files.settings import Target, mapping_from


def test_a_column_gets_a_metric_a_unit_or_is_left_out() -> None:
    assert mapping_from(["P=power", "U = voltage : V ", "T [°C]=temperature:°C", "note="]) == {
        "P": Target("power"),
        "U ": Target("voltage", "V"),
        "T [°C]": Target("temperature", "°C"),
        "note": None,
    }


def test_the_last_equals_sign_and_the_last_colon_part_the_words() -> None:
    assert mapping_from(["a=b=c:d:"]) == {"a=b": Target("c:d")}


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
