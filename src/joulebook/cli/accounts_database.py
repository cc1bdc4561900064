"""Opens the accounts database for a command, brought up to date."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from joulebook.cli.django_setup import setup_django
from joulebook.cli.output import plain_errors


@contextmanager
def accounts_database() -> Iterator[None]:
    """Prepare Django and its default database, creating or migrating it where needed."""
    with plain_errors():
        setup_django()
        migrate_accounts()
        yield


def migrate_accounts() -> None:
    """Bring the accounts database up to date; quick when it is."""
    from django.core.management import call_command
    from django.db import connections
    from django.db.migrations.executor import MigrationExecutor

    _keep_from_others(Path(str(connections["default"].settings_dict["NAME"])))
    executor = MigrationExecutor(connections["default"])
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", database="default", verbosity=0)


def _keep_from_others(file: Path) -> None:
    """Create a SQLite file readable by its owner alone; it holds the hashes of passwords."""
    from django.db import connections

    if connections["default"].vendor == "sqlite" and not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
