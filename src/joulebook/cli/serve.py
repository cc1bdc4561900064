"""`joulebook migrate|web|ingest|worker`: each process by itself, for systemd, Compose and the like."""

from __future__ import annotations

from typing import Annotated

import psycopg
import typer

from joulebook.cli.accounts_database import migrate_accounts
from joulebook.cli.django_setup import setup_django
from joulebook.cli.output import plain_errors, say
from joulebook.config import Config
from joulebook.embedded import telemetry_url
from joulebook.logs import name_process
from joulebook.page_assets import require_page_assets
from joulebook.priority import stand_back
from joulebook.telemetry.connection import connect
from joulebook.telemetry.timescale import switch_compression_on


def migrate() -> None:
    """Bring both databases up to date: accounts as they are, readings as their owner."""
    with plain_errors():
        setup_django(owner=True)
        from django.core.management import call_command
        from django.db import connections

        migrate_accounts()
        call_command("migrate", database="telemetry_owner", verbosity=0)
        # Every further process of this environment must not inherit an owner's open connection.
        connections.close_all()
        _switch_compression_on()
        say("both databases are up to date")


def _switch_compression_on() -> None:
    """Have readings compressed where the server can; a server that refuses works as well without."""
    try:
        with connect(telemetry_url(Config.from_environ(), "owner")) as conn:
            if switch_compression_on(conn):
                say("readings are compressed when they are a week old")
    except psycopg.Error as exc:
        say(f"readings are not compressed, the server refuses: {exc}")


def web() -> None:
    """Serve the pages and the history API until stopped."""
    with plain_errors():
        config = Config.from_environ()
        name_process("web")
        require_page_assets("web")
        setup_django()
        from joulebook.web.server import serve

        serve(config)


def ingest(
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="processes on one port; JOULEBOOK_INGEST_WORKERS where not given"),
    ] = None,
) -> None:
    """Take readings from devices until stopped."""
    with plain_errors():
        config = Config.from_environ()
        require_page_assets("ingest")
        count = workers or config.ingest_workers
        if count > 1:
            from joulebook.ingest.workers import serve_with_workers

            raise typer.Exit(serve_with_workers(config, count))
        from joulebook.ingest.server import serve

        serve(config)


def worker() -> None:
    """Import and undo what people have asked for, and keep stored readings in shape, until stopped."""
    with plain_errors():
        name_process("worker")
        stand_back()  # an import takes all the time that it can get
        setup_django()
        from joulebook.worker.loop import run
        from joulebook.worker.metrics import WorkerMetrics, serve_metrics
        from joulebook.worker.tasks import continuous_tasks, periodic_tasks

        config = Config.from_environ()
        metrics = WorkerMetrics(config)
        serve_metrics(config, metrics)
        run(periodic_tasks(config), continuous_tasks(config, metrics), count_run=metrics.count_run)
