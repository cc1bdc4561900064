"""Joulebook's own processes: what runs where, in which order, and with which credentials."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping

from joulebook.config import Config
from joulebook.embedded import telemetry_url
from joulebook.embedded.database import Role
from joulebook.embedded.urls import uses_own_server
from joulebook.supervisor.ports import NamedPort
from joulebook.supervisor.specs import Address, ProcessSpec, Ready

_URL_VARIABLES: dict[Role, str] = {
    "reader": "JOULEBOOK_TELEMETRY_URL",
    "writer": "JOULEBOOK_TELEMETRY_WRITER_URL",
    "owner": "JOULEBOOK_TELEMETRY_OWNER_URL",
}
_SECRETS = (
    *_URL_VARIABLES.values(), "JOULEBOOK_TELEMETRY_LISTEN_URL", "JOULEBOOK_SECRET_KEY",
    "JOULEBOOK_DATABASE_URL", "JOULEBOOK_METRICS_TOKEN",
)  # fmt: skip
_DJANGO = ("JOULEBOOK_DATABASE_URL", "JOULEBOOK_SECRET_KEY")
_METRICS = ("JOULEBOOK_METRICS_TOKEN",)
_INGEST = ("JOULEBOOK_DATABASE_URL", "JOULEBOOK_TELEMETRY_LISTEN_URL", *_METRICS)


def joulebook_plan(config: Config, environ: Mapping[str, str]) -> list[ProcessSpec]:
    """Return the processes of `joulebook up`, in the order in which they begin.

    `environ` is what they inherit, less the credentials that are not theirs. Raises `MissingUrl` when
    the environment names a server of the user's own, but not for every role.
    """
    if uses_own_server(config):
        for role in _URL_VARIABLES:
            telemetry_url(config, role)
    give = _Environments(config, environ)
    return [
        *_database(config, give),
        ProcessSpec(
            name="migrate",
            command=joulebook_command("migrate"),
            environment=give.roles("owner", "writer", "reader", secrets=_DJANGO),
            ready=Ready.ENDED,
            after=() if uses_own_server(config) else ("database",),
        ),
        ProcessSpec(
            name="worker",
            command=joulebook_command("worker"),
            environment=give.roles("writer", "reader", secrets=_DJANGO + _METRICS),
            after=("migrate",),
        ),
        ProcessSpec(
            name="web",
            command=joulebook_command("web"),
            environment=give.roles("reader", secrets=_DJANGO + _METRICS),
            ready=Ready.ANSWERS,
            address=Address(config.web_host, config.web_port),
            after=("migrate",),
        ),
        ProcessSpec(
            name="ingest",
            command=joulebook_command("ingest"),
            environment=give.roles("writer", secrets=_INGEST),
            ready=Ready.ANSWERS,
            address=Address(config.ingest_host, config.ingest_port),
            after=("migrate",),
        ),
    ]


def environment_without_credentials(config: Config, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what a process inherits that needs no database at all."""
    return dict(_Environments(config, environ).roles()())


def environment_with(
    config: Config, environ: Mapping[str, str], *roles: Role
) -> Callable[[], Mapping[str, str]]:
    """Return the environment of a further process of Django's that acts in these roles."""
    return _Environments(config, environ).roles(*roles, secrets=_DJANGO)


def joulebook_command(*words: str) -> tuple[str, ...]:
    """Return the command line of `joulebook …` in this very installation."""
    return (sys.executable, "-m", "joulebook", *words)


def listening_ports(config: Config) -> list[NamedPort]:
    """Return the ports that the services of the plan listen on."""
    return [
        NamedPort(Address(config.web_host, config.web_port), "JOULEBOOK_WEB_PORT", "JOULEBOOK_WEB_HOST"),
        *_worker_port(config),
        NamedPort(
            Address(config.ingest_host, config.ingest_port), "JOULEBOOK_INGEST_PORT", "JOULEBOOK_INGEST_HOST"
        ),
    ]


def _worker_port(config: Config) -> list[NamedPort]:
    if config.worker_metrics_port is None:
        return []
    address = Address(config.worker_metrics_host, config.worker_metrics_port)
    return [NamedPort(address, "JOULEBOOK_WORKER_METRICS_PORT", "JOULEBOOK_WORKER_METRICS_HOST")]


def _database(config: Config, give: _Environments) -> list[ProcessSpec]:
    """Return the embedded database's process; none where the user runs a server."""
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
        self._environ = dict(environ)
        self._common = {name: value for name, value in environ.items() if name not in _SECRETS}
        self._common["JOULEBOOK_HOME"] = str(config.home)

    def roles(self, *roles: Role, secrets: tuple[str, ...] = ()) -> Callable[[], Mapping[str, str]]:
        """Return what makes the environment of a process that acts in `roles` in the telemetry database.

        Made at each start: the embedded database has no passwords before its first.
        """

        def make() -> Mapping[str, str]:
            kept = {name: self._environ[name] for name in secrets if name in self._environ}
            urls = {_URL_VARIABLES[role]: telemetry_url(self._config, role) for role in roles}
            return {**self._common, **kept, **urls}

        return make
