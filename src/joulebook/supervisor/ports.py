"""Checks before the start that the services' ports are free."""

from __future__ import annotations

import errno
import socket
import time
from dataclasses import dataclass

from joulebook.supervisor.specs import Address


@dataclass(frozen=True)
class NamedPort:
    """An address to listen on, and the variables setting it."""

    address: Address
    port_variable: str
    host_variable: str


class PortTrouble(Exception):
    """A port cannot be listened on; the message names it and its variable."""


def check_ports(ports: list[NamedPort], *, patience: float = 3.0) -> None:
    """Raise `PortTrouble` unless every port can be listened on.

    A port in use is tried again for up to `patience` seconds: the services of a supervisor killed a moment
    ago may still be ending.
    """
    seen: dict[tuple[str, int], NamedPort] = {}
    for port in ports:
        twin = seen.setdefault((port.address.host, port.address.port), port)
        if twin is not port:
            raise PortTrouble(
                f"{twin.port_variable} and {port.port_variable} are both {port.address.port}: change one"
            )
    deadline = time.monotonic() + patience
    for port in ports:
        while problem := _problem(port):
            if time.monotonic() > deadline or not problem.passing:
                raise PortTrouble(problem.message)
            time.sleep(0.1)


@dataclass(frozen=True)
class _Problem:
    message: str
    passing: bool = False


def _problem(port: NamedPort) -> _Problem | None:
    host, number = port.address.host, port.address.port
    setting = f"{port.port_variable}={number}"
    try:
        family, kind, protocol, _, destination = socket.getaddrinfo(
            host or None, number, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as exc:
        return _Problem(f"{port.host_variable}={host!r} is no address of this machine: {exc.strerror}")
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(destination)
            probe.listen(1)
        except OSError as exc:
            if exc.errno == errno.EADDRINUSE:
                return _Problem(
                    f"port {number} on {host} is in use by another program: "
                    f"stop that one, or choose another port than {setting}",
                    passing=True,
                )
            if exc.errno == errno.EACCES:
                return _Problem(f"{setting}: ports below 1024 need special rights; choose a higher one")
            return _Problem(f"cannot listen on {host} ({port.host_variable}), {setting}: {exc.strerror}")
    return None
