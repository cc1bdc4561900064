"""`joulebook backup`, `restore` and `backups list`: everything in one folder, and back.

A restore imports its modules inside functions: a backup starts without Django.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer
from rich.console import Console
from rich.table import Table

from joulebook.backup.check import Checker
from joulebook.backup.create import create_backup
from joulebook.backup.errors import BackupError, DamagedBackup
from joulebook.backup.folder import ListedBackup, add_backup, list_backups
from joulebook.backup.manifest import Manifest, SqliteCopy, read_manifest
from joulebook.backup.restore_target import (
    check_database_is_empty,
    check_is_empty,
    explain_unfinished,
    remove_mark,
    set_mark,
    unfinished_restore,
)
from joulebook.cli.django_setup import setup_django
from joulebook.cli.output import AsJson, fail, json_result, plain_errors, result, say
from joulebook.cli.progress import show_progress
from joulebook.config import Config, sqlite_path
from joulebook.embedded import EmbeddedDatabase, EmbeddedError, ensure_binaries, telemetry_url
from joulebook.embedded.urls import uses_own_server
from joulebook.priority import make_nice
from joulebook.supervisor.home_lock import AlreadyRuns, only_one
from joulebook.telemetry.errors import TelemetryError

app = typer.Typer(no_args_is_help=True, help="List the backups made by the worker.")

TargetArgument = Annotated[
    Path | None,
    typer.Argument(help="new folder; without it, one in JOULEBOOK_BACKUP_FOLDER, as the worker makes them"),
]


def backup(
    target: TargetArgument = None,
    with_keys: Annotated[
        bool, typer.Option("--with-keys", help="add the signing key of sessions: keep this copy secret")
    ] = False,
) -> None:
    """Back up accounts, readings, imports and uploads while everything runs."""
    with plain_errors():
        config = Config.from_environ()
        make_nice()
        with show_progress("backing up") as progress:
            if target is not None:
                target = target.absolute()
                manifest = create_backup(config, target, with_keys=with_keys, is_nice=True, progress=progress)
                removed: list[Path] = []
            elif config.backup_folder is None:
                fail("name a folder, or set JOULEBOOK_BACKUP_FOLDER")
            elif with_keys:
                fail("--with-keys needs a folder of its own: keys do not belong among daily backups")
            else:
                target, manifest, removed = add_backup(config, config.backup_folder, progress=progress)
        for line in _lines(manifest):
            result(line)
        result(f"{'in':<10} {target}")
        for path in removed:
            result(f"{'removed':<10} {path}")


def restore(
    source: Annotated[Path, typer.Argument(help="folder of a backup")],
    check: Annotated[bool, typer.Option("--check", help="check the backup, restore nothing")] = False,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="repeat an unfinished restore from its beginning, replacing its results"
        ),
    ] = False,
) -> None:
    """Restore a backup into an empty JOULEBOOK_HOME, or into empty databases of a server of your own."""
    with plain_errors():
        source = source.absolute()
        manifest = read_manifest(source)
        if check:
            _check(source, manifest)
            return
        config = Config.from_environ()
        _restore(config, source, manifest, again=again)


@app.command("list")
def list_(
    folder: Annotated[Path | None, typer.Option(help="another folder than JOULEBOOK_BACKUP_FOLDER")] = None,
    as_json: AsJson = False,
) -> None:
    """List backups, the newest first; exit code 1 if one cannot be read."""
    with plain_errors():
        folder = folder or Config.from_environ().backup_folder
        if folder is None:
            fail("set JOULEBOOK_BACKUP_FOLDER, or name a folder by --folder")
        found = list_backups(folder.absolute())
        if as_json:
            json_result([_as_json(each) for each in found])
        elif found:
            _print_table(found)
        else:
            say(f"there is no backup in {folder}")
    if any(each.manifest is None for each in found):
        raise typer.Exit(1)


def _check(source: Path, manifest: Manifest) -> None:
    with show_progress("checking") as progress:
        problems = Checker(source, manifest, progress=progress).check_content()
    if problems:
        for problem in problems:
            say(problem)
        fail(f"{source} is damaged: use another backup")
    for line in _lines(manifest):
        result(line)
    result(f"{source} is whole")


def _restore(config: Config, source: Path, manifest: Manifest, *, again: bool) -> None:
    from joulebook.backup.restore import check_version

    check_version(manifest, config.package)
    goes_on = again and unfinished_restore(config.home) is not None
    if not goes_on:
        unfinished = unfinished_restore(config.home)
        if unfinished is not None:
            fail(explain_unfinished(config.home, unfinished))
        check_is_empty(config, source)
    with show_progress("checking") as progress:
        problems = Checker(source, manifest, progress=progress).check_files()
    if problems:
        raise DamagedBackup("\n".join([*problems, f"nothing was restored: {source} is damaged"]))
    try:
        with only_one(config.home, note="restoring a backup"):
            _restore_into(config, source, manifest, goes_on=goes_on)
    except AlreadyRuns as exc:
        fail(str(exc))
    for line in _lines(manifest):
        result(line)
    _tell_settings(config, manifest)


def _restore_into(config: Config, source: Path, manifest: Manifest, *, goes_on: bool) -> None:
    from joulebook.backup.restore import Restore
    from joulebook.cli.serve import migrate

    if not goes_on:
        _check_databases_are_empty(config)
    with show_progress("restoring") as progress:
        run = Restore(config, source, manifest, progress=progress)
        run.check_kind()
        set_mark(config.home, source)
        with ExitStack() as stack:
            with _explaining_unfinished(config, source):
                run.restore_files()
                stack.enter_context(_database(config))
                setup_django(owner=True)
                run.restore_telemetry(telemetry_url(config, "owner"))
                run.restore_accounts()
            remove_mark(config.home)
            migrate()


@contextmanager
def _explaining_unfinished(config: Config, source: Path) -> Iterator[None]:
    """Add the remedy for an unfinished restore to an error."""
    from django.db import Error as DjangoError

    try:
        yield
    except (OSError, TelemetryError, EmbeddedError, psycopg.Error, DjangoError) as exc:
        raise BackupError(f"{exc}\n{explain_unfinished(config.home, str(source))}") from exc


def _check_databases_are_empty(config: Config) -> None:
    if uses_own_server(config):
        check_database_is_empty(telemetry_url(config, "owner"), "readings")
    if sqlite_path(config.database_url) is None:
        check_database_is_empty(config.database_url, "accounts")


@contextmanager
def _database(config: Config) -> Iterator[None]:
    """Run the embedded database for the block; the user's own server runs already."""
    if uses_own_server(config):
        yield
        return
    ensure_binaries(config)
    database = EmbeddedDatabase(config)
    database.start()
    try:
        yield
    finally:
        database.stop()


def _tell_settings(config: Config, manifest: Manifest) -> None:
    other = {name: value for name, value in manifest.settings.items() if os.environ.get(name, "") != value}
    if other:
        say("these settings were in force there, and are not here:")
        for name, value in other.items():
            say(f"    {name}={value}")
    if not any(each.part.file.startswith("keys/") for each in manifest.files):
        say("the backup holds no signing key, so all users sign in again")
    say(f"everything is restored in {config.home}; start it with: joulebook up")


def _lines(manifest: Manifest) -> list[str]:
    accounts = manifest.accounts
    users = (
        accounts.rows.get("auth_user", 0)
        if isinstance(accounts, SqliteCopy)
        else sum(table.rows for table in accounts.tables if table.name == "auth_user")
    )
    return [
        f"{'instant':<10} {manifest.instant:%Y-%m-%d %H:%M:%S} UTC",
        f"{'readings':<10} {manifest.readings:,}",
        f"{'users':<10} {users:,}",
        f"{'uploads':<10} {len(manifest.uploads):,}",
        f"{'size':<10} {manifest.size / 1e6:,.1f} MB",
    ]


def _as_json(each: ListedBackup) -> dict[str, Any]:
    found = each.manifest
    if found is None:
        return {"path": str(each.path), "problem": each.problem}
    return {
        "path": str(each.path),
        "instant": found.instant,
        "seconds": found.seconds,
        "joulebook": found.joulebook,
        "readings": found.readings,
        "uploads": len(found.uploads),
        "bytes": found.size,
        "origin": found.origin,
    }


def _print_table(found: list[ListedBackup]) -> None:
    table = Table("instant (UTC)", "readings", "MB", "folder", box=None)
    for each in found:
        if each.manifest is None:
            table.add_row("damaged", "", "", f"{each.path}: {each.problem}")
        else:
            table.add_row(
                f"{each.manifest.instant:%Y-%m-%d %H:%M:%S}",
                f"{each.manifest.readings:,}",
                f"{each.manifest.size / 1e6:,.1f}",
                str(each.path),
            )
    Console(soft_wrap=True).print(table)
