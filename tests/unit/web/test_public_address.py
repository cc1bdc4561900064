"""JOULEBOOK_INGEST_URL: which addresses it may hold, for it becomes part of pages' policies and of commands."""

from __future__ import annotations

import pytest

from joulebook.config import Config, ConfigError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", None),
        ("https://ingest.example", "https://ingest.example"),
        ("https://ingest.example/", "https://ingest.example"),
        ("http://10.0.0.5:8001", "http://10.0.0.5:8001"),
        ("https://[2001:db8::5]:8443", "https://[2001:db8::5]:8443"),
        ("https://energy.example/ingest/", "https://energy.example/ingest"),
    ],
)
def test_an_address_is_taken_without_its_last_slash(text, address):
    assert Config.from_environ({"JOULEBOOK_INGEST_URL": text}).ingest_url == address


@pytest.mark.parametrize(
    "text",
    [
        "ingest.example",
        "ftp://ingest.example",
        "https://",
        "https://a b",
        "https://a;script-src",
        "https://a,b",
        "https://user:secret@ingest.example",
        "https://ingest.example?x=1",
        "https://ingest.example/#x",
        "https://a'\"$(id)",
    ],
)
def test_what_is_no_plain_address_ends_the_start_with_the_value(text):
    with pytest.raises(ConfigError, match="JOULEBOOK_INGEST_URL="):
        Config.from_environ({"JOULEBOOK_INGEST_URL": text})
