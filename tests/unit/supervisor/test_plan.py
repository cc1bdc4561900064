"""The plan: which process gets which credentials, and in which order they come."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from joulebook.config import Config, ConfigError
from joulebook.embedded import MissingUrl
from joulebook.supervisor.plan import environment_without_credentials, joulebook_plan
from joulebook.supervisor.specs import Patience

OWN_SERVER = {
    "JOULEBOOK_HOME": "/tmp/somewhere",
    "JOULEBOOK_TELEMETRY_URL": "postgresql://joulebook_reader:reads@db/joulebook",
    "JOULEBOOK_TELEMETRY_WRITER_URL": "postgresql://joulebook_writer:writes@db/joulebook",
    "JOULEBOOK_TELEMETRY_OWNER_URL": "postgresql://joulebook_owner:owns@db/joulebook",
    "JOULEBOOK_TELEMETRY_LISTEN_URL": "postgresql://joulebook_writer:listens@db/joulebook",
    "JOULEBOOK_SECRET_KEY": f"signs {secrets.token_urlsafe(48)}",
    "JOULEBOOK_METRICS_TOKEN": "a-token-that-measures",
    "PATH": "/bin",
}


def environments(environ: dict[str, str]) -> dict[str, dict[str, str]]:
    plan = joulebook_plan(Config.from_environ(environ), environ)
    return {spec.name: dict(spec.environment()) for spec in plan}


def test_each_process_gets_the_credentials_that_it_needs_and_no_others() -> None:
    words = ("reads", "writes", "listens", "owns", "signs", "measures")
    held = {
        name: {word for word in words if word in str(environment)}
        for name, environment in environments(OWN_SERVER).items()
    }
    assert held == {
        "migrate": {"reads", "writes", "owns", "signs"},
        "worker": {"reads", "writes", "signs", "measures"},
        "web": {"reads", "signs", "measures"},
        "ingest": {"writes", "listens", "signs", "measures"},
    }


def test_secrets_in_files_are_read_for_those_that_need_them_and_the_files_named_to_none(
    tmp_path: Path,
) -> None:
    environ = {"JOULEBOOK_HOME": "/tmp/somewhere", "PATH": "/bin"}
    for name, value in OWN_SERVER.items():
        if name not in environ:
            (tmp_path / name).write_text(f"{value}\n")
            environ[f"{name}_FILE"] = str(tmp_path / name)
    from_files = environments(environ)
    assert from_files == environments(OWN_SERVER)
    assert str(tmp_path) not in str(from_files)


def test_a_variable_counts_before_its_file_and_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    environ = {**OWN_SERVER, "JOULEBOOK_SECRET_KEY_FILE": str(tmp_path / "missing")}
    assert Config.from_environ(environ).secret_key == OWN_SERVER["JOULEBOOK_SECRET_KEY"]
    del environ["JOULEBOOK_SECRET_KEY"]
    with pytest.raises(ConfigError, match=r"^JOULEBOOK_SECRET_KEY_FILE='.*missing' cannot be read"):
        Config.from_environ(environ)


def test_no_credential_stands_in_a_command_line() -> None:
    for spec in joulebook_plan(Config.from_environ(OWN_SERVER), OWN_SERVER):
        for word in ("reads", "writes", "listens", "owns", "signs", "measures"):
            assert word not in " ".join(spec.command)


def test_everything_else_is_inherited() -> None:
    for environment in environments(OWN_SERVER).values():
        assert environment["PATH"] == "/bin"
        assert environment["JOULEBOOK_HOME"] == "/tmp/somewhere"


def test_the_simulator_gets_no_credentials_at_all() -> None:
    config = Config.from_environ(OWN_SERVER)
    environment = environment_without_credentials(config, OWN_SERVER)
    assert environment == {"PATH": "/bin", "JOULEBOOK_HOME": "/tmp/somewhere"}


def test_without_a_server_of_the_users_own_there_is_a_database_that_ends_last() -> None:
    embedded = joulebook_plan(Config.from_environ({}), {})
    assert [spec.name for spec in embedded] == ["database", "migrate", "worker", "web", "ingest"]
    own = joulebook_plan(Config.from_environ(OWN_SERVER), OWN_SERVER)
    assert [spec.name for spec in own] == ["migrate", "worker", "web", "ingest"]


def test_the_database_gets_no_credentials_even_of_the_accounts() -> None:
    environ = {"JOULEBOOK_DATABASE_URL": "postgresql://accounts:secret@db/accounts", "PATH": "/bin"}
    database, *_ = joulebook_plan(Config.from_environ(environ), environ)
    assert "secret" not in str(database.environment())


@pytest.mark.parametrize("missing", ["URL", "WRITER_URL", "OWNER_URL"])
def test_an_own_server_without_one_of_its_addresses_is_refused_by_name(missing: str) -> None:
    name = f"JOULEBOOK_TELEMETRY_{missing}"
    environ = {key: value for key, value in OWN_SERVER.items() if key != name}
    with pytest.raises(MissingUrl, match=f"^{name} is not set"):
        joulebook_plan(Config.from_environ(environ), environ)


def test_pauses_double_up_to_their_limit() -> None:
    patience = Patience(first=0.5, longest=30.0)
    assert [patience.delay(failures) for failures in (1, 2, 3, 7, 8, 5_000)] == [
        0.5,
        1.0,
        2.0,
        30.0,
        30.0,
        30.0,
    ]
