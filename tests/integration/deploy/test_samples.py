"""The samples for systemd, Compose and Prometheus are accepted by those programs, and fit Joulebook."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from joulebook.config import VARIABLES, Config
from joulebook.embedded import EmbeddedDatabase, ensure_binaries

from .programs import DEPLOY, need, run

UNITS = sorted(path.name for path in (DEPLOY / "systemd").glob("joulebook*") if path.suffix != ".env")
SERVICES = [name for name in UNITS if name.endswith(".service")]
ADDRESSES = {
    "migrate": {"reader", "writer", "owner"},
    "web": {"reader"},
    "ingest": {"writer"},
    "worker": {"reader", "writer"},
}
"""Whose address of the readings each process needs, as docs/how-to/use-your-own-timescaledb.md says."""
VARIABLE = {
    "reader": "JOULEBOOK_TELEMETRY_URL",
    "writer": "JOULEBOOK_TELEMETRY_WRITER_URL",
    "owner": "JOULEBOOK_TELEMETRY_OWNER_URL",
}


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A file tree with systemd's own units, the samples, and an installed Joulebook."""
    own = tmp_path / "usr/lib/systemd/system"
    units = tmp_path / "etc/systemd/system"
    program = tmp_path / "opt/joulebook/bin/joulebook"
    for folder in (own, units, program.parent):
        folder.mkdir(parents=True)
    for unit in Path("/usr/lib/systemd/system").glob("*.*"):
        if unit.suffix in {".target", ".slice", ".mount"} and unit.is_file():
            shutil.copy(unit, own)
    for name in UNITS:
        shutil.copy(DEPLOY / "systemd" / name, units)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return tmp_path


def test_systemd_accepts_the_units(machine: Path) -> None:
    done = run(need("systemd-analyze", "systemd"), f"--root={machine}", "verify", *UNITS)
    assert (done.returncode, done.stdout) == (0, "")


def test_systemd_would_report_a_unit_with_a_fault(machine: Path) -> None:
    (machine / "opt/joulebook/bin/joulebook").unlink()
    done = run(need("systemd-analyze", "systemd"), f"--root={machine}", "verify", *UNITS)
    assert "joulebook" in done.stdout
    assert done.returncode != 0


@pytest.mark.parametrize("unit", SERVICES)
def test_a_unit_exposes_little_of_the_machine(machine: Path, unit: str) -> None:
    security = ["security", "--offline=yes", "--no-pager", "--threshold=20", unit]
    done = run(need("systemd-analyze", "systemd"), f"--root={machine}", *security)
    assert done.returncode == 0, done.stdout[-400:]


@pytest.mark.parametrize("unit", SERVICES)
def test_a_unit_runs_a_command_of_joulebook_as_an_ordinary_user(unit: str) -> None:
    text = (DEPLOY / "systemd" / unit).read_text()
    assert "\nUser=joulebook\n" in text
    words = re.findall(r"^ExecStart=/opt/joulebook/bin/joulebook (.+)$", text, re.MULTILINE)
    assert words == [{"joulebook-database.service": "db start"}.get(unit, unit[10:-8])]
    # Objects of the same user's other units would be removed when one of them stops: the database's semaphores.
    assert "RemoveIPC=yes" not in text


def compose_settings() -> dict[str, str]:
    names = re.findall(r"^(\w+)=$", (DEPLOY / "compose.env").read_text(), re.MULTILINE)
    assert len(names) == 4
    return {name: f"secret{number}" for number, name in enumerate(names)}


def test_compose_accepts_its_file() -> None:
    program = need("docker-compose", "docker-compose")
    command = [program, "--file", DEPLOY / "compose.yaml", "config"]
    done = run(*command, env={**os.environ, **compose_settings()})
    assert done.returncode == 0, done.stdout
    without = run(*command)
    assert without.returncode != 0
    assert "choose one in .env" in without.stdout


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """compose.yaml, aliases resolved."""
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def test_each_container_has_only_the_addresses_that_its_process_needs(compose: dict[str, Any]) -> None:
    assert set(compose["services"]) == {"timescaledb", *ADDRESSES}
    for name, roles in ADDRESSES.items():
        service = compose["services"][name]
        assert service["command"] == [name]
        assert {role for role, variable in VARIABLE.items() if variable in service["environment"]} == roles
        for role in roles:
            assert f"joulebook_{role}:${{{role.upper()}_PASSWORD" in service["environment"][VARIABLE[role]]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        # Nothing but a proxy on the same machine reaches a service.
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_every_setting_that_a_sample_names_exists() -> None:
    known = {variable.name for variable in VARIABLES}
    own = {"JOULEBOOK_TLS_CERTIFICATE", "JOULEBOOK_TLS_KEY"}  # the Caddyfile's
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            named = set(re.findall(r"\bJOULEBOOK_[A-Z0-9_]+", path.read_text()))
            assert named <= known | own, path.name


@pytest.fixture
def bare_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A TimescaleDB without Joulebook's roles and database, as the environment of its superuser's psql."""
    home = tmp_path_factory.mktemp("bare")
    home.chmod(0o755)
    config = Config.from_environ({**os.environ, "JOULEBOOK_HOME": str(home / "home")})
    server = EmbeddedDatabase(config)
    server.start()
    try:
        with psycopg.connect(server.superuser_url(database="postgres"), autocommit=True) as conn:
            conn.execute("DROP DATABASE joulebook")
            for role in ("reader", "writer", "owner"):
                conn.execute(f"DROP OWNED BY joulebook_{role}")
                conn.execute(f"DROP ROLE joulebook_{role}")
            address = {
                "PGHOST": conn.info.host,
                "PGPORT": str(conn.info.port),
                "PGPASSWORD": conn.info.password,
                "POSTGRES_USER": conn.info.user,
            }
        psql = ensure_binaries(config).program("psql")
        yield {
            **os.environ,
            "PATH": f"{Path(psql).parent}{os.pathsep}{os.environ['PATH']}",
            **address,
        }
    finally:
        server.stop()


def test_the_script_for_the_database_makes_all_that_migrations_need(bare_server: dict[str, str]) -> None:
    passwords = {"owner": "it's", "writer": 'a "b"', "reader": "c;d"}
    given = {f"{role.upper()}_PASSWORD": password for role, password in passwords.items()}
    made = subprocess.run(
        [DEPLOY / "create-roles.sh"],
        env={**bare_server, **given},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    environment = dict(bare_server)
    for role, variable in VARIABLE.items():
        address = psycopg.conninfo.make_conninfo(
            host=bare_server["PGHOST"], port=bare_server["PGPORT"], dbname="joulebook",
            user=f"joulebook_{role}", password=passwords[role],
        )  # fmt: skip
        with psycopg.connect(address) as conn:
            assert conn.execute("SELECT current_user").fetchone() == (f"joulebook_{role}",)
        environment[variable] = as_url(address)
    migrated = run(sys.executable, "-m", "joulebook", "migrate", env=environment)
    assert migrated.returncode == 0, migrated.stdout
    again = subprocess.run(
        [DEPLOY / "create-roles.sh"],
        env={**bare_server, **given},
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode != 0, "it stops at the first error"


def as_url(address: str) -> str:
    from urllib.parse import quote

    parts = {
        name: quote(str(value), safe="") for name, value in psycopg.conninfo.conninfo_to_dict(address).items()
    }
    return (
        f"postgresql://{parts['user']}:{parts['password']}@/{parts['dbname']}"
        f"?host={parts['host']}&port={parts['port']}"
    )


def test_prometheus_accepts_its_file_and_the_rules() -> None:
    program = need("promtool", "prometheus")
    folder = DEPLOY / "prometheus"
    for command in (("check", "config", "prometheus.yml"), ("check", "rules", "joulebook.rules.yml")):
        done = run(program, *command, cwd=folder)
        assert done.returncode == 0, done.stdout


def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    program = need("promtool", "prometheus")
    folder = DEPLOY / "prometheus"
    done = run(program, "test", "rules", "joulebook.rules.test.yml", cwd=folder)
    assert done.returncode == 0, done.stdout
    # The same with one figure that is fine after all: the alert does not fire, and promtool says so.
    shutil.copy(folder / "joulebook.rules.yml", tmp_path)
    text = (folder / "joulebook.rules.test.yml").read_text()
    (tmp_path / "changed.yml").write_text(text.replace("0x20 30x40", "0x60"))
    assert "JoulebookReadingsWait" in run(program, "test", "rules", "changed.yml", cwd=tmp_path).stdout


def test_every_alert_has_a_case() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "joulebook.rules.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    tested = (DEPLOY / "prometheus" / "joulebook.rules.test.yml").read_text()
    assert {alert for alert in alerts if alert not in tested} == set()
