"""`joulebook migrate|web|ingest|worker`: each process by itself, for systemd, Compose and others.

Each command imports its service inside its function: a process loads only its own service's modules.
"""

from __future__ import annotations

from typing import Annotated

import psycopg
import typer

from joulebook.cli.django_setup import migrate_accounts, setup_django
from joulebook.cli.output import fail, plain_errors, say
from joulebook.config import Config
from joulebook.embedded import telemetry_url
from joulebook.logs import name_process
from joulebook.page_assets import require_page_assets
from joulebook.priority import make_nice
from joulebook.telemetry.connection import connect
from joulebook.telemetry.timescale import switch_compression_on


def migrate() -> None:
    """Bring both databases up to date, the readings' as the role owner."""
    with plain_errors():
        setup_django(owner=True)
        from django.core.management import call_command
        from django.db import connections

        migrate_accounts()
        call_command("migrate", database="telemetry_owner", verbosity=0)
        # No further process of this environment may inherit an owner's open connection.
        connections.close_all()
        try:
            with connect(telemetry_url(Config.from_environ(), "owner")) as conn:
                if switch_compression_on(conn):
                    say("readings are compressed when they are a week old")
        except psycopg.Error as exc:  # readings can be used without
            say(f"readings are not compressed, the server refuses: {exc}")
        say("both databases are up to date")


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
            from joulebook.supervisor.ingest import serve_with_processes
            from joulebook.supervisor.supervisor import ProcessFailed

            try:
                serve_with_processes(config, count)
            except ProcessFailed as exc:
                fail(str(exc))
            return
        from joulebook.ingest.server import serve

        serve(config)


def worker() -> None:
    """Run imports and undo them, roll readings up, and drop old ones, until stopped."""
    with plain_errors():
        name_process("worker")
        make_nice()  # an import takes all the processor time it can get
        setup_django()
        from joulebook.worker.loop import run
        from joulebook.worker.metrics import WorkerMetrics, serve_metrics
        from joulebook.worker.tasks import continuous_tasks, periodic_tasks

        config = Config.from_environ()
        metrics = WorkerMetrics(config)
        serve_metrics(config, metrics)
        run(periodic_tasks(config), continuous_tasks(config, metrics), count_run=metrics.count_run)
