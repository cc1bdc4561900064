"""The processes of `joulebook up`: their order, their addresses and their credentials."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping

from joulebook.config import SECRETS, Config
from joulebook.embedded import telemetry_url
from joulebook.embedded.database import Role
from joulebook.embedded.urls import uses_own_server
from joulebook.secret_key import load_secret_key
from joulebook.supervisor.ports import NamedPort
from joulebook.supervisor.specs import Address, ProcessSpec, Ready

_URL_VARIABLES: dict[Role, str] = {
    "reader": "JOULEBOOK_TELEMETRY_URL",
    "writer": "JOULEBOOK_TELEMETRY_WRITER_URL",
    "owner": "JOULEBOOK_TELEMETRY_OWNER_URL",
}
_SECRETS = {variable for name in SECRETS for variable in (name, f"{name}_FILE")}


def joulebook_plan(config: Config, environ: Mapping[str, str]) -> list[ProcessSpec]:
    """Return the processes of `joulebook up`, in the order of their start.

    They inherit `environ` without the credentials of others. Raises `MissingUrl` if the environment names
    the user's own server, but not for every role.
    """
    if uses_own_server(config):
        for role in _URL_VARIABLES:
            telemetry_url(config, role)
    give = _Environments(config, environ)
    metrics = {"JOULEBOOK_METRICS_TOKEN": config.metrics_token}
    listening = {"JOULEBOOK_TELEMETRY_LISTEN_URL": config.telemetry_listen_url}
    return [
        *_database(config, give),
        ProcessSpec(
            name="migrate",
            command=joulebook_command("migrate"),
            environment=give.roles("owner", "writer", "reader", accounts=True),
            ready=Ready.ENDED,
            after=() if uses_own_server(config) else ("database",),
        ),
        ProcessSpec(
            name="worker",
            command=joulebook_command("worker"),
            environment=give.roles("writer", "reader", accounts=True, further=metrics),
            after=("migrate",),
        ),
        ProcessSpec(
            name="web",
            command=joulebook_command("web"),
            environment=give.roles("reader", accounts=True, further=metrics),
            ready=Ready.ANSWERS,
            address=Address(config.web_host, config.web_port),
            after=("migrate",),
        ),
        ProcessSpec(
            name="ingest",
            command=joulebook_command("ingest"),
            environment=give.roles("writer", accounts=True, further={**metrics, **listening}),
            ready=Ready.ANSWERS,
            address=Address(config.ingest_host, config.ingest_port),
            after=("migrate",),
        ),
    ]


def environment_without_credentials(config: Config, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a process without a database."""
    return dict(_Environments(config, environ).roles()())


def environment_with(
    config: Config, environ: Mapping[str, str], *roles: Role
) -> Callable[[], Mapping[str, str]]:
    """Return the environment of a further process, with the accounts and these roles."""
    return _Environments(config, environ).roles(*roles, accounts=True)


def joulebook_command(*words: str) -> tuple[str, ...]:
    """Return the command line of `joulebook …` in this very installation."""
    return (sys.executable, "-m", "joulebook", *words)


def listening_ports(config: Config) -> list[NamedPort]:
    """Return the ports of the plan's services."""
    web = Address(config.web_host, config.web_port)
    ports = [NamedPort(web, "JOULEBOOK_WEB_PORT", "JOULEBOOK_WEB_HOST")]
    if config.worker_metrics_port is not None:
        worker = Address(config.worker_metrics_host, config.worker_metrics_port)
        ports.append(NamedPort(worker, "JOULEBOOK_WORKER_METRICS_PORT", "JOULEBOOK_WORKER_METRICS_HOST"))
    ingest = Address(config.ingest_host, config.ingest_port)
    return [*ports, NamedPort(ingest, "JOULEBOOK_INGEST_PORT", "JOULEBOOK_INGEST_HOST")]


def _database(config: Config, give: _Environments) -> list[ProcessSpec]:
    """Return the embedded database's process; none if the user runs a server."""
    if uses_own_server(config):
        return []
    return [
        ProcessSpec(
            name="database",
            command=(sys.executable, "-m", "joulebook.supervisor.database"),
            environment=give.roles(),
            ready=Ready.NOTIFIES,
            start_timeout=900.0,  # the first start may fetch the programs over a slow line
            stop_timeout=75.0,
            fast_signal=signal.SIGQUIT,
        )
    ]


class _Environments:
    """Makes the environments of the children: the common part, and only the credentials each one needs."""

    def __init__(self, config: Config, environ: Mapping[str, str]) -> None:
        self._config = config
        self._common = {name: value for name, value in environ.items() if name not in _SECRETS}
        self._common["JOULEBOOK_HOME"] = str(config.home)

    def roles(
        self, *roles: Role, accounts: bool = False, further: Mapping[str, str | None] | None = None
    ) -> Callable[[], Mapping[str, str]]:
        """Return a function making the environment of a process with `roles` in the telemetry database.

        With `accounts` it has the address of the other database and the signing key: with the key the web
        issues tickets for live readings, and ingest checks them. `further` are other secrets of its own, or
        None. The environment is made at each start: the embedded database has no passwords before its
        first.
        """

        def make() -> Mapping[str, str]:
            urls = {_URL_VARIABLES[role]: telemetry_url(self._config, role) for role in roles}
            own = {name: value for name, value in (further or {}).items() if value is not None}
            if accounts:
                urls["JOULEBOOK_DATABASE_URL"] = self._config.database_url
                urls["JOULEBOOK_SECRET_KEY"] = load_secret_key(self._config)
            return {**self._common, **own, **urls}

        return make
