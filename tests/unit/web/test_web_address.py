"""JOULEBOOK_WEB_URL: which addresses it may hold, and what follows from it."""

from __future__ import annotations

import pytest

from joulebook.config import Config, ConfigError


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("", None),
        ("https://Energy.Example", "https://energy.example"),
        ("https://energy.example/", "https://energy.example"),
        ("https://energy.example:443", "https://energy.example"),
        ("http://energy.example:80/", "http://energy.example"),
        ("http://energy.example:443", "http://energy.example:443"),
        ("https://energy.example:8443", "https://energy.example:8443"),
        ("https://[2001:DB8::5]:8443", "https://[2001:db8::5]:8443"),
        ("https://[2001:db8::5]", "https://[2001:db8::5]"),
    ],
)
def test_it_is_the_origin_that_browsers_write(text, origin):
    assert Config.from_environ({"JOULEBOOK_WEB_URL": text}).web_url == origin


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("energy.example", "is not an address"),
        ("https://energy.example/joulebook", "has a path"),
        ("https://energy.example?x=1", "is not an address"),
        ("https://user:secret@energy.example", "is not an address"),
        ("https://energy.example:99999", "is not an address"),
    ],
)
def test_what_is_no_origin_ends_the_start_with_the_value(text, message):
    with pytest.raises(ConfigError, match=f"JOULEBOOK_WEB_URL=.*{message}"):
        Config.from_environ({"JOULEBOOK_WEB_URL": text})


def test_cookies_for_tls_only_and_an_address_without_it_contradict_each_other():
    with pytest.raises(ConfigError, match="JOULEBOOK_SECURE=1"):
        Config.from_environ({"JOULEBOOK_WEB_URL": "http://energy.example", "JOULEBOOK_SECURE": "1"})


@pytest.mark.parametrize(
    ("variables", "networks", "named"),
    [
        ({}, [], False),
        ({"JOULEBOOK_SECURE": "1"}, ["127.0.0.0/8", "::1/128"], False),
        ({"JOULEBOOK_WEB_URL": "http://a.example"}, ["127.0.0.0/8", "::1/128"], False),
        ({"JOULEBOOK_SECURE": "1", "JOULEBOOK_TRUSTED_PROXIES": "10.0.0.5"}, ["10.0.0.5/32"], True),
    ],
)
def test_a_proxy_on_this_machine_is_trusted_where_one_is_known_of_and_none_is_named(
    variables, networks, named
):
    config = Config.from_environ(variables)
    assert [str(network) for network in config.trusted_proxies] == networks
    assert config.names_proxies is named
