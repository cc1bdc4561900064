"""What a backup holds, what is refused and how that is told, and the backups that the worker makes."""

from __future__ import annotations

import json
import shutil
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from joulebook.backup.create import create_backup
from joulebook.backup.errors import BackupError
from joulebook.backup.folder import add_backup, list_backups
from joulebook.backup.manifest import MANIFEST, read_manifest
from joulebook.config import Config

from .conftest import ROWS, changed, store
from .homes import Home, until

pytestmark = pytest.mark.timeout(900)

OWN = """
CREATE SCHEMA own;
CREATE TABLE own."My Notes" (id int GENERATED ALWAYS AS IDENTITY, words text[], price numeric(10, 2), kind point, twice int
    GENERATED ALWAYS AS (1 + 1) STORED);
INSERT INTO own."My Notes" (words, price, kind) VALUES ('{a,"b,\\n"}', 3.25, '(1,2)'), (NULL, NULL, NULL);
GRANT USAGE ON SCHEMA own TO joulebook_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA own TO joulebook_reader;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA own TO joulebook_reader;
"""
MARKS = "SELECT begins_at, ends_at, series_id FROM rollup_dirty"
NOTES = 'SELECT words, price, kind::text FROM own."My Notes" ORDER BY id'
ALL_TABLES = """
SELECT schemaname || '.' || tablename FROM pg_tables
WHERE schemaname NOT LIKE 'pg\\_%' AND schemaname NOT LIKE '\\_timescaledb\\_%' AND schemaname <> 'information_schema'
"""


def config_of(home: Home, **environment: str) -> Config:
    return Config.from_environ(home.environment | environment)


@pytest.fixture
def own_table(source: Home) -> Iterator[None]:
    """A table that no migration knows."""
    with source.connect("owner") as conn:
        conn.execute("GRANT CREATE ON DATABASE joulebook TO joulebook_owner")
        conn.execute(OWN)
        yield
        conn.execute("DROP SCHEMA own CASCADE")


def migrate_readings(home: Home, *to: str) -> None:
    """Migrate to a migration, or else to the newest."""
    done = home._python(
        "-c",
        "from joulebook.cli.django_setup import setup_django; setup_django(owner=True)\n"
        "from django.core.management import call_command\n"
        f"call_command('migrate', 'readings', *{to!r}, database='telemetry_owner', verbosity=0)",
    )
    assert done.returncode == 0, done.stderr


def test_a_backup_of_an_earlier_version_is_restored_with_every_table_and_migrated(
    homes: Callable[..., Home], source: Home, own_table: None, tmp_path: Path
) -> None:
    (source.path / "db" / "postgresql.local.conf").write_text("work_mem = '5MB'\n")
    migrate_readings(source, "0007")
    try:
        with source.connect("owner") as conn:
            conn.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO joulebook_reader")
            conn.execute("GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO joulebook_reader")
        target = tmp_path / "backup"
        source.run("backup", str(target), "--with-keys", JOULEBOOK_UPLOAD_MAX_BYTES="5000000")
        with source.connect() as conn:
            tables = {name for (name,) in conn.execute(ALL_TABLES)}
            notes = conn.execute(NOTES).fetchall()
            marks = Counter(conn.execute(MARKS).fetchall())
        manifest = read_manifest(target)
        was = source.fingerprints()
    finally:
        migrate_readings(source)
    assert {f"{table.schema}.{table.name}" for table in manifest.telemetry.tables} == tables
    assert {
        "own.My Notes",
        "public.import_replaced",
        "public.rollup_state",
        "public.django_migrations",
    } <= tables
    assert {
        (table.name, str(table.rows)) for table in manifest.telemetry.tables if table.schema == "public"
    } == {(name, rows) for name, (rows, _) in was["telemetry"].items()}

    home = homes("earlier")
    told = home.try_("restore", str(target))
    assert told.returncode == 0, told.stderr
    assert "JOULEBOOK_UPLOAD_MAX_BYTES=5000000" in told.stderr
    assert "sign in again" not in told.stderr
    home.run("db", "start")
    now = home.fingerprints()
    # Migrations add tables and columns, rows to the list of migrations, and one mark; every row is there again.
    changed = ("django_migrations", "series", "rollup_dirty")
    unchanged = {name: found for name, found in was["telemetry"].items() if name not in changed}
    assert {name: now["telemetry"][name] for name in unchanged} == unchanged
    assert now["telemetry"]["series"][0] == was["telemetry"]["series"][0]
    assert int(now["telemetry"]["django_migrations"][0]) > int(was["telemetry"]["django_migrations"][0])
    assert now["accounts"] == was["accounts"]
    with home.connect("owner") as conn:
        assert conn.execute(NOTES).fetchall() == notes
        # The mark has all series rolled up again, from the first reading on.
        marks_now = Counter(conn.execute(MARKS).fetchall())
        assert marks - marks_now == Counter()
        ((begins_at, ends_at, series_id),) = (marks_now - marks).elements()
        ((first, closed_until),) = conn.execute(
            "SELECT min(time), max(closed_until) FROM readings CROSS JOIN rollup_state"
        ).fetchall()
        assert begins_at <= first
        assert (ends_at, series_id) == (closed_until, None)
        assert conn.execute("SHOW work_mem").fetchone() == ("5MB",)
        # Ids of series go on after those that are taken.
        with psycopg.connect(home.database.url("writer")) as writer:
            ((new,),) = writer.execute(
                "INSERT INTO series (device_id, metric) VALUES ('new', 'new') RETURNING id"
            ).fetchall()
        ((largest,),) = conn.execute("SELECT max(id) FROM series WHERE device_id <> 'new'").fetchall()
        assert new > largest
    for name in ("secret-key", "joulebook.sqlite3"):
        assert stat.S_IMODE((home.path / name).stat().st_mode) == 0o600
    assert (home.path / "secret-key").read_bytes() == (source.path / "secret-key").read_bytes()
    # A home with content is refused, with what was found.
    refused = home.try_("restore", str(target))
    assert refused.returncode == 1
    assert "is not empty, it has db, joulebook.sqlite3" in " ".join(refused.stderr.split())
    home.run("db", "stop")


def test_databases_of_ones_own_server_are_restored_into_empty_ones_and_into_no_others(
    homes: Callable[..., Home], source: Home, tmp_path: Path
) -> None:
    def own(name: str) -> Home:
        for kind in ("readings", "accounts"):
            source.database.create_database(f"{name}_{kind}")
        urls = {
            f"JOULEBOOK_TELEMETRY{variable}_URL": source.database.url(role, database=f"{name}_readings")
            for variable, role in (("", "reader"), ("_WRITER", "writer"), ("_OWNER", "owner"))
        }
        return homes(
            name, JOULEBOOK_DATABASE_URL=source.database.url("owner", database=f"{name}_accounts"), **urls
        )

    def values(name: str) -> list[tuple[object, ...]]:
        with psycopg.connect(source.database.url("reader", database=f"{name}_readings")) as conn:
            return conn.execute(
                "SELECT series_id, time, value, import_id FROM readings ORDER BY 1, 2"
            ).fetchall()

    first, second = own("one"), own("two")
    first.run("migrate")
    first.run("user", "add", "alice", "--password-stdin", stdin="choose a long pass phrase\n")
    first.run("device", "add", "device_001", "--owner", "alice", "--tz", "UTC")
    content = "t,P\n" + "".join(f"2024-03-{day:02} 00:00:00,{day}\n" for day in range(1, 30))
    store(first, tmp_path, "first.csv", content, "device_001")
    before = values("one")
    store(first, tmp_path, "second.csv", changed(content), "device_001")
    first.run("backup", str(tmp_path / "backup"))
    second.run("restore", str(tmp_path / "backup"))
    assert values("two") == values("one") != before
    second.run("imports", "undo", "2")
    assert values("two") == before
    assert "alice" in second.run("device", "list")
    # The databases are not empty now, and a backup of PostgreSQL's accounts does not go into SQLite.
    shutil.rmtree(second.path)
    refused = second.try_("restore", str(tmp_path / "backup"))
    assert refused.returncode == 1
    assert "the database of the readings is not empty, it has public." in " ".join(refused.stderr.split())
    assert values("two") == before
    refused = homes("three").try_("restore", str(tmp_path / "backup"))
    assert refused.returncode == 1
    assert "the backup's accounts are PostgreSQL's" in " ".join(refused.stderr.split())


def test_a_table_that_cannot_be_read_fails_the_backup(source: Home, tmp_path: Path) -> None:
    with source.connect("owner") as conn:
        conn.execute("CREATE TABLE hidden (a int)")
        create_backup(config_of(source), tmp_path / "with")
        assert "hidden" in {table.name for table in read_manifest(tmp_path / "with").telemetry.tables}
        conn.execute("REVOKE ALL ON hidden FROM joulebook_reader")
        try:
            with pytest.raises(BackupError, match=r"may not read public\.hidden"):
                create_backup(config_of(source), tmp_path / "without")
        finally:
            conn.execute("DROP TABLE hidden")
    assert [path.name for path in tmp_path.iterdir()] == ["with"]


def test_a_damaged_backup_is_told_by_the_check_and_refused_by_a_restore_that_changes_nothing(
    homes: Callable[..., Home], source: Home, tmp_path: Path
) -> None:
    target = tmp_path / "backup"
    create_backup(config_of(source), target)
    (part,) = target.glob("telemetry/public.import_replaced.*")
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    home = homes("damaged")
    for words in (["restore", "--check", str(target)], ["restore", str(target)]):
        told = home.try_(*words)
        assert told.returncode == 1
        assert str(part) in told.stderr
        assert "is damaged" in told.stderr
    assert not home.path.exists()


def test_a_backup_of_a_later_version_is_refused(
    homes: Callable[..., Home], source: Home, tmp_path: Path
) -> None:
    from dataclasses import replace

    from joulebook.backup.manifest import write_manifest

    target = tmp_path / "backup"
    manifest = create_backup(config_of(source), target)
    later = replace(
        manifest.telemetry, migrations=(*manifest.telemetry.migrations, ("readings", "0999_the_future"))
    )
    (target / MANIFEST).unlink()
    write_manifest(target, replace(manifest, telemetry=later, joulebook="99.1"))
    home = homes("later")
    told = home.try_("restore", str(target))
    assert told.returncode == 1
    assert "readings.0999_the_future" in told.stderr
    assert "99.1" in told.stderr
    assert not home.path.exists()


def test_a_backup_does_not_write_over_anything(source: Home, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(BackupError, match="is there already"):
        create_backup(config_of(source), tmp_path / "there")
    assert list((tmp_path / "there").iterdir()) == []


def test_kept_backups_are_listed_and_only_ones_own_and_oldest_are_removed(
    source: Home, tmp_path: Path
) -> None:
    folder = tmp_path / "kept"
    config = config_of(source, JOULEBOOK_BACKUP_KEEP="2")
    another, _, _ = add_backup(config, folder, progress=lambda _share: None)
    manifest = json.loads((another / MANIFEST).read_text())
    assert manifest["origin"].endswith(str(source.path))
    make_another_ones(another)
    (folder / ".joulebook-20200101T000000Z.unfinished").mkdir()
    made = [add_backup(config, folder, progress=lambda _share: None) for _ in range(3)]
    assert [removed for _, _, removed in made] == [[], [], [made[0][0]]]
    assert {path.name for path in folder.iterdir()} == {
        ".lock",
        another.name,
        made[1][0].name,
        made[2][0].name,
    }
    assert [each.path for each in list_backups(folder)][:2] == [made[2][0], made[1][0]]
    (made[1][0] / MANIFEST).write_text("{}")
    listed = source.try_("backups", "list", "--json", JOULEBOOK_BACKUP_FOLDER=str(folder))
    assert listed.returncode == 1
    rows = json.loads(listed.stdout)
    assert [row["path"] for row in rows] == [str(made[2][0]), str(another), str(made[1][0])]
    assert rows[0]["readings"] == made[2][1].readings >= 2 * ROWS
    assert "damaged" in rows[2]["problem"]


def make_another_ones(backup: Path) -> None:
    """Let a backup be one of another Joulebook that uses the same folder."""
    from dataclasses import replace

    from joulebook.backup.manifest import write_manifest

    manifest = read_manifest(backup)
    (backup / MANIFEST).unlink()
    write_manifest(backup, replace(manifest, origin="another:/home"))


def test_the_worker_makes_a_backup_when_one_is_due_and_tells_of_one_that_fails(
    homes: Callable[..., Home], source: Home, tmp_path: Path
) -> None:
    folder = tmp_path / "daily"
    source.environment["JOULEBOOK_BACKUP_FOLDER"] = str(folder)
    try:
        with source.worker() as log:
            until(lambda: "backup made: " in log.read_text(), what=log.read_text)
        (backup,) = list_backups(folder)
        assert backup.manifest is not None
        assert backup.manifest.readings >= 2 * ROWS
        before = len(log.read_text())
        (tmp_path / "file").write_text("in the way")
        source.environment["JOULEBOOK_BACKUP_FOLDER"] = str(tmp_path / "file" / "folder")
        with source.worker() as log:
            until(lambda: "BACKUP FAILED (there is none)" in log.read_text()[before:], what=log.read_text)
        assert "Not a directory" in log.read_text()[before:]
    finally:
        del source.environment["JOULEBOOK_BACKUP_FOLDER"]
