"""`joulebook simulate`: believable devices sending packets to ingest, until Ctrl-C.

Models of Django are imported inside functions: Django has to be set up first.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from joulebook.cli.django_setup import accounts_database
from joulebook.cli.output import fail, plain_errors, say
from joulebook.cli.progress import StatusLine
from joulebook.cli.up import ingest_url
from joulebook.cli.user import find_user
from joulebook.config import Config
from joulebook.readiness import tell_ready
from joulebook.simulator.clock import BLOCK
from joulebook.simulator.devices import DeviceKind
from joulebook.simulator.fleet import Fleet, kind_of
from joulebook.simulator.run import FleetProgress, Simulator
from joulebook.simulator.state_file import UnableToReadState, read_states, resume, write_states
from joulebook.simulator.sun import Site
from joulebook.simulator.tokens import DeviceCredentials, UnableToReadTokens, read_tokens, write_tokens
from joulebook.telemetry.readings import to_microseconds

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def simulate(
    *,
    url: Annotated[
        str, typer.Option(help="address of ingest; empty: this machine's", show_default=False)
    ] = "",
    token_file: Annotated[
        Path,
        typer.Option(help="lines of `device_id token`, readable by you alone; - is standard input"),
    ],
    devices: Annotated[int, typer.Option(min=0, help="how many devices of the file; 0: all of them")] = 0,
    rate: Annotated[
        float, typer.Option(min=0.001, max=1000.0, help="packets a second, of each device")
    ] = 1.0,
    batch: Annotated[int, typer.Option(min=1, max=10_000, help="packets of a device to send at a time")] = 1,
    create: Annotated[
        int,
        typer.Option(
            min=0, help="first create this many devices and the token file, on the server's machine"
        ),
    ] = 0,
    owner: Annotated[str, typer.Option(help="the owner of created devices")] = "",
    prefix: Annotated[str, typer.Option(help="the beginning of created devices' ids")] = "sim",
    seed: Annotated[int, typer.Option(help="another seed is another set of homes")] = 0,
    state: Annotated[
        Path | None,
        typer.Option(help="file with the homes' counters and batteries; empty: beside the token file"),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%dT%H:%M:%S%z"], help="also send the packets since this time"),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.0, help="stop after this long; 0: on Ctrl-C")] = 0.0,
    connections: Annotated[int, typer.Option(min=1, max=1000, help="requests at the same time")] = 16,
    buffer: Annotated[
        int, typer.Option(min=1, help="most packets to keep during an outage of the server, in all")
    ] = 200_000,
    status: Annotated[
        bool | None,
        typer.Option("--status/--no-status", help="rewrite one line; else write a line a minute"),
    ] = None,
) -> None:
    """Send the readings of simulated homes: battery, roof and grid meter, three devices a home.

    Each home's energies add up, and the sun over it is the real one. During an outage of the server the
    packets wait, and are sent again until it has them.
    """
    with plain_errors():
        url = _checked_url(url)
        if create:
            _create_devices(create, owner=owner, prefix=prefix, token_file=token_file)
        try:
            tokens = read_tokens(token_file)
        except UnableToReadTokens as exc:
            fail(str(exc))
        if devices > len(tokens):
            fail(f"{token_file} names {len(tokens)} devices, not {devices}; --create {devices} makes more")
        if state is None and str(token_file) != "-":
            state = token_file.with_name(token_file.name + ".state")
        job = _SimulatorRun(
            tokens=tokens[: devices or None],
            url=url,
            rate=rate,
            batch=batch,
            seed=seed,
            state=state,
            since=to_microseconds(since) if since else _now(),
            seconds=seconds,
            connections=connections,
            buffer=buffer,
            line=StatusLine(transient=status),
        )
        asyncio.run(job.run())


def _checked_url(url: str) -> str:
    if not url:
        return ingest_url(Config.from_environ())
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        fail(f"--url {url!r} is no address; use http://host:port or https://host")
    if parts.username or parts.password or parts.query:
        fail("--url carries no names, secrets or parameters: tokens come from --token-file")
    return url


def _create_devices(count: int, *, owner: str, prefix: str, token_file: Path) -> None:
    """Add devices of `owner` to the token file, up to `count` in all."""
    if not owner:
        fail("--create needs --owner NAME, the devices' owner")
    if str(token_file) == "-":
        fail("--create needs the name of a file in --token-file to write the tokens to")
    try:
        known = read_tokens(token_file) if token_file.exists() else []
    except UnableToReadTokens as exc:
        fail(str(exc))
    taken = {device_id for device_id, _ in known}
    wanted = []
    for number in range(len(known), count):
        home, kind = number // 3 + 1, kind_of(number)
        device_id = f"{prefix}-{number + 1:05d}"
        if device_id in taken:
            fail(f"{token_file} names {device_id} out of order: give --create a file of its own")
        wanted.append((device_id, f"{kind.name} {home}", kind))
    if not wanted:
        return
    with accounts_database():
        made = ensure_simulated_devices(find_user(owner), wanted, time_zone=Site().time_zone)
    write_tokens(token_file, [*known, *made])
    say(f"{len(made)} devices of {owner} created, their tokens are in {token_file}")


class _SimulatorRun:
    """One run of the simulator."""

    def __init__(
        self,
        *,
        tokens: list[DeviceCredentials],
        url: str,
        rate: float,
        batch: int,
        seed: int,
        state: Path | None,
        since: int,
        seconds: float,
        connections: int,
        buffer: int,
        line: StatusLine,
    ) -> None:
        try:
            states, since = resume(read_states(state) if state else {}, since=since, now=_now())
        except UnableToReadState as exc:
            fail(str(exc))
        self._fleet = Fleet(
            [device_id for device_id, _ in tokens],
            start=since // 1_000_000,
            rate=rate,
            seed=seed,
            states=states,
        )
        self._tokens, self._url, self._state, self._since = tokens, url, state, since
        self._batch, self._buffer, self._connections = batch, buffer, connections
        self._seconds, self._line = seconds, line
        self._kept_block = since // 1_000_000 // BLOCK
        self._in_trouble = False

    async def run(self) -> None:
        """Run until Ctrl-C, SIGTERM or the end of the requested time."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        if self._seconds:
            loop.call_later(self._seconds, stop.set)
        simulator = Simulator(
            self._fleet,
            self._tokens,
            self._url,
            batch=self._batch,
            buffer=self._buffer,
            connections=self._connections,
        )
        reporter = asyncio.create_task(self._report(simulator))
        try:
            await simulator.run(since=self._since, stop=stop, on_tick=self._after_tick)
        finally:
            reporter.cancel()
            self._write_states()
        self._line.end(describe(simulator.progress))

    async def _report(self, simulator: Simulator) -> None:
        self._line.end(f"{len(self._tokens)} devices send to {self._url}")
        while True:
            await asyncio.sleep(0.5)
            progress = simulator.progress
            before, self._in_trouble = self._in_trouble, bool(progress.troubled)
            self._line.show(describe(progress), urgent=before != self._in_trouble)

    def _after_tick(self, time: int) -> None:
        """Write the homes' states at each new block; report readiness at the first tick."""
        tell_ready()
        block = time // 1_000_000 // BLOCK
        if block != self._kept_block:
            self._kept_block = block
            self._write_states()

    def _write_states(self) -> None:
        if self._state is not None:
            write_states(self._state, {**read_states(self._state), **self._fleet.states()})


def _now() -> int:
    return time.time_ns() // 1_000


def describe(progress: FleetProgress) -> str:
    """Return the status as one line."""
    parts = [
        f"sent {progress.sent:,}",
        f"stored {progress.stored:,}",
        f"duplicates {progress.duplicates:,}",
        f"waiting {progress.waiting:,}",
    ]
    if progress.refused:
        parts.append(f"refused {progress.refused:,} ({progress.last_refusal})")
    if progress.given_up:
        parts.append(f"given up {progress.given_up:,}")
    if progress.trouble:
        parts.append(f"trouble: {progress.trouble}")
    return " · ".join(parts)


def ensure_simulated_devices(
    owner: User, wanted: Iterable[tuple[str, str, DeviceKind]], *, time_zone: str
) -> list[DeviceCredentials]:
    """Create the wanted (device id, name, kind) as the owner's devices; return a new token for each.

    The owner's existing devices stay unchanged. Ends the command if an id belongs to another user. Call it
    after Django's setup; everything happens in one transaction.
    """
    from django.db import transaction

    from joulebook.web.devices.models import Device, Metric
    from joulebook.web.devices.operations import UnableToCreateDevice, create_device, issue_device_token

    tokens = []
    with transaction.atomic():
        for device_id, name, kind in wanted:
            device = Device.objects.filter(device_id=device_id).first()
            if device is not None and device.owner_id != owner.pk:
                fail(f"device {device_id!r} belongs to another user: choose other ids, or remove it")
            if device is None:
                try:
                    device = create_device(device_id, owner=owner, name=name, time_zone=time_zone)
                except UnableToCreateDevice as exc:
                    fail(str(exc))
                Metric.objects.bulk_create(
                    Metric(device=device, name=metric.name, unit=metric.unit, kind=metric.kind)
                    for metric in kind.metrics
                )
            tokens.append(DeviceCredentials(device_id, issue_device_token(device)))
    return tokens
