"""The environment: every JOULEBOOK_* variable with its default, its meaning and its check.

A variable is declared once, as a field of `Config`. A test compares `VARIABLES` with the table in
`docs/reference/settings.md`. This module imports nothing of Joulebook, and reads the environment only in
`Config.from_environ`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import unquote, urlsplit

_T = TypeVar("_T")


class ConfigError(Exception):
    """Joulebook cannot use the value of an environment variable."""


class Unusable(Exception):
    """A reader below cannot use a text; the message follows the variable's name and value in a sentence."""


@dataclass(frozen=True)
class Variable:
    """One documented environment variable."""

    name: str
    default: str
    meaning: str


@dataclass(frozen=True)
class _Setting(Variable):
    """A variable read into a field of `Config`. Instead of a secret's value, `name`_FILE may name a file."""

    read: Callable[[str], Any]
    is_secret: bool

    def value(self, environ: Mapping[str, str]) -> Any:
        """Return the checked value. Raises `ConfigError`, without the text of a secret."""
        text = environ.get(self.name, "").strip() or self.default
        file = environ.get(f"{self.name}_FILE", "").strip() if self.is_secret else ""
        if file and not text:
            try:
                text = Path(file).expanduser().read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as exc:
                raise ConfigError(f"{self.name}_FILE={file!r} cannot be read: {exc}") from exc
        try:
            return self.read(text)
        except Unusable as exc:
            raise ConfigError(f"{self.name}{'' if self.is_secret else f'={text!r}'} {exc}") from exc


def setting(name: str, default: str, meaning: str, read: Callable[[str], _T], *, secret: bool = False) -> _T:
    """Declare a variable as a field of `Config`; `read` returns its text's value or raises `Unusable`."""
    return cast("_T", field(metadata={"setting": _Setting(name, default, meaning, read, secret)}))


_PUBLIC_URL = re.compile(
    r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?"
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_THIS_MACHINE = (ip_network("127.0.0.0/8"), ip_network("::1"))
_METRICS_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{20,}=*")
_AGE = re.compile(r"([0-9]{1,5})([dwy])")
# A year is taken as 366 days, so no reading is dropped before its time.
_AGE_DAYS = {"d": 1, "w": 7, "y": 366}
_LONGEST_AGE = 36_600
_INTERVAL = re.compile(r"([0-9]{1,4})([hdw])")
_INTERVAL_HOURS = {"h": 1, "d": 24, "w": 7 * 24}


def text(value: str) -> str:
    """Return the text unchanged."""
    return value


def optional(read: Callable[[str], _T]) -> Callable[[str], _T | None]:
    """Return a reader with None for an empty text."""
    return lambda value: read(value) if value else None


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return a reader of whole numbers in a closed range."""

    def read(value: str) -> int:
        if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
            raise Unusable(f"is not a whole number from {low} to {high}")
        return int(value)

    return read


port = whole(1, 65535)


def flag(value: str) -> bool:
    """Return whether the text is 1; 0 is the only other one."""
    return whole(0, 1)(value) == 1


def choice(*choices: str) -> Callable[[str], str]:
    """Return a reader of one of these words."""

    def read(value: str) -> str:
        if value not in choices:
            raise Unusable(f"is not {' or '.join(choices)}")
        return value

    return read


def listed(value: str) -> tuple[str, ...]:
    """Return the parts of a comma-separated list."""
    return tuple(part.strip() for part in value.split(",") if part.strip())


def folder(value: str) -> Path:
    """Return a folder's absolute path."""
    return Path(value).expanduser().absolute()


def folder_or_default_cache(value: str) -> Path:
    """Return the folder for downloads; the default is the user's cache, for root one open to the database."""
    if not value and os.geteuid() == 0:
        value = "/var/cache/joulebook"
    return folder(value or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/joulebook")


def strong_token(value: str) -> str:
    """Return the token, unless it could be guessed."""
    if not _METRICS_TOKEN.fullmatch(value):
        raise Unusable(
            "is not a token of 20 or more letters, digits and -._~+/=; `openssl rand -hex 20` makes one"
        )
    return value


def public_url(value: str) -> str:
    """Return an address without its last slash.

    It is strict: the address becomes part of a page's content security policy, and of commands to be copied.
    """
    if not _PUBLIC_URL.fullmatch(value) or not _has_port_in_range(value):
        raise Unusable("is not an address such as https://ingest.example or http://10.0.0.5:8001")
    return value.rstrip("/")


def _has_port_in_range(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def public_origin(value: str) -> str:
    """Return the origin of a public address as browsers write it."""
    parts = urlsplit(public_url(value))
    if parts.path:
        raise Unusable("has a path; pages are served at the root of a host only")
    host = parts.netloc.rpartition(":")[0] if parts.port is not None else parts.netloc
    port = "" if parts.port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{parts.port}"
    return f"{parts.scheme}://{host.lower()}{port}"


def networks(value: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return the networks of a list such as `10.0.0.0/8, 192.168.1.5`."""
    found = []
    for part in listed(value):
        try:
            found.append(ip_network(part))
        except ValueError as exc:
            raise Unusable(f"has {part!r}, neither an address nor a network such as 10.0.0.0/8") from exc
    return tuple(found)


def age(value: str) -> timedelta:
    """Return a time such as 400d, 60w or 10y."""
    match = _AGE.fullmatch(value)
    days = int(match[1]) * _AGE_DAYS[match[2]] if match else 0
    if not 1 <= days <= _LONGEST_AGE:
        raise Unusable("is not a time such as 400d, 60w or 10y, from a day to 100 years")
    return timedelta(days=days)


def interval(value: str) -> timedelta:
    """Return a time such as 12h, 1d or 1w."""
    match = _INTERVAL.fullmatch(value)
    hours = int(match[1]) * _INTERVAL_HOURS[match[2]] if match else 0
    if not 1 <= hours <= 366 * 24:
        raise Unusable("is not a time such as 12h, 1d or 1w, from an hour to a year")
    return timedelta(hours=hours)


@dataclass(frozen=True)
class Config:
    """The environment, read and checked once.

    Empty optional settings are `None`. Paths are absolute. `telemetry_url` and its writer and owner
    counterparts are those of the environment; `joulebook.embedded` has the addresses of an embedded database.
    """

    names_proxies: bool
    """Whether the environment names the trusted proxies; otherwise this machine's are trusted behind TLS."""
    home: Path = setting(
        "JOULEBOOK_HOME", "./var", "folder for all data of Joulebook on this machine", folder
    )
    cache: Path = setting(
        "JOULEBOOK_CACHE",
        "",
        "folder for downloaded database binaries; empty: the user's cache folder",
        folder_or_default_cache,
    )
    web_host: str = setting(
        "JOULEBOOK_WEB_HOST", "127.0.0.1", "listening address of the web pages and the history API", text
    )
    web_port: int = setting("JOULEBOOK_WEB_PORT", "8000", "port of the web pages and the history API", port)
    ingest_host: str = setting("JOULEBOOK_INGEST_HOST", "127.0.0.1", "listening address of ingest", text)
    ingest_port: int = setting("JOULEBOOK_INGEST_PORT", "8001", "port of ingest", port)
    ingest_url: str | None = setting(
        "JOULEBOOK_INGEST_URL",
        "",
        "public address of ingest, such as https://ingest.example; empty: its address and port",
        optional(public_url),
    )
    allowed_hosts: tuple[str, ...] = setting(
        "JOULEBOOK_ALLOWED_HOSTS",
        "",
        "comma-separated host names of the web, beside localhost",
        listed,
    )
    web_url: str | None = setting(
        "JOULEBOOK_WEB_URL",
        "",
        "public address of the web, such as https://energy.example:8443; empty: as each request names it",
        optional(public_origin),
    )
    """The web's public origin as browsers write it: no path, no default port."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = setting(
        "JOULEBOOK_TRUSTED_PROXIES",
        "",
        "comma-separated addresses or networks of reverse proxies with trusted X-Forwarded headers; "
        "empty: this machine, once JOULEBOOK_SECURE or JOULEBOOK_WEB_URL is set",
        networks,
    )
    secure: bool = setting("JOULEBOOK_SECURE", "0", "1 behind TLS: cookies are sent over HTTPS only", flag)
    log_format: str = setting(
        "JOULEBOOK_LOG_FORMAT",
        "text",
        "how services write their logs: text, or json (one object a line)",
        choice("text", "json"),
    )
    metrics_token: str | None = setting(
        "JOULEBOOK_METRICS_TOKEN",
        "",
        "bearer token for reading /metrics from anywhere; empty: from this machine only",
        optional(strong_token),
        secret=True,
    )
    worker_metrics_host: str = setting(
        "JOULEBOOK_WORKER_METRICS_HOST",
        "127.0.0.1",
        "listening address of the worker's /metrics",
        text,
    )
    worker_metrics_port: int | None = setting(
        "JOULEBOOK_WORKER_METRICS_PORT", "", "port of the worker's /metrics; empty: none", optional(port)
    )
    secret_key: str | None = setting(
        "JOULEBOOK_SECRET_KEY",
        "",
        "signing key; empty: one is made and kept in JOULEBOOK_HOME",
        optional(text),
        secret=True,
    )
    database_url: str = setting(
        "JOULEBOOK_DATABASE_URL",
        "",
        "accounts and devices: sqlite:///path or postgresql://…; empty: a SQLite file in JOULEBOOK_HOME",
        text,
        secret=True,
    )
    telemetry_url: str | None = setting(
        "JOULEBOOK_TELEMETRY_URL",
        "",
        "readings, role reader: postgresql://…; empty: Joulebook runs a TimescaleDB of its own",
        optional(text),
        secret=True,
    )
    telemetry_writer_url: str | None = setting(
        "JOULEBOOK_TELEMETRY_WRITER_URL",
        "",
        "readings, role writer; needed by ingest, worker and import",
        optional(text),
        secret=True,
    )
    telemetry_listen_url: str | None = setting(
        "JOULEBOOK_TELEMETRY_LISTEN_URL",
        "",
        "readings, role writer, past a connection pooler: several ingest processes listen there; "
        "empty: the writer's",
        optional(text),
        secret=True,
    )
    telemetry_owner_url: str | None = setting(
        "JOULEBOOK_TELEMETRY_OWNER_URL",
        "",
        "readings, role owner; needed by migrations only",
        optional(text),
        secret=True,
    )
    db_port: int | None = setting(
        "JOULEBOOK_DB_PORT",
        "",
        "loopback port of the embedded database; empty: Unix socket only",
        optional(port),
    )
    postgres_bin: Path | None = setting(
        "JOULEBOOK_POSTGRES_BIN",
        "",
        "folder with the programs of a PostgreSQL with TimescaleDB; empty: search, then provision",
        optional(Path),
    )
    ingest_max_bytes: int = setting(
        "JOULEBOOK_INGEST_MAX_BYTES",
        "16777216",
        "largest request body, after inflating, in bytes",
        whole(1024, 1 << 31),
    )
    ingest_max_readings: int = setting(
        "JOULEBOOK_INGEST_MAX_READINGS", "100000", "most readings in one request", whole(1, 10_000_000)
    )
    ingest_queue_readings: int = setting(
        "JOULEBOOK_INGEST_QUEUE_READINGS",
        "500000",
        "most readings waiting for their commit; beyond: 503",
        whole(1, 100_000_000),
    )
    ingest_rate: int = setting(
        "JOULEBOOK_INGEST_RATE",
        "0",
        "most readings a second of one token; 0: no limit",
        whole(0, 1_000_000_000),
    )
    ingest_workers: int = setting(
        "JOULEBOOK_INGEST_WORKERS", "1", "ingest processes sharing the port", whole(1, 64)
    )
    ingest_connections: int = setting(
        "JOULEBOOK_INGEST_CONNECTIONS",
        "4096",
        "most connections of one ingest process; beyond: 503",
        whole(1, 1_000_000),
    )
    web_connections: int = setting(
        "JOULEBOOK_WEB_CONNECTIONS", "1000", "most connections of the web; beyond: 503", whole(1, 1_000_000)
    )
    connections_per_address: int = setting(
        "JOULEBOOK_CONNECTIONS_PER_ADDRESS",
        "0",
        "most connections of one address to a process; 0: no limit of its own",
        whole(0, 1_000_000),
    )
    ingest_oldest: str = setting(
        "JOULEBOOK_INGEST_OLDEST",
        "2000-01-01",
        "readings from the live side before this day are refused",
        text,
    )
    line_protocol_device_tags: str = setting(
        "JOULEBOOK_LINE_PROTOCOL_DEVICE_TAGS",
        "device_id!,device,host",
        "tags naming the device of a line, tried in turn; with ! they must",
        text,
    )
    line_protocol_metric: str = setting(
        "JOULEBOOK_LINE_PROTOCOL_METRIC",
        "{measurement}.{field}{tags}",
        "how lines name their metrics: one pattern, or several with blanks between them",
        text,
    )
    line_protocol_unit: str = setting(
        "JOULEBOOK_LINE_PROTOCOL_UNIT",
        "auto",
        "where lines name their unit: auto, none, measurement, or tag:NAME",
        text,
    )
    upload_max_bytes: int = setting(
        "JOULEBOOK_UPLOAD_MAX_BYTES",
        "4294967296",
        "largest file of an upload, in bytes",
        whole(1024, 1 << 45),
    )
    device_metrics: int = setting(
        "JOULEBOOK_DEVICE_METRICS", "500", "most metrics of one device", whole(1, 1_000_000)
    )
    metric_texts: int = setting(
        "JOULEBOOK_METRIC_TEXTS", "200", "most different texts of one metric", whole(1, 10_000)
    )
    dry_run_seconds: int = setting(
        "JOULEBOOK_DRY_RUN_SECONDS",
        "120",
        "most processor time of the web for the dry run of one file, in seconds",
        whole(1, 86_400),
    )
    user_upload_bytes: int = setting(
        "JOULEBOOK_USER_UPLOAD_BYTES",
        "17179869184",
        "most bytes of one user's files waiting to be imported",
        whole(1024, 1 << 50),
    )
    user_drafts: int = setting("JOULEBOOK_USER_DRAFTS", "200", "most drafts of one user", whole(1, 1_000_000))
    user_queued: int = setting(
        "JOULEBOOK_USER_QUEUED", "1000", "most waiting and running imports of one user", whole(1, 1_000_000)
    )
    user_devices: int = setting(
        "JOULEBOOK_USER_DEVICES",
        "1000",
        "most devices created by one user on the pages",
        whole(1, 1_000_000),
    )
    disk_reserve: int | None = setting(
        "JOULEBOOK_DISK_RESERVE",
        "",
        "bytes of the disk under JOULEBOOK_HOME left free by uploads; empty: 5 %, from 1 to 10 GiB",
        optional(whole(0, 1 << 50)),
    )
    keep_readings: timedelta | None = setting(
        "JOULEBOOK_KEEP_READINGS",
        "",
        "how long readings are kept: days, weeks or years as 400d, 60w, 2y; empty: for ever",
        optional(age),
    )
    keep_1m: timedelta | None = setting(
        "JOULEBOOK_KEEP_1M", "", "how long their rollups of a minute are kept; empty: for ever", optional(age)
    )
    keep_5m: timedelta | None = setting(
        "JOULEBOOK_KEEP_5M",
        "",
        "how long their rollups of five minutes are kept; empty: for ever",
        optional(age),
    )
    keep_1h: timedelta | None = setting(
        "JOULEBOOK_KEEP_1H", "", "how long their rollups of an hour are kept; empty: for ever", optional(age)
    )
    backup_folder: Path | None = setting(
        "JOULEBOOK_BACKUP_FOLDER",
        "",
        "folder of the worker's regular backups; empty: it makes none",
        optional(folder),
    )
    backup_every: timedelta = setting(
        "JOULEBOOK_BACKUP_EVERY",
        "1d",
        "time between two regular backups: hours, days or weeks as 12h, 1d, 1w",
        interval,
    )
    backup_keep: int = setting(
        "JOULEBOOK_BACKUP_KEEP", "7", "number of regular backups to keep", whole(1, 10_000)
    )

    @property
    def package(self) -> Path:
        """The folder of Joulebook's own code and templates."""
        return Path(__file__).parent

    @property
    def keep(self) -> dict[str, timedelta | None]:
        """The time to retain each table of readings and rollups, from fine to coarse; None: for ever."""
        return {
            "readings": self.keep_readings,
            "readings_1m": self.keep_1m,
            "readings_5m": self.keep_5m,
            "readings_1h": self.keep_1h,
        }

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Config:
        """Read the configuration from `environ` (default: the process's environment).

        Raises `ConfigError` with the variable, its value and the values allowed.
        """
        environ = os.environ if environ is None else environ
        values = {name: setting.value(environ) for name, setting in _SETTINGS.items()}
        if not values["database_url"]:
            values["database_url"] = f"sqlite://{values['home'] / 'joulebook.sqlite3'}"
        web_url, secure = values["web_url"], values["secure"]
        if secure and web_url is not None and not web_url.startswith("https:"):
            raise ConfigError(f"JOULEBOOK_WEB_URL={web_url!r} is no https:// address, but JOULEBOOK_SECURE=1")
        values["names_proxies"] = bool(values["trusted_proxies"])
        if not values["names_proxies"] and (secure or web_url):
            values["trusted_proxies"] = _THIS_MACHINE
        _check_ages(values, environ)
        return cls(**values)


_SETTINGS: dict[str, _Setting] = {
    each.name: each.metadata["setting"] for each in fields(Config) if "setting" in each.metadata
}
SECRETS = tuple(each.name for each in _SETTINGS.values() if each.is_secret)
"""The variables holding a secret; each may name a file instead, by a variable ending with _FILE."""

VARIABLES: tuple[Variable, ...] = tuple(
    variable
    for each in _SETTINGS.values()
    for variable in (
        Variable(each.name, each.default, each.meaning),
        *([Variable(f"{each.name}_FILE", "", f"file with the value of {each.name}")] * each.is_secret),
    )
)


def sqlite_path(database_url: str) -> Path | None:
    """Return the file of `sqlite:///path`; None for another kind of database."""
    parts = urlsplit(database_url)
    return Path("/" + unquote(parts.path).lstrip("/")) if parts.scheme == "sqlite" else None


def _check_ages(values: Mapping[str, Any], environ: Mapping[str, str]) -> None:
    """Raise `ConfigError` if rollups would be dropped before their readings."""
    for finer, coarser in pairwise(("keep_readings", "keep_1m", "keep_5m", "keep_1h")):
        shortest, longest = values[finer], values[coarser]
        if longest is not None and (shortest is None or shortest > longest):
            names = [_SETTINGS[each].name for each in (coarser, finer)]
            texts = [f"{name}={environ.get(name, '').strip()!r}" for name in names]
            raise ConfigError(
                f"{texts[0]} is shorter than {texts[1]}{' (for ever)' if shortest is None else ''}: "
                "rollups must be kept at least as long as what they sum up"
            )
