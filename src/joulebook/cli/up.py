"""`joulebook up`: all of Joulebook on this machine, until Ctrl-C."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from joulebook.cli.output import fail, plain_errors
from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase
from joulebook.embedded.urls import uses_own_server
from joulebook.logs import JSON
from joulebook.page_assets import require_page_assets
from joulebook.supervisor.console import Console
from joulebook.supervisor.home_lock import AlreadyRuns, only_one
from joulebook.supervisor.plan import joulebook_plan, listening_ports
from joulebook.supervisor.ports import NamedPort, PortTrouble, check_ports
from joulebook.supervisor.privileges import drop_privileges
from joulebook.supervisor.specs import Address, ProcessSpec
from joulebook.supervisor.supervisor import ProcessFailed, run_plan


def up() -> None:
    """Run database, web, ingest and worker until Ctrl-C; migrate first, restart dead processes."""
    with plain_errors():
        config = Config.from_environ()

        def announce(console: Console) -> None:
            console.say(f"Joulebook is ready at {web_url(config)} (ingest at {ingest_url(config)}).")

        run_home(config, joulebook_plan(config, os.environ), announce=announce)


def web_url(config: Config) -> str:
    """Return the public address of the pages if it is set, else the address for a browser on this machine."""
    return config.web_url or Address(config.web_host, config.web_port).url


def ingest_url(config: Config) -> str:
    """Return the address of ingest for a device on this machine."""
    return Address(config.ingest_host, config.ingest_port).url


def run_home(config: Config, plan: Sequence[ProcessSpec], *, announce: Callable[[Console], None]) -> None:
    """Run a plan on this home until a signal stops it; call `announce` as soon as everything is ready.

    Ends the command with a message if another supervisor runs in the home, a port is taken, or a process
    does not start. Raises `AssetsMissing`.
    """
    require_page_assets("web", "ingest")
    console = Console(sys.stdout, [spec.name for spec in plan], json_lines=config.log_format == JSON)
    try:
        with only_one(config.home, note=web_url(config)):
            check_ports([*listening_ports(config), *_database_port(config)])
            plan = drop_privileges(config, plan, console.say)
            run_plan(plan, console, on_ready=lambda: announce(console))
    except (AlreadyRuns, PortTrouble, ProcessFailed) as exc:
        fail(str(exc))
    console.say("Stopped.")


def _database_port(config: Config) -> list[NamedPort]:
    """Return the port that the embedded database will listen on; an empty list if there is none to check."""
    if config.db_port is None or uses_own_server(config) or EmbeddedDatabase(config).pid() is not None:
        return []
    return [NamedPort(Address("127.0.0.1", config.db_port), "JOULEBOOK_DB_PORT", "JOULEBOOK_DB_PORT")]
