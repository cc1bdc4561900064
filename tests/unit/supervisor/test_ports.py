"""Ports are looked at before anything starts, and the message names the variable."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from joulebook.supervisor.ports import NamedPort, PortTrouble, check_ports
from joulebook.supervisor.specs import Address


@pytest.fixture
def taken() -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener


def named(port: int, host: str = "127.0.0.1", name: str = "WEB") -> NamedPort:
    return NamedPort(Address(host, port), f"JOULEBOOK_{name}_PORT", f"JOULEBOOK_{name}_HOST")


def test_a_taken_port_is_named_with_its_variable(taken: socket.socket) -> None:
    port = taken.getsockname()[1]
    with pytest.raises(
        PortTrouble, match=rf"port {port} on 127\.0\.0\.1 is in use.*JOULEBOOK_WEB_PORT={port}"
    ):
        check_ports([named(port)], patience=0.2)


def test_a_port_that_is_taken_on_one_address_is_not_free_on_all(taken: socket.socket) -> None:
    with pytest.raises(PortTrouble, match="in use"):
        check_ports([named(taken.getsockname()[1], host="0.0.0.0")], patience=0.2)  # noqa: S104


def test_a_port_that_becomes_free_in_time_is_fine(taken: socket.socket) -> None:
    closing = threading.Timer(0.3, taken.close)
    closing.start()
    began = time.monotonic()
    check_ports([named(taken.getsockname()[1])], patience=5.0)
    assert time.monotonic() - began > 0.2
    closing.join()


def test_two_services_on_one_port_are_told_apart() -> None:
    with pytest.raises(PortTrouble, match="JOULEBOOK_WEB_PORT and JOULEBOOK_INGEST_PORT are both 18765"):
        check_ports([named(18765), named(18765, name="INGEST")])


def test_a_host_that_is_not_this_machine_is_named() -> None:
    with pytest.raises(PortTrouble, match=r"cannot listen on 192\.0\.2\.1 \(JOULEBOOK_WEB_HOST\)"):
        check_ports([named(18765, host="192.0.2.1")])


def test_looking_leaves_the_port_free() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    check_ports([named(port)])
    with socket.socket() as service:
        service.bind(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000/"),
        ("0.0.0.0", "http://127.0.0.1:8000/"),  # noqa: S104
        ("::", "http://[::1]:8000/"),
        ("joulebook.lan", "http://joulebook.lan:8000/"),
    ],
)
def test_an_address_is_one_that_a_browser_can_open(host: str, url: str) -> None:
    assert Address(host, 8000).url == url
