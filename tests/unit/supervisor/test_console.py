"""The console: whole lines behind names, transient ones in place, and a lost terminal."""

from __future__ import annotations

import io
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.supervisor.console import Console, LineSplitter


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def said(chunks: list[bytes], *, terminal: bool = False) -> str:
    stream = Terminal() if terminal else io.StringIO()
    lines = LineSplitter(Console(stream, ["web"], colour=False), "web")
    for chunk in chunks:
        lines.feed(chunk)
    lines.close()
    return stream.getvalue()


def test_lines_are_put_together_from_pieces() -> None:
    assert said([b"one\ntw", b"o\nth", b"ree"]) == "web │ one\nweb │ two\nweb │ three\n"


@given(st.lists(st.binary(max_size=6), max_size=12))
def test_what_is_said_does_not_depend_on_how_the_pipe_cuts_it(chunks: list[bytes]) -> None:
    assert said(chunks) == said([b"".join(chunks)])


def test_a_line_end_of_two_characters_is_one_even_when_it_is_cut() -> None:
    assert said([b"one\r", b"\ntwo\r\n"]) == "web │ one\nweb │ two\n"


def test_transient_lines_are_left_out_of_a_log() -> None:
    assert said([b"10 %\r20 %\r", b"done\n"]) == "web │ done\n"


def test_on_a_terminal_the_next_line_takes_a_transient_ones_place() -> None:
    text = said([b"10 %\r", b"20 %\r", b"done\n"], terminal=True)
    assert text == "web │ 10 %\r\x1b[2Kweb │ 20 %\r\x1b[2Kweb │ done\n"


def test_a_transient_line_is_cut_before_it_wraps() -> None:
    text = said([b"x" * 200 + b"\r", b"y" * 200 + b"\n"], terminal=True)
    assert text == f"web │ {'x' * 73}\r\x1b[2Kweb │ {'y' * 200}\n"


def test_a_line_without_an_end_is_cut_and_not_gathered_for_ever() -> None:
    assert said([b"x" * 70_000, b"y\n"]).splitlines() == ["web │ " + "x" * 70_000, "web │ y"]


def test_bytes_that_are_no_text_are_shown_as_well_as_can_be() -> None:
    assert said([b"caf\xe9\n"]) == "web │ caf�\n"


def test_the_last_words_are_kept_without_transient_lines() -> None:
    lines = LineSplitter(Console(io.StringIO(), ["web"]), "web", keep=2)
    lines.feed(b"one\ntwo\n10 %\rthree\n")
    assert list(lines.last) == ["two", "three"]


def test_names_are_padded_to_the_longest() -> None:
    stream = io.StringIO()
    console = Console(stream, ["web", "database"])
    console.line("web", "x")
    console.line("database", "y")
    assert stream.getvalue() == "web      │ x\ndatabase │ y\n"


def test_a_terminal_gets_colours_unless_it_asks_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = Terminal()
    Console(coloured, ["web"]).line("web", "x")
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    Console(plain, ["web"]).line("web", "x")
    assert "\x1b[36m" in coloured.getvalue()
    assert plain.getvalue() == "web │ x\n"


def test_a_reader_that_went_away_is_given_up_quietly() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        os.close(reading)
        console = Console(stream, ["web"])
        for _ in range(3):
            console.line("web", "nobody hears this")


def test_a_terminal_that_lacks_a_character_gets_the_rest_of_the_line() -> None:
    kept = io.BytesIO()
    console = Console(io.TextIOWrapper(kept, encoding="latin-1", write_through=True), ["web"])
    console.line("web", "1.2 kW → 30 °C")
    assert kept.getvalue().decode("latin-1") == "web ? 1.2 kW ? 30 °C\n"


def test_in_json_every_line_is_an_object_and_those_of_services_pass_unchanged() -> None:
    stream = io.StringIO()
    console = Console(stream, ["web", "database"], json_lines=True)
    own = '{"time": "2026-12-01T09:30:00.125Z", "level": "INFO", "process": "web", "message": "listens"}'
    lines = LineSplitter(console, "web")
    lines.feed(f"{own}\n50 %\rTraceback: x\n".encode())
    lines.close()
    console.line("database", '{"half": ')
    console.say("Joulebook is ready")
    first, *others = stream.getvalue().splitlines()
    assert first == own
    found = [json.loads(line) for line in others]
    assert [(line["process"], line["message"]) for line in found] == [
        ("web", "Traceback: x"),
        ("database", '{"half": '),
        ("up", "Joulebook is ready"),
    ]
