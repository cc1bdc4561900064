"""Encodings to UTF-8: byte-order marks, borders anywhere, bytes that do not belong."""

from __future__ import annotations

import codecs
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulebook.telemetry.files.errors import UnusableProfile
from joulebook.telemetry.files.text import codec_name, utf8_chunks

ENCODINGS = ("utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "shift_jis", "gb18030")


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[begin:end] for begin, end in itertools.pairwise(edges)]


@settings(deadline=None)
@given(
    st.sampled_from(ENCODINGS),
    st.text(st.sampled_from("aé;\n1あ"), min_size=1),
    st.lists(st.integers(0, 500)),
)
def test_text_comes_out_as_utf8_wherever_the_chunks_end(encoding: str, text: str, places: list[int]) -> None:
    text = "".join(char for char in text if char.encode(encoding, "ignore"))
    chunks = cut(text.encode(encoding), places)
    assert b"".join(utf8_chunks(chunks, encoding=encoding)).decode() == text


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("utf-8", codecs.BOM_UTF8), ("utf-8-sig", codecs.BOM_UTF8), ("utf-16-le", codecs.BOM_UTF16_LE)],
)
def test_a_byte_order_mark_is_no_part_of_the_first_cell(encoding: str, mark: bytes) -> None:
    data = mark + "Zeit;1".encode(encoding.removesuffix("-sig"))
    for size in (1, 2, 100):
        chunks = [data[begin : begin + size] for begin in range(0, len(data), size)]
        assert b"".join(utf8_chunks(chunks, encoding=encoding)) == b"Zeit;1"


def test_a_mark_within_the_text_stays() -> None:
    data = b"a\n" + codecs.BOM_UTF8 + b"b\n"
    assert b"".join(utf8_chunks([data], encoding="utf-8")) == data


def test_a_byte_that_the_encoding_does_not_know_stays_visible_as_damage() -> None:
    got = b"".join(utf8_chunks([b"W\xe4rme\n", b"a\x81b\n"], encoding="cp1252"))
    assert got == "Wärme\n".encode() + b"a\xffb\n"
    assert b"\xff" in b"".join(utf8_chunks([b"\x00\xdcA\x00"], encoding="utf-16-le"))


def test_utf8_passes_unchecked_so_that_its_damage_keeps_its_line() -> None:
    assert b"".join(utf8_chunks([b"a\n\xe4\n"], encoding="UTF-8")) == b"a\n\xe4\n"


@pytest.mark.parametrize("name", ["rot13", "base64", "no-such", "", "punycode", "unicode_escape", "a\0b"])
def test_a_name_that_is_no_text_encoding_is_refused(name: str) -> None:
    with pytest.raises(UnusableProfile, match="is not a text encoding; try"):
        codec_name(name)


@pytest.mark.parametrize("name", ["utf-16", "utf-32"])
def test_an_encoding_that_wants_a_mark_which_is_missing_is_a_setting_that_does_not_fit(name: str) -> None:
    with pytest.raises(UnusableProfile, match="cannot be read with encoding"):
        b"".join(utf8_chunks([b"time,power\n" * 9], encoding=name))
