"""Delimiters that are regular expressions, on lines that are made to keep them busy."""

from __future__ import annotations

import time

import pytest

from joulebook.telemetry.files import split as pattern
from joulebook.telemetry.files.blocks import Block
from joulebook.telemetry.files.budget import limited_work
from joulebook.telemetry.files.errors import UnusableProfile
from joulebook.telemetry.files.profile import BLANK_RUNS
from joulebook.telemetry.files.split import LONGEST_LINE, Splitter


def split(data: bytes, text: str) -> bytes:
    return Splitter.from_words("", pattern=text).prepare(Block(data, 1)).data


def test_long_runs_of_blanks_take_no_more_time_than_other_text() -> None:
    data = (b"a" + b" " * 120_000 + b"b\n") * 4
    began = time.process_time()
    assert split(data, BLANK_RUNS) == b"a\x1fb\n" * 4
    # A try at each blank took a hundred seconds for one such line.
    assert time.process_time() - began < 5


def test_blanks_at_the_edges_of_lines_are_no_cells() -> None:
    data = b"  a  b \r\n\t c  \n \r\n  \n d e\r\n"
    assert split(data, BLANK_RUNS) == b"a\x1fb\r\nc\n\r\n\nd\x1fe\r\n"


def test_what_stands_between_quotes_is_not_split() -> None:
    data = b'a :: "b :: c" :: d\n"e" :: "f::g"\nx "y :: z\n'
    assert split(data, " *:: *") == b'a\x1f"b :: c"\x1fd\n"e"\x1f"f::g"\nx "y\x1fz\n'


@pytest.mark.parametrize("text", ["(?:[ab]{0,100}){0,20}c|a", "a{5}{5}", "(?x) a{ 21 }", "a{,21}b|c"])
def test_an_expression_that_multiplies_its_parts_is_refused(text: str) -> None:
    with pytest.raises(UnusableProfile, match="repeats parts too often"):
        Splitter.from_words("", pattern=text)


@pytest.mark.parametrize("text", [r"[ ]{2,}", r"\s*;\s*", r"\x{3b}", r"\p{P} {1,4}", "[,;]"])
def test_usual_expressions_are_taken(text: str) -> None:
    assert Splitter.from_words("", pattern=text).pattern == text


def test_an_expression_is_not_tried_on_a_line_that_is_too_long_for_it() -> None:
    long = b"a;" * LONGEST_LINE
    assert split(b"a;b\n" + long + b"\nc;d\n", "[;]") == b"a\x1fb\n" + long + b"\nc\x1fd\n"


def test_an_expression_that_takes_too_long_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pattern, "MOST_SECONDS", 0.0)
    with pytest.raises(UnusableProfile, match="takes too long on the lines of this file; write a simpler"):
        split((b"a" * 2000 + b"\n") * 50, "a.*b|a")


def test_the_slowest_expression_known_is_refused_in_a_few_seconds_of_processor_time() -> None:
    line = "äöüßéèàñçõ" * 204  # longer lines are not split: this one is not, and 8,000 characters took 18 s
    text = r"(?:\w*[äöü]\w{19}!|\pL*é\pL+\?|\w+à\w*;)|\w"
    began = time.process_time()
    with limited_work(60), pytest.raises(UnusableProfile, match="takes too long"):
        for _ in range(20):  # as a file is looked at several times
            split((line.encode() + b"\n") * 20, text)
    assert time.process_time() - began < 12
