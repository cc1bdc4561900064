"""The address of a client behind trusted proxies, and the share of connections it counts in."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Networks = Iterable[IPv4Network | IPv6Network]
"""As in `Config.trusted_proxies`."""

_IPV6_SHARE_BITS = 64


def client_address(peer: str, forwarded_for: str | None, trusted: Networks) -> str:
    """Return the address of the client: the rightmost one outside the trusted proxies.

    `peer` is the other end of the connection. `forwarded_for` is the value of X-Forwarded-For, several
    headers joined by commas in their order. It counts only if the peer is a trusted proxy. Each proxy
    appends the address of its caller, so a client can write only to the left of the result. An entry without
    an address ends the search, and the proxy passing it on counts as the client.
    """
    client = _parse(peer)
    if client is None:
        return peer
    networks = tuple(trusted)
    if forwarded_for is not None:
        for entry in reversed(forwarded_for.split(",")):
            if not _is_in(client, networks):
                break
            address = _parse(_without_port(entry.strip()))
            if address is None:
                break
            client = address
    return str(client)


def is_trusted(peer: str, trusted: Networks) -> bool:
    """Return whether the other end of a connection is a trusted proxy."""
    address = _parse(peer)
    return address is not None and _is_in(address, trusted)


def share_key(address: str) -> str:
    """Return the key of an address for limits: an IPv4 address, or the /64 of an IPv6 address.

    One household or machine has a whole /64, and could call from each of its addresses.
    """
    parsed = _parse(address)
    if isinstance(parsed, IPv6Address):
        prefix = int(parsed) >> _IPV6_SHARE_BITS << _IPV6_SHARE_BITS
        return f"{IPv6Address(prefix)}/{_IPV6_SHARE_BITS}"
    return address if parsed is None else str(parsed)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address; one written as IPv6 (`::ffff:10.0.0.5`) counts as IPv4."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _without_port(entry: str) -> str:
    """Return the address of `10.0.0.5:4711`, `[2001:db8::1]:4711` or `[2001:db8::1]`."""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry


def _is_in(address: IPv4Address | IPv6Address, networks: Networks) -> bool:
    return any(address in network for network in networks)
