"""The demo's preparing step: user, devices, and the readings of the last thirty days that are missing.

Run as a process of its own by `joulebook demo`. Interrupted at any point, it is completed by its next run.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Annotated

import typer

from joulebook.cli.accounts_database import accounts_database
from joulebook.cli.demo_files import DemoFiles
from joulebook.cli.output import fail, say
from joulebook.cli.progress import StatusLine
from joulebook.config import Config
from joulebook.simulator.tokens import DeviceToken, UnableToReadTokens, read_tokens, write_tokens

if TYPE_CHECKING:
    from django.contrib.auth.models import User

_DAY = 86_400
_DEVICE_IDS = ("device_001", "device_002", "device_003")


def main(
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
        _fill(
            config,
            files,
            devices,
            span=(end - days * _DAY, end),
            line=StatusLine(transient=status, log_step=5.0),
        )


def _ensure_user(files: DemoFiles) -> User:
    """Return the demo's user; the password in the file is the user's, or the file says that it is not."""
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


def _ensure_devices(files: DemoFiles, owner: User) -> list[DeviceToken]:
    """Return the demo's three devices, created and given tokens at the first start."""
    from joulebook.cli.simulated_devices import ensure_simulated_devices
    from joulebook.simulator.devices import DEVICE_KINDS
    from joulebook.simulator.sun import Place
    from joulebook.web.devices.models import Device

    if files.tokens.exists() and Device.objects.filter(device_id__in=_DEVICE_IDS).count() == len(_DEVICE_IDS):
        try:
            return read_tokens(files.tokens)
        except UnableToReadTokens as exc:
            fail(str(exc))
    wanted = [(device_id, kind.name, kind) for device_id, kind in zip(_DEVICE_IDS, DEVICE_KINDS, strict=True)]
    tokens = ensure_simulated_devices(owner, wanted, time_zone=Place().time_zone)
    write_tokens(files.tokens, tokens)
    return tokens


def _fill(
    config: Config,
    files: DemoFiles,
    devices: list[DeviceToken],
    *,
    span: tuple[int, int],
    line: StatusLine,
) -> None:
    """Write what is missing in [start, end), and keep the state in which the home then is."""
    from joulebook.embedded import telemetry_url
    from joulebook.simulator.backfill import Backfill
    from joulebook.simulator.home import Home
    from joulebook.simulator.state_file import read_states, write_states
    from joulebook.telemetry.connection import connect

    start, end = span
    origin = files.read_origin()
    if origin is None:
        origin = start // _DAY * _DAY
        files.write_origin(origin)
    start = max(start, origin)
    home = Home(files.SEED)
    kept = read_states(files.states).get(home.seed)
    states = [home.begin(origin), *([kept] if kept else [])]
    progress = _Progress(line)
    with connect(telemetry_url(config, "writer")) as conn:
        backfill = Backfill(conn, home, [device.device_id for device in devices])
        state = backfill.run(states, start=start, end=end, told=progress.told)
    if kept is None or state.block >= kept.block:
        write_states(files.states, {home.seed: state})
    progress.end()


class _Progress:
    """A bar for the readings that are written."""

    def __init__(self, line: StatusLine) -> None:
        self._line = line
        self._began = time.monotonic()
        self._written = 0

    def told(self, written: int, total: int) -> None:
        """Show how far it is."""
        self._written = written
        if not self._line.due():
            return
        share = written / total
        left = (time.monotonic() - self._began) * (1.0 - share) / share
        bar = "█" * int(24 * share)
        millions = f"{written / 1e6:.1f} of {total / 1e6:.1f} million readings"
        self._line.show(f"{bar:░<24} {share:4.0%}  {millions}, {left:.0f} s left")

    def end(self) -> None:
        """Say what was written."""
        seconds = time.monotonic() - self._began
        if self._written:
            self._line.end(f"{self._written:,} readings of the past written in {seconds:.1f} s")
        else:
            say("the readings of the past are there already")


if __name__ == "__main__":
    typer.run(main)
