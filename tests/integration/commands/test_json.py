"""Every command that lists or shows has `--json`, whose keys scripts may rely on."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from ...unit.docs.test_pages import commands, options

SHOWING = {"list", "show", "status", "plan", "tokens"}
"""The last words of commands that list or show."""
KEYS = {
    "device list": {"id", "name", "owner", "time_zone", "created_at"},
    "device tokens": {"prefix", "created_at", "last_used_at", "revoked_at", "gateway", "devices"},
    "user list": {"name", "superuser", "active", "devices", "created_at", "last_signed_in_at"},
    "user tokens": {"prefix", "created_at", "last_used_at", "revoked_at"},
    "profiles list": {"name", "built_in", "owner", "about"},
    "db status": {
        "running", "embedded", "address", "process", "postgresql", "timescaledb", "edition", "database_bytes",
        "folder_bytes",
    },
    "rollups status": {
        "closed_until", "rolled_from", "rolled_share", "seconds_to_roll", "marks", "marked_series", "marked_from",
        "marked_to", "marked_seconds", "tables",
    },
    "backups list": {"path", "instant", "seconds", "joulebook", "readings", "uploads", "bytes", "origin"},
    "retention plan": {"tables", "bytes", "bytes_in_a_year"},
}  # fmt: skip
"""What commands print with `--json`, or each entry of their lists; the other commands have the API's schemas."""
TIMES = {
    "created_at",
    "finished_at",
    "first",
    "last",
    "last_used_at",
    "revoked_at",
    "last_signed_in_at",
    "closed_until",
    "start",
    "end",
    "rolled_from",
    "from",
    "instant",
    "to",
}
Joulebook = Callable[..., CompletedProcess[str]]


def showing() -> list[str]:
    return [" ".join(words) for words in sorted(commands()) if words[-1] in SHOWING]


def test_there_are_commands_to_look_at() -> None:
    assert set(KEYS) <= set(showing())


@pytest.mark.parametrize("words", showing())
def test_a_command_that_lists_or_shows_has_json(words: str) -> None:
    assert "--json" in options(commands()[tuple(words.split())])


@pytest.fixture
def arguments(
    joulebook: Joulebook, alice: Any, device: Any, device_token: str, tmp_path: Path
) -> dict[str, list[str]]:
    """What the commands are called with beside `--json`; there is something of everything."""
    device_id = device.device_id
    assert joulebook("user", "token", "alice").returncode == 0
    assert joulebook("device", "gateway-token", device_id, "--name", "Cellar").returncode == 0
    file, profile = tmp_path / "readings.csv", tmp_path / "profile.json"
    file.write_text("time,power\n2026-11-20 08:00:00,1240\n2026-11-20 08:01:00,x\n")
    done = joulebook("import", str(file), "--device", device_id, "--save-profile", str(profile), "--json")
    assert done.returncode == 3, done.stderr
    assert joulebook("profiles", "save", "boiler", str(profile), "--owner", "alice").returncode == 0
    backups = tmp_path / "backups"
    assert joulebook("backup", JOULEBOOK_BACKUP_FOLDER=str(backups)).returncode == 0
    number = json.loads(joulebook("imports", "list", "--device", device_id, "--json").stdout)[0]["id"]
    at = ("--at", "2026-11-20T07:00:00Z")
    corrected = joulebook("correct", "delete", "--device", device_id, "--metric", "power", *at, "--json")
    assert corrected.returncode == 0, corrected.stderr
    return {
        "corrections show": [str(json.loads(corrected.stdout)["id"])],
        "device tokens": [device_id],
        "backups list": ["--folder", str(backups)],
        "user tokens": ["alice"],
        "imports show": [str(number)],
        "profiles show": ["boiler", "--owner", "alice"],
    }


def test_json_is_all_that_is_printed_and_its_times_are_utc(
    joulebook: Joulebook, arguments: dict[str, list[str]]
) -> None:
    for words in showing():
        done = joulebook(*words.split(), *arguments.get(words, []), "--json")
        assert done.returncode == 0, f"{words}: {done.stderr}"
        found = json.loads(done.stdout)
        entries = found if isinstance(found, list) else [found]
        assert entries, words
        if words in KEYS:
            assert {frozenset(each) for each in entries} == {frozenset(KEYS[words])}, words
        check_times(found, where=words)


def check_times(found: Any, *, where: str) -> None:
    """Check every instant in an answer, however deep."""
    if isinstance(found, list):
        for each in found:
            check_times(each, where=where)
    elif isinstance(found, dict):
        for key, value in found.items():
            if key in TIMES and value is not None:
                assert value.endswith("Z"), f"{where}: {key} is {value}"
                at = datetime.fromisoformat(value)
                assert at.tzinfo == UTC
                assert len(value) >= len("2026-11-20T08:00:00Z")
            check_times(value, where=where)


def test_lists_of_nothing_are_empty_lists(joulebook: Joulebook, tmp_path: Path) -> None:
    for words in (("device", "list"), ("user", "list"), ("imports", "list")):
        done = joulebook(*words, "--json", JOULEBOOK_HOME=str(tmp_path / "home"), **own_server())
        assert (done.returncode, json.loads(done.stdout)) == (0, []), done.stderr


def own_server() -> dict[str, str]:
    """Return the addresses of a server that is never asked: these commands look at accounts alone."""
    address = "postgresql://nobody@127.0.0.1:9/none"
    return {"JOULEBOOK_TELEMETRY_URL": address, "JOULEBOOK_TELEMETRY_WRITER_URL": address}


def test_the_status_of_a_database_that_is_down_is_json_too(joulebook: Joulebook, tmp_path: Path) -> None:
    done = joulebook("db", "status", "--json", JOULEBOOK_HOME=str(tmp_path / "home"))
    assert done.returncode == 3
    found = json.loads(done.stdout)
    assert found["running"] is False
    assert found["postgresql"] is None
