"""`joulebook demo`: Joulebook with a user, three devices, thirty days of readings, and a live simulator.

Its preparing step is a process of its own, `python -m joulebook.cli.demo`. After an interruption at any point
the next run completes it. Models of Django are imported inside functions: Django has to be set up first.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from joulebook.cli.django_setup import accounts_database
from joulebook.cli.output import fail, plain_errors, say
from joulebook.cli.progress import StatusLine
from joulebook.cli.simulate import ensure_simulated_devices
from joulebook.cli.up import ingest_url, run_home, web_url
from joulebook.config import Config
from joulebook.embedded import telemetry_url
from joulebook.simulator.backfill import Backfill
from joulebook.simulator.devices import DEVICE_KINDS
from joulebook.simulator.home import Home
from joulebook.simulator.state_file import read_states, write_states
from joulebook.simulator.sun import Site
from joulebook.simulator.tokens import (
    DeviceCredentials,
    UnableToReadTokens,
    read_tokens,
    write_private,
    write_tokens,
)
from joulebook.supervisor.console import Console
from joulebook.supervisor.plan import (
    environment_with,
    environment_without_credentials,
    joulebook_command,
    joulebook_plan,
)
from joulebook.supervisor.specs import ProcessSpec, Ready
from joulebook.telemetry.connection import connect

if TYPE_CHECKING:
    from django.contrib.auth.models import User


def demo(
    *,
    days: Annotated[
        int, typer.Option(min=1, max=366, help="how many days of the past to write at the first start")
    ] = 30,
) -> None:
    """Show Joulebook with data: a home with a battery, a roof and a grid meter, until Ctrl-C.

    The first start writes the readings of the last days; the next one goes on where the last one stopped.
    """
    with plain_errors():
        config = Config.from_environ()
        run_home(config, _plan(config, days=days), announce=lambda console: _announce(console, config))


def _plan(config: Config, *, days: int) -> list[ProcessSpec]:
    """Return the processes of `joulebook up`, the demo's preparing step, and the simulator."""
    # The past ends, and the simulator begins, where the demo was started.
    now = int(time.time())
    progress = ("--status",) if sys.stdout.isatty() else ("--no-status",)
    history = ProcessSpec(
        name="history",
        command=(
            sys.executable,
            "-m",
            "joulebook.cli.demo",
            f"--days={days}",
            f"--end={now}",
            *progress,
        ),
        environment=environment_with(config, os.environ, "reader", "writer"),
        ready=Ready.ENDED,
        after=("migrate",),
    )
    simulator = ProcessSpec(
        name="simulator",
        command=joulebook_command("simulate", *_simulator_options(config, now), *progress),
        environment=lambda: environment_without_credentials(config, os.environ),
        ready=Ready.NOTIFIES,
        after=("ingest",),
        stop_timeout=10.0,
    )
    plan: list[ProcessSpec] = []
    for spec in joulebook_plan(config, os.environ):
        if spec.after == ("migrate",):
            plan.append(replace(spec, after=("history",)))
        else:
            plan.append(spec)
        if spec.name == "migrate":
            plan.append(history)
    return [*plan, simulator]


def _simulator_options(config: Config, since: int) -> list[str]:
    files = DemoFiles(config.home)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime(since))
    return [
        f"--url={ingest_url(config)}",
        f"--token-file={files.tokens}",
        f"--state={files.states}",
        f"--seed={files.SEED}",
        f"--since={stamp}",
    ]


def _announce(console: Console, config: Config) -> None:
    files = DemoFiles(config.home)
    name, password = files.read_credentials()
    console.say(
        f"\n    Joulebook is ready:  {web_url(config)}\n\n"
        f"    user      {name}\n"
        f"    password  {password or 'your own one'}\n\n"
        f"    (kept in {files.credentials})\n"
        "    Ctrl-C stops everything; the next start goes on with the data.\n"
    )


class DemoFiles:
    """The demo's files in one JOULEBOOK_HOME; only their owner can read them."""

    SEED: ClassVar[int] = 11
    """The home of every demo."""
    USER: ClassVar[str] = "demo"

    def __init__(self, home: Path) -> None:
        self.credentials = home / "demo-credentials"
        self.tokens = home / "demo" / "tokens"
        self.states = home / "demo" / "states.json"
        self.origin = home / "demo" / "origin"

    def read_credentials(self) -> tuple[str, str]:
        """Return the user's name and password; the password is empty if the user has chosen another."""
        try:
            lines = self.credentials.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return self.USER, ""
        fields = dict(line.split(" ", 1) for line in lines if " " in line)
        return self.USER, fields.get("password", "").strip()

    def write_credentials(self, password: str) -> None:
        """Keep the password; an empty one means a password chosen by the user."""
        text = f"user {self.USER}\n"
        write_private(self.credentials, f"{text}password {password}\n" if password else text)

    def read_origin(self) -> int | None:
        """Return when the demo's home began (seconds since 1970 UTC); None before the first start."""
        try:
            return int(self.origin.read_text(encoding="ascii"))
        except FileNotFoundError:
            return None

    def write_origin(self, second: int) -> None:
        """Keep when the demo's home began: its registers count from there."""
        write_private(self.origin, f"{second}\n")


_DAY = 86_400
_DEVICE_IDS = ("device_001", "device_002", "device_003")


def prepare(
    *,
    days: Annotated[int, typer.Option(help="how many days there shall be")],
    end: Annotated[int, typer.Option(help="write the past up to this second since 1970 UTC")],
    status: Annotated[bool | None, typer.Option("--status/--no-status")] = None,
) -> None:
    """Prepare the demo in this JOULEBOOK_HOME."""
    with accounts_database():
        config = Config.from_environ()
        files = DemoFiles(config.home)
        devices = _ensure_devices(files, _ensure_user(files))
        _fill_past(
            config,
            files,
            devices,
            span=(end - days * _DAY, end),
            line=StatusLine(transient=status, log_step=5.0),
        )


def _ensure_user(files: DemoFiles) -> User:
    """Return the demo's user; the file has the user's password, or says it is another."""
    from django.contrib.auth.models import User

    from joulebook.web.accounts.operations import UnableToCreateUser, create_user

    user = User.objects.filter(username=files.USER).first()
    _, password = files.read_credentials()
    if user is not None and password and not user.check_password(password):
        password = ""
        files.write_credentials(password)
    if user is not None and files.credentials.exists():
        return user
    if user is not None:
        fail(
            f"there is a user {files.USER!r} already whose password is not in {files.credentials}: "
            "use another JOULEBOOK_HOME for the demo"
        )
    if not password:
        password = secrets.token_urlsafe(12)
        files.write_credentials(password)
    try:
        return create_user(files.USER, password)
    except UnableToCreateUser as exc:
        fail(str(exc))


def _ensure_devices(files: DemoFiles, owner: User) -> list[DeviceCredentials]:
    """Return the demo's three devices; the first start creates them with their tokens."""
    from joulebook.web.devices.models import Device

    if files.tokens.exists() and Device.objects.filter(device_id__in=_DEVICE_IDS).count() == len(_DEVICE_IDS):
        try:
            return read_tokens(files.tokens)
        except UnableToReadTokens as exc:
            fail(str(exc))
    wanted = [(device_id, kind.name, kind) for device_id, kind in zip(_DEVICE_IDS, DEVICE_KINDS, strict=True)]
    tokens = ensure_simulated_devices(owner, wanted, time_zone=Site().time_zone)
    write_tokens(files.tokens, tokens)
    return tokens


def _fill_past(
    config: Config,
    files: DemoFiles,
    devices: list[DeviceCredentials],
    *,
    span: tuple[int, int],
    line: StatusLine,
) -> None:
    """Write the missing readings in [start, end), and keep the home's state at the end."""
    start, end = span
    origin = files.read_origin()
    if origin is None:
        origin = start // _DAY * _DAY
        files.write_origin(origin)
    start = max(start, origin)
    home = Home(files.SEED)
    kept = read_states(files.states).get(home.seed)
    states = [home.begin(origin), *([kept] if kept else [])]
    progress = _FillProgress(line)
    with connect(telemetry_url(config, "writer")) as conn:
        backfill = Backfill(conn, home, [device.device_id for device in devices])
        state = backfill.run(states, start=start, end=end, told=progress.told)
    if kept is None or state.block >= kept.block:
        write_states(files.states, {home.seed: state})
    progress.end()


class _FillProgress:
    """A bar for the readings written."""

    def __init__(self, line: StatusLine) -> None:
        self._line = line
        self._began = time.monotonic()
        self._written = 0

    def told(self, written: int, total: int) -> None:
        """Show the progress."""
        self._written = written
        if not self._line.due():
            return
        share = written / total
        left = (time.monotonic() - self._began) * (1.0 - share) / share
        bar = "█" * int(24 * share)
        millions = f"{written / 1e6:.1f} of {total / 1e6:.1f} million readings"
        self._line.show(f"{bar:░<24} {share:4.0%}  {millions}, {left:.0f} s left")

    def end(self) -> None:
        """Show the count of readings."""
        seconds = time.monotonic() - self._began
        if self._written:
            self._line.end(f"{self._written:,} readings of the past written in {seconds:.1f} s")
        else:
            say("the readings of the past are there already")


if __name__ == "__main__":
    typer.run(prepare)
