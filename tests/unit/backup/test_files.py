"""The files of a backup: written whole and for their owner alone, and damage of any kind is found."""

from __future__ import annotations

import json
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from joulebook.backup.errors import BackupError, DamagedBackup
from joulebook.backup.files import Part, PartWriter, check_part, read_part
from joulebook.backup.manifest import (
    MANIFEST,
    DatabaseCopy,
    FileCopy,
    Manifest,
    SequenceCopy,
    SqliteCopy,
    TableColumn,
    TableCopy,
    TablePart,
    read_manifest,
    write_manifest,
)

CONTENT = b"".join(b"%d,%d\n" % (number, number * number) for number in range(200_000))


@pytest.fixture
def part(tmp_path: Path) -> Part:
    with PartWriter(tmp_path, "telemetry/rows.zst") as writer:
        for at in range(0, len(CONTENT), 100_000):
            writer.write(CONTENT[at : at + 100_000])
        return writer.finish()


def test_a_part_is_read_as_it_was_written_and_is_its_owners_alone(tmp_path: Path, part: Part) -> None:
    file = tmp_path / part.file
    assert b"".join(read_part(tmp_path, part)) == CONTENT
    assert part.size == file.stat().st_size < len(CONTENT)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    check_part(tmp_path, part)


@pytest.mark.parametrize("damage", ["flipped", "cut", "longer", "missing"])
def test_a_damaged_part_is_found_with_and_without_unpacking(tmp_path: Path, part: Part, damage: str) -> None:
    file = tmp_path / part.file
    data = bytearray(file.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif damage == "cut":
        file.write_bytes(data[:-100])
    elif damage == "longer":
        file.write_bytes(data + b"x")
    else:
        file.unlink()
    with pytest.raises(DamagedBackup, match=part.file):
        check_part(tmp_path, part)
    with pytest.raises(DamagedBackup, match=part.file):
        list(read_part(tmp_path, part))


def manifest_of(part: Part) -> Manifest:
    columns = (TableColumn("time", "timestamp with time zone"), TableColumn("value", "double precision"))
    table = TableCopy("public", "readings", columns, "binary", (TablePart(part, 7), TablePart(part, 5)))
    migrations = (("readings", "0001_roles"),)
    return Manifest(
        joulebook="1.2",
        instant=datetime(2026, 12, 1, 2, 3, 4, 5, tzinfo=UTC),
        seconds=1.5,
        origin="host:/home",
        telemetry=DatabaseCopy("17.1", migrations, (table,), (SequenceCopy("public", "series_id_seq", 9),)),
        accounts=SqliteCopy(part, migrations, {"auth_user": 2}),
        uploads=(FileCopy("a", 3, part),),
        settings={"JOULEBOOK_KEEP_1M": "2y"},
    )


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path, part: Part) -> None:
    written = manifest_of(part)
    write_manifest(tmp_path, written)
    found = read_manifest(tmp_path)
    assert found == written
    assert found.readings == 12
    assert len(list(found.parts())) == 4


def test_any_change_of_a_manifest_is_found(tmp_path: Path, part: Part) -> None:
    write_manifest(tmp_path, manifest_of(part))
    path = tmp_path / MANIFEST
    text = path.read_text()
    for changed in (text.replace('"rows": 7', '"rows": 8'), text[:-10], "", "[]", text.replace("1.2", "1.3")):
        assert changed != text
        path.write_text(changed)
        with pytest.raises(DamagedBackup):
            read_manifest(tmp_path)


def test_a_manifest_of_a_later_format_is_refused_by_the_version_to_install(
    tmp_path: Path, part: Part
) -> None:
    write_manifest(tmp_path, manifest_of(part))
    path = tmp_path / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2, "joulebook": "9.9"}))
    with pytest.raises(BackupError, match=r"9\.9, which is newer"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("file", ["../outside", "/etc/passwd", "a/../../b", ".hidden", ""])
def test_a_manifest_that_names_a_file_outside_is_refused(tmp_path: Path, part: Part, file: str) -> None:
    write_manifest(tmp_path, manifest_of(replace(part, file=file)))
    with pytest.raises(DamagedBackup, match="outside"):
        read_manifest(tmp_path)


def test_a_folder_without_a_manifest_is_no_backup(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="is no backup"):
        read_manifest(tmp_path)
