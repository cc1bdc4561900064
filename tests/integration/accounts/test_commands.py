"""`joulebook user` and `joulebook device` as scripts use them."""

from __future__ import annotations

import sqlite3
import stat

import pytest


@pytest.fixture
def home(tmp_path):
    """A home that nothing was kept in yet."""
    return tmp_path / "home"


def test_a_token_is_printed_alone_on_standard_output(joulebook, home):
    place = {"JOULEBOOK_HOME": str(home)}
    added = joulebook(
        "user", "add", "alice", "--password-stdin", stdin="a long enough pass phrase\n", **place
    )
    assert (added.returncode, added.stdout) == (0, "")
    outputs = [
        joulebook(
            "device", "add", "meter_1", "--owner", "alice", "--name", "Barn", "--tz", "Europe/Berlin", **place
        ),
        joulebook("device", "token", "meter_1", **place),
        joulebook("user", "token", "alice", **place),
    ]
    for output in outputs:
        assert output.returncode == 0
        assert output.stdout.count("\n") == 1
        assert len(output.stdout.strip()) >= 40
        assert output.stdout.strip() not in output.stderr
    listed = joulebook("device", "list", **place).stdout
    assert all(word in listed for word in ("meter_1", "Barn", "alice", "Europe/Berlin"))
    tokens = joulebook("device", "tokens", "meter_1", **place).stdout.splitlines()
    # The newest first, and of each no more than its beginning.
    prefixes = [output.stdout.partition("_")[0] for output in outputs[1::-1]]
    assert [line.split()[:2] for line in tokens[1:]] == [[f"{prefix}_…", "device"] for prefix in prefixes]
    assert all("never" in line and "in force" in line for line in tokens[1:])
    (mine,) = joulebook("user", "tokens", "alice", **place).stdout.splitlines()[1:]
    assert mine.split()[:2] == [f"{outputs[2].stdout.partition('_')[0]}_…", "alice"]


def test_the_accounts_file_is_for_its_owner_alone_and_holds_no_secret(joulebook, home):
    place = {"JOULEBOOK_HOME": str(home)}
    joulebook("user", "add", "alice", "--password-stdin", stdin="a long enough pass phrase\n", **place)
    token = joulebook("device", "add", "meter_1", "--owner", "alice", **place).stdout.strip()
    file = home / "joulebook.sqlite3"
    for path in [*home.glob("joulebook.sqlite3*"), home / "secret-key"]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    dump = "\n".join(sqlite3.connect(file).iterdump())
    assert "argon2" in dump
    assert token.split("_", 1)[1] not in dump
    assert "a long enough pass phrase" not in dump
    mode = sqlite3.connect(file).execute("PRAGMA journal_mode").fetchone()
    assert mode == ("wal",)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("user", "add", "a b", "--password-stdin"), "a b"),
        (("user", "add", "carol", "--password-stdin"), "too short"),
        (("user", "token", "nobody"), "joulebook user add nobody"),
        (("device", "add", "x", "--owner", "nobody"), "joulebook user add nobody"),
        (("device", "add", "-x", "--owner", "alice"), ""),
        (("device", "add", "ü", "--owner", "alice"), "device id"),
        (("device", "add", "meter_2", "--owner", "alice", "--tz", "Mars/Crater"), "Mars/Crater"),
        (("device", "token", "none"), "joulebook device add none"),
        (("device", "tokens", "none"), "joulebook device list"),
        (("user", "tokens", "nobody"), "joulebook user add nobody"),
    ],
)
def test_what_cannot_be_done_is_said_with_the_remedy_and_without_a_traceback(joulebook, home, words, hint):
    place = {"JOULEBOOK_HOME": str(home)}
    joulebook("user", "add", "alice", "--password-stdin", stdin="a long enough pass phrase\n", **place)
    failed = joulebook(*words, stdin="short\n", **place)
    assert failed.returncode != 0
    assert failed.stdout == ""
    assert hint in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_name_or_an_id_is_given_once(joulebook, home):
    place = {"JOULEBOOK_HOME": str(home)}
    for _ in range(2):
        user = joulebook(
            "user", "add", "alice", "--password-stdin", stdin="a long enough pass phrase\n", **place
        )
    for _ in range(2):
        device = joulebook("device", "add", "meter_1", "--owner", "alice", **place)
    assert (user.returncode, device.returncode) == (1, 1)
    assert "exists" in user.stderr
    assert "exists" in device.stderr


def test_settings_that_cannot_be_used_are_named(joulebook, home):
    for name, value in {
        "JOULEBOOK_WEB_PORT": "x",
        "JOULEBOOK_SECRET_KEY": "short",
        "JOULEBOOK_DATABASE_URL": "mysql://x",
    }.items():
        failed = joulebook("device", "list", **{"JOULEBOOK_HOME": str(home), name: value})
        assert failed.returncode == 1
        assert {"x": "'x'", "short": name, "mysql://x": "mysql://…"}[value] in failed.stderr
        assert "Traceback" not in failed.stderr


@pytest.mark.parametrize("command", ["web", "ingest", "worker"])
def test_no_service_starts_with_a_key_that_could_be_guessed(joulebook, home, command):
    addresses = {
        f"JOULEBOOK_TELEMETRY{role}_URL": "postgresql://nobody@127.0.0.1:1/none"
        for role in ("", "_WRITER", "_OWNER")
    }
    failed = joulebook(
        command, **addresses, JOULEBOOK_HOME=str(home), JOULEBOOK_SECRET_KEY="django-insecure-" + "k9" * 20
    )
    assert failed.returncode == 1
    assert "JOULEBOOK_SECRET_KEY begins with 'django-insecure-'" in failed.stderr
    assert "unset it to have a key made" in failed.stderr
    assert "Traceback" not in failed.stderr
