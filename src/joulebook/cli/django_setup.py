"""Prepares Django, and the accounts database, for a command working with accounts, devices or migrations.

Models can be imported only after Django's setup. For this reason commands import them inside functions.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django

from joulebook.cli.output import plain_errors
from joulebook.config import Config
from joulebook.embedded import telemetry_url


def setup_django(*, owner: bool = False) -> None:
    """Load Django's settings and apps; import models only after this.

    With `owner`, Django also has the database alias `telemetry_owner`, for migrations. Raises `ConfigError`
    and `EmbeddedError` for an unusable environment.
    """
    if owner:
        config = Config.from_environ()
        os.environ["JOULEBOOK_TELEMETRY_URL"] = telemetry_url(config, "reader")
        os.environ["JOULEBOOK_TELEMETRY_WRITER_URL"] = telemetry_url(config, "writer")
        os.environ["JOULEBOOK_TELEMETRY_OWNER_URL"] = telemetry_url(config, "owner")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "joulebook.web.settings")
    django.setup()


@contextmanager
def accounts_database() -> Iterator[None]:
    """Prepare Django and its default database, creating or migrating it if needed."""
    with plain_errors():
        setup_django()
        migrate_accounts()
        yield


def migrate_accounts() -> None:
    """Apply the missing migrations to the accounts database; quick if there are none."""
    from django.core.management import call_command
    from django.db import connections
    from django.db.migrations.executor import MigrationExecutor

    _create_private_file(Path(str(connections["default"].settings_dict["NAME"])))
    executor = MigrationExecutor(connections["default"])
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", database="default", verbosity=0)


def _create_private_file(file: Path) -> None:
    """Create a missing SQLite file so that only its owner can read it: it will hold password hashes."""
    from django.db import connections

    if connections["default"].vendor == "sqlite" and not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
