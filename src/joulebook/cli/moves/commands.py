"""`joulebook move influx` and `joulebook move victoria`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from joulebook.cli.django_setup import accounts_database
from joulebook.cli.moves.options import MoveOptions
from joulebook.cli.output import AsJson, fail

if TYPE_CHECKING:
    from joulebook.cli.moves.server import Server

app = typer.Typer(no_args_is_help=True, help="Move the history of InfluxDB or VictoriaMetrics here.")

_Source = Annotated[
    str,
    typer.Argument(metavar="URL|FILE", help="the server's address, or an exported file", show_default=False),
]
_Device = Annotated[
    str | None,
    typer.Option(metavar="ID", help="the device of series whose tags name none", show_default=False),
]
_Owner = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="create the devices that tags name for this user", show_default=False),
]
_Map = Annotated[
    Path | None,
    typer.Option("--map", metavar="FILE", help="targets of series, as --save-map writes", show_default=False),
]
_SaveMap = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="write the targets as CSV, to be edited", show_default=False),
]
_Login = Annotated[
    str,
    typer.Option(metavar="NAME", help="user at the server; its password is asked for", show_default=False),
]
_User = Annotated[
    str | None, typer.Option(metavar="NAME", help="the user recorded for the import", show_default=False)
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="show the series and their targets only")]
_PASSWORD = "JOULEBOOK_MOVE_PASSWORD"  # noqa: S105 - the variable's name


@app.command()
def influx(
    source: _Source,
    *,
    database: Annotated[
        str, typer.Option(metavar="NAME", help="database; default: the only one", show_default=False)
    ] = "",
    policy: Annotated[
        str,
        typer.Option(metavar="NAME", help="retention policy; default: the database's", show_default=False),
    ] = "",
    measurement: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="only this measurement; repeatable", show_default=False),
    ] = None,
    login: _Login = "",
    device: _Device = None,
    owner: _Owner = None,
    map_: _Map = None,
    save_map: _SaveMap = None,
    user: _User = None,
    dry_run: _DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Move the history of InfluxDB: from a server of version 1, or from an exported file.

    All series become one import, which can be undone. At the end counts and sums are compared. To repeat a
    move is harmless, an interrupted one continues.
    """
    from joulebook.cli.moves.server import Http

    def connect() -> Server:
        from joulebook.cli.moves.influx import InfluxServer

        http = Http(source, login=login, password=_password(login))
        return InfluxServer(http, database=database, policy=policy, measurements=measurement or [])

    options = MoveOptions(device, owner, user, map_, save_map, dry_run, as_json)
    _move(source, connect, "influx.lp", options)


@app.command()
def victoria(
    source: _Source,
    *,
    match: Annotated[
        str, typer.Option(metavar="SELECTOR", help="only series such as {job='home'}", show_default=False)
    ] = "",
    login: _Login = "",
    device: _Device = None,
    owner: _Owner = None,
    map_: _Map = None,
    save_map: _SaveMap = None,
    user: _User = None,
    dry_run: _DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Move the history of VictoriaMetrics or Prometheus: from a VictoriaMetrics server, or an exported file.

    All series become one import, which can be undone. At the end counts and sums are compared. To repeat a
    move is harmless, an interrupted one continues.
    """
    from joulebook.cli.moves.server import Http

    def connect() -> Server:
        from joulebook.cli.moves.victoria import VictoriaServer

        return VictoriaServer(Http(source, login=login, password=_password(login)), match=match)

    options = MoveOptions(device, owner, user, map_, save_map, dry_run, as_json)
    _move(source, connect, "victoria.jsonl", options)


def _password(login: str) -> str:
    """Return the password from the environment, or ask for it where there is a terminal."""
    if not login or _PASSWORD in os.environ:
        return os.environ.get(_PASSWORD, "")
    if not sys.stdin.isatty():
        fail(f"--login {login} needs a password; set {_PASSWORD}")
    return str(typer.prompt("Password", hide_input=True, err=True))


def _move(source: str, connect: Callable[[], Server], name: str, options: MoveOptions) -> None:
    with accounts_database():
        from joulebook.cli.imports.options import UnableToBegin
        from joulebook.cli.moves.run import move_file, move_server
        from joulebook.cli.moves.server import UnableToMove

        try:
            if "://" in source:
                move_server(connect(), name, options)
            else:
                move_file(Path(source), options)
        except (UnableToBegin, UnableToMove) as exc:
            fail(str(exc))
