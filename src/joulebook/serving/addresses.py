"""Who the client of a connection is, behind the proxies that are trusted, and whose share it uses."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Networks = Iterable[IPv4Network | IPv6Network]
"""As in `Config.trusted_proxies`."""

_IPV6_SHARE_BITS = 64


def client_address(peer: str, forwarded_for: str | None, trusted: Networks) -> str:
    """Return the address of the client: the rightmost one that is no trusted proxy's.

    `peer` is the other end of the connection. `forwarded_for` is the value of X-Forwarded-For, several
    headers joined by commas in their order; it counts only where the peer is a trusted proxy. Each proxy
    appends the address that it was called from, so a client can write to the left of the result only.
    An entry that is no address ends the search: the proxy that passed it on is the client then.
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
    """Return what an address shares its limits with: IPv4 alone, IPv6 with its /64.

    One household or machine is given a whole /64, and could call from each of its addresses.
    """
    parsed = _parse(address)
    if isinstance(parsed, IPv6Address):
        prefix = int(parsed) >> _IPV6_SHARE_BITS << _IPV6_SHARE_BITS
        return f"{IPv6Address(prefix)}/{_IPV6_SHARE_BITS}"
    return address if parsed is None else str(parsed)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address; an IPv4 address that is written as IPv6 (`::ffff:10.0.0.5`) is IPv4."""
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
