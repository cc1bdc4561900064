"""Makes a database's schema as it was in a backup, by Django's migrations. Django is set up by the caller."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from joulebook.backup.errors import BackupError
from joulebook.backup.manifest import Manifest, Migration

_APPS = ("accounts", "devices", "imports", "readings")


def check_age(manifest: Manifest, package: Path) -> None:
    """Refuse a backup of a later version; looks at files alone. Raises `BackupError`."""
    unknown = [
        f"{app}.{name}"
        for app, name in {*manifest.telemetry.migrations, *manifest.accounts.migrations}
        if app in _APPS and not (package / "web" / app / "migrations" / f"{name}.py").is_file()
    ]
    if unknown:
        raise BackupError(
            _newer(unknown, f"Joulebook {manifest.joulebook} made it; install that or a later one")
        )


def migrate_to(database: str, migrations: Iterable[Migration]) -> None:
    """Bring a database to the state at which exactly these migrations are applied. Raises `BackupError`."""
    wanted = set(migrations)
    loader = MigrationLoader(None)
    unknown = wanted - set(loader.graph.nodes)
    if unknown:
        raise BackupError(
            _newer([f"{app}.{name}" for app, name in unknown], "install the version that made it")
        )
    # Naming others than the last ones would take back what they had brought along.
    last = [
        key
        for key in sorted(wanted)
        if not any(child.key in wanted for child in loader.graph.node_map[key].children)
    ]
    executor = MigrationExecutor(connections[database])
    executor.migrate(last)
    connections[database].close()


def _newer(unknown: list[str], remedy: str) -> str:
    names = ", ".join(sorted(unknown))
    return f"the backup is of a newer version, with migrations unknown here ({names}): {remedy}"
