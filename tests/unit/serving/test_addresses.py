"""Who a client is behind proxies, and whose share it uses."""

from __future__ import annotations

import pytest

from joulebook.config import Config, ConfigError
from joulebook.serving.addresses import client_address, is_trusted, share_key

TRUSTED = Config.from_environ(
    {"JOULEBOOK_TRUSTED_PROXIES": "10.0.0.0/8, 127.0.0.1,2001:db8:1::/48"}
).trusted_proxies


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("203.0.113.5", None, "203.0.113.5"),
        ("203.0.113.5", "198.51.100.1", "203.0.113.5"),
        ("10.0.0.5", None, "10.0.0.5"),
        ("10.0.0.5", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.5", "198.51.100.1, 10.0.0.6", "198.51.100.1"),
        ("10.0.0.5", "1.1.1.1, 198.51.100.1, 10.0.0.6", "198.51.100.1"),
        ("10.0.0.5", "1.1.1.1,127.0.0.1,203.0.113.9", "203.0.113.9"),
        ("::ffff:10.0.0.5", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.5", "::ffff:198.51.100.1", "198.51.100.1"),
        ("::ffff:203.0.113.5", "198.51.100.1", "203.0.113.5"),
        ("2001:db8:1::7", "2001:DB8:2:0::1", "2001:db8:2::1"),
        ("10.0.0.5", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.5", "[2001:db8:2::1]:4711", "2001:db8:2::1"),
        ("10.0.0.5", "[2001:db8:2::1]", "2001:db8:2::1"),
        ("10.0.0.5", "10.0.0.7, 10.0.0.6", "10.0.0.7"),
        ("10.0.0.5", "", "10.0.0.5"),
        ("10.0.0.5", "198.51.100.1, unknown", "10.0.0.5"),
        ("10.0.0.5", "198.51.100.1, _hidden, 10.0.0.6", "10.0.0.6"),
        ("10.0.0.5", "'; DROP TABLE clients", "10.0.0.5"),
        ("", "198.51.100.1", ""),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_no_trusted_proxys(
    peer: str, forwarded_for: str | None, client: str
) -> None:
    assert client_address(peer, forwarded_for, TRUSTED) == client


def test_nobody_is_believed_without_the_setting() -> None:
    none = Config.from_environ({}).trusted_proxies
    assert client_address("127.0.0.1", "198.51.100.1", none) == "127.0.0.1"
    assert not is_trusted("127.0.0.1", none)


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("127.0.0.1", True),
        ("::ffff:127.0.0.1", True),
        ("127.0.0.2", False),
        ("2001:db8:1:2::3", True),
        ("2001:db8:2::3", False),
        ("", False),
    ],
)
def test_a_proxy_is_trusted_by_address_or_network(peer: str, trusted: bool) -> None:
    assert is_trusted(peer, TRUSTED) is trusted


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("::ffff:203.0.113.5", "203.0.113.5"),
        ("2001:db8:1:2::3", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::3", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_an_ipv6_address_shares_with_its_network_an_ipv4_address_stands_alone(address: str, key: str) -> None:
    assert share_key(address) == key


@pytest.mark.parametrize("text", ["proxy.example", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.1;10.0.0.2", "*"])
def test_a_setting_that_is_no_list_of_addresses_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match="JOULEBOOK_TRUSTED_PROXIES"):
        Config.from_environ({"JOULEBOOK_TRUSTED_PROXIES": text})
