"""What the environment says: every JOULEBOOK_* variable, its default, and where files live.

This module reads the environment only when asked (`Config.from_environ`), imports nothing of
Joulebook, and is the one place in which a variable's name and default are written down.
`docs/reference/settings.md` is checked against `VARIABLES` by a test.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit


class ConfigError(Exception):
    """A variable in the environment has a value that Joulebook cannot use."""


@dataclass(frozen=True)
class Variable:
    """One documented environment variable."""

    name: str
    default: str
    meaning: str


SECRETS = (
    "JOULEBOOK_SECRET_KEY",
    "JOULEBOOK_DATABASE_URL",
    "JOULEBOOK_TELEMETRY_URL",
    "JOULEBOOK_TELEMETRY_WRITER_URL",
    "JOULEBOOK_TELEMETRY_LISTEN_URL",
    "JOULEBOOK_TELEMETRY_OWNER_URL",
    "JOULEBOOK_METRICS_TOKEN",
)
"""The variables that hold a secret; each may name a file instead, by a variable with _FILE at its end."""

VARIABLES: tuple[Variable, ...] = (
    Variable("JOULEBOOK_HOME", "./var", "folder for everything that Joulebook keeps on this machine"),
    Variable(
        "JOULEBOOK_CACHE", "", "folder for downloaded database binaries; empty: the user's cache folder"
    ),
    Variable("JOULEBOOK_WEB_HOST", "127.0.0.1", "address on which the web pages and the history API listen"),
    Variable("JOULEBOOK_WEB_PORT", "8000", "port of the web pages and the history API"),
    Variable("JOULEBOOK_INGEST_HOST", "127.0.0.1", "address on which ingest listens"),
    Variable("JOULEBOOK_INGEST_PORT", "8001", "port of ingest"),
    Variable(
        "JOULEBOOK_INGEST_URL",
        "",
        "public address of ingest, such as https://ingest.example; empty: its address and port",
    ),
    Variable(
        "JOULEBOOK_ALLOWED_HOSTS",
        "",
        "comma-separated host names under which the web may be reached, beside localhost",
    ),
    Variable(
        "JOULEBOOK_WEB_URL",
        "",
        "public address of the web, such as https://energy.example:8443; empty: as each request names it",
    ),
    Variable(
        "JOULEBOOK_TRUSTED_PROXIES",
        "",
        "comma-separated addresses or networks of reverse proxies whose X-Forwarded headers are believed; "
        "empty: this machine, once JOULEBOOK_SECURE or JOULEBOOK_WEB_URL is set",
    ),
    Variable("JOULEBOOK_SECURE", "0", "1 behind TLS: cookies are sent over HTTPS only"),
    Variable(
        "JOULEBOOK_LOG_FORMAT", "text", "how services write their logs: text, or json (one object a line)"
    ),
    Variable(
        "JOULEBOOK_METRICS_TOKEN",
        "",
        "bearer token with which /metrics may be read from anywhere; empty: from this machine only",
    ),
    Variable(
        "JOULEBOOK_WORKER_METRICS_HOST", "127.0.0.1", "address on which the worker listens with /metrics"
    ),
    Variable("JOULEBOOK_WORKER_METRICS_PORT", "", "port of the worker's /metrics; empty: none"),
    Variable("JOULEBOOK_SECRET_KEY", "", "signing key; empty: one is made and kept in JOULEBOOK_HOME"),
    Variable(
        "JOULEBOOK_DATABASE_URL",
        "",
        "accounts and devices: sqlite:///path or postgresql://…; empty: a SQLite file in JOULEBOOK_HOME",
    ),
    Variable(
        "JOULEBOOK_TELEMETRY_URL",
        "",
        "readings, role reader: postgresql://…; empty: Joulebook runs a TimescaleDB of its own",
    ),
    Variable(
        "JOULEBOOK_TELEMETRY_WRITER_URL", "", "readings, role writer; needed by ingest, worker and import"
    ),
    Variable(
        "JOULEBOOK_TELEMETRY_LISTEN_URL",
        "",
        "readings, role writer, past a connection pooler: several ingest processes listen there; "
        "empty: the writer's",
    ),
    Variable("JOULEBOOK_TELEMETRY_OWNER_URL", "", "readings, role owner; needed by migrations only"),
    *(Variable(f"{name}_FILE", "", f"file that holds the value of {name}") for name in SECRETS),
    Variable("JOULEBOOK_DB_PORT", "", "loopback port of the embedded database; empty: Unix socket only"),
    Variable(
        "JOULEBOOK_POSTGRES_BIN",
        "",
        "folder with a PostgreSQL's programs that has TimescaleDB; empty: search, then provision",
    ),
    Variable("JOULEBOOK_INGEST_MAX_BYTES", "16777216", "largest request body, after inflating, in bytes"),
    Variable("JOULEBOOK_INGEST_MAX_READINGS", "100000", "most readings in one request"),
    Variable(
        "JOULEBOOK_INGEST_QUEUE_READINGS", "500000", "readings that may wait for their commit before 503"
    ),
    Variable(
        "JOULEBOOK_INGEST_RATE", "0", "readings a second that one token may send; 0: as many as it likes"
    ),
    Variable("JOULEBOOK_INGEST_WORKERS", "1", "ingest processes that share the port"),
    Variable("JOULEBOOK_INGEST_CONNECTIONS", "4096", "connections that one ingest process keeps before 503"),
    Variable("JOULEBOOK_WEB_CONNECTIONS", "1000", "connections that the web keeps before 503"),
    Variable(
        "JOULEBOOK_CONNECTIONS_PER_ADDRESS",
        "0",
        "most connections of one address that a process keeps; 0: as many as others leave",
    ),
    Variable(
        "JOULEBOOK_INGEST_OLDEST", "2000-01-01", "readings from the live side before this day are refused"
    ),
    Variable(
        "JOULEBOOK_LINE_PROTOCOL_DEVICE_TAGS",
        "device_id!,device,host",
        "tags that may name the device of a line, tried in turn; with ! they must",
    ),
    Variable(
        "JOULEBOOK_LINE_PROTOCOL_METRIC",
        "{measurement}.{field}{tags}",
        "how lines name their metrics: one pattern, or several with blanks between them",
    ),
    Variable(
        "JOULEBOOK_UPLOAD_MAX_BYTES",
        "4294967296",
        "largest file that may be uploaded to be imported, in bytes",
    ),
    Variable("JOULEBOOK_DEVICE_METRICS", "500", "most metrics that one device may create"),
    Variable(
        "JOULEBOOK_DRY_RUN_SECONDS",
        "120",
        "processor time that the web may spend on the dry run of one file, in seconds",
    ),
    Variable(
        "JOULEBOOK_USER_UPLOAD_BYTES",
        "17179869184",
        "bytes that one user's files may have together while they wait to be imported",
    ),
    Variable("JOULEBOOK_USER_DRAFTS", "200", "most drafts that one user may have"),
    Variable("JOULEBOOK_USER_QUEUED", "1000", "most imports of one user that may wait or run"),
    Variable("JOULEBOOK_USER_DEVICES", "1000", "most devices that one user may create on the pages"),
    Variable(
        "JOULEBOOK_DISK_RESERVE",
        "",
        "bytes of the disk under JOULEBOOK_HOME that uploads leave free; empty: 5 %, from 1 to 10 GiB",
    ),
    Variable(
        "JOULEBOOK_KEEP_READINGS",
        "",
        "how long readings are kept: days, weeks or years as 400d, 60w, 2y; empty: for ever",
    ),
    Variable("JOULEBOOK_KEEP_1M", "", "how long their rollups of a minute are kept; empty: for ever"),
    Variable("JOULEBOOK_KEEP_5M", "", "how long their rollups of five minutes are kept; empty: for ever"),
    Variable("JOULEBOOK_KEEP_1H", "", "how long their rollups of an hour are kept; empty: for ever"),
    Variable(
        "JOULEBOOK_BACKUP_FOLDER",
        "",
        "folder of backups that the worker makes by itself; empty: it makes none",
    ),
    Variable("JOULEBOOK_BACKUP_EVERY", "1d", "how often it makes one: hours, days or weeks as 12h, 1d, 1w"),
    Variable("JOULEBOOK_BACKUP_KEEP", "7", "how many of them it keeps"),
)

_PUBLIC_URL = re.compile(
    r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?"
)

_DEFAULT_PORTS = {"http": 80, "https": 443}
_THIS_MACHINE = (ip_network("127.0.0.0/8"), ip_network("::1"))
_METRICS_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{20,}=*")

_KEPT = {
    "readings": "JOULEBOOK_KEEP_READINGS",
    "readings_1m": "JOULEBOOK_KEEP_1M",
    "readings_5m": "JOULEBOOK_KEEP_5M",
    "readings_1h": "JOULEBOOK_KEEP_1H",
}
_AGE = re.compile(r"([0-9]{1,5})([dwy])")
# A year is taken as 366 days, so that nothing goes before its time.
_AGE_DAYS = {"d": 1, "w": 7, "y": 366}
_LONGEST_AGE = 36_600
_INTERVAL = re.compile(r"([0-9]{1,4})([hdw])")
_INTERVAL_HOURS = {"h": 1, "d": 24, "w": 7 * 24}

_DEFAULTS = {variable.name: variable.default for variable in VARIABLES}


@dataclass(frozen=True)
class Config:
    """The environment, read and checked once.

    Empty optional settings are `None`. Paths are absolute. `telemetry_url` and its writer and owner
    counterparts are what the environment names; an embedded database's addresses come from
    `joulebook.embedded` instead.
    """

    home: Path
    cache: Path
    web_host: str
    web_port: int
    ingest_host: str
    ingest_port: int
    ingest_url: str | None
    allowed_hosts: tuple[str, ...]
    web_url: str | None
    """The web's public origin, as browsers write it: no path, no default port."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    names_proxies: bool
    """Whether the environment names the trusted proxies itself."""
    secure: bool
    log_format: str
    metrics_token: str | None
    worker_metrics_host: str
    worker_metrics_port: int | None
    secret_key: str | None
    database_url: str
    telemetry_url: str | None
    telemetry_writer_url: str | None
    telemetry_listen_url: str | None
    telemetry_owner_url: str | None
    db_port: int | None
    postgres_bin: Path | None
    ingest_max_bytes: int
    ingest_max_readings: int
    ingest_queue_readings: int
    ingest_rate: int
    ingest_workers: int
    ingest_connections: int
    web_connections: int
    connections_per_address: int
    ingest_oldest: str
    line_protocol_device_tags: str
    line_protocol_metric: str
    upload_max_bytes: int
    device_metrics: int
    dry_run_seconds: int
    user_upload_bytes: int
    user_drafts: int
    user_queued: int
    user_devices: int
    disk_reserve: int | None
    keep: Mapping[str, timedelta | None]
    """By table of readings and rollups, from fine to coarse, how long it is kept; None: for ever."""
    backup_folder: Path | None
    backup_every: timedelta
    backup_keep: int

    @property
    def package(self) -> Path:
        """The folder in which Joulebook's own code and templates lie."""
        return Path(__file__).parent

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None) -> Config:
        """Read the configuration from `environ` (default: the process's environment).

        Raises `ConfigError` that names the variable, its value and what was expected.
        """
        values = os.environ if environ is None else environ

        def text(name: str) -> str:
            return values.get(name, "").strip() or _DEFAULTS[name]

        def secret(name: str) -> str:
            file = values.get(f"{name}_FILE", "").strip()
            if text(name) or not file:
                return text(name)
            try:
                return Path(file).expanduser().read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError) as exc:
                raise ConfigError(f"{name}_FILE={file!r} cannot be read: {exc}") from exc

        def whole(name: str, *, low: int, high: int) -> int:
            raw = text(name)
            if not raw.isascii() or not raw.isdigit() or not low <= int(raw) <= high:
                raise ConfigError(f"{name}={raw!r} is not a whole number from {low} to {high}")
            return int(raw)

        def port(name: str) -> int | None:
            return whole(name, low=1, high=65535) if text(name) else None

        def choice(name: str, *choices: str) -> str:
            if text(name) not in choices:
                raise ConfigError(f"{name}={text(name)!r} is not {' or '.join(choices)}")
            return text(name)

        home = Path(text("JOULEBOOK_HOME")).expanduser().absolute()
        secure = whole("JOULEBOOK_SECURE", low=0, high=1) == 1
        web_url = _public_origin("JOULEBOOK_WEB_URL", text("JOULEBOOK_WEB_URL"))
        if secure and web_url is not None and not web_url.startswith("https:"):
            raise ConfigError(f"JOULEBOOK_WEB_URL={web_url!r} is no https:// address, but JOULEBOOK_SECURE=1")
        proxies = _networks("JOULEBOOK_TRUSTED_PROXIES", text("JOULEBOOK_TRUSTED_PROXIES"))
        return cls(
            home=home,
            cache=Path(text("JOULEBOOK_CACHE") or _default_cache()).expanduser().absolute(),
            web_host=text("JOULEBOOK_WEB_HOST"),
            web_port=whole("JOULEBOOK_WEB_PORT", low=1, high=65535),
            ingest_host=text("JOULEBOOK_INGEST_HOST"),
            ingest_port=whole("JOULEBOOK_INGEST_PORT", low=1, high=65535),
            ingest_url=_public_url("JOULEBOOK_INGEST_URL", text("JOULEBOOK_INGEST_URL")),
            allowed_hosts=tuple(h.strip() for h in text("JOULEBOOK_ALLOWED_HOSTS").split(",") if h.strip()),
            web_url=web_url,
            trusted_proxies=proxies or (_THIS_MACHINE if secure or web_url else ()),
            names_proxies=bool(proxies),
            secure=secure,
            log_format=choice("JOULEBOOK_LOG_FORMAT", "text", "json"),
            metrics_token=_metrics_token(secret("JOULEBOOK_METRICS_TOKEN")),
            worker_metrics_host=text("JOULEBOOK_WORKER_METRICS_HOST"),
            worker_metrics_port=port("JOULEBOOK_WORKER_METRICS_PORT"),
            secret_key=secret("JOULEBOOK_SECRET_KEY") or None,
            database_url=secret("JOULEBOOK_DATABASE_URL") or f"sqlite://{home / 'joulebook.sqlite3'}",
            telemetry_url=secret("JOULEBOOK_TELEMETRY_URL") or None,
            telemetry_writer_url=secret("JOULEBOOK_TELEMETRY_WRITER_URL") or None,
            telemetry_listen_url=secret("JOULEBOOK_TELEMETRY_LISTEN_URL") or None,
            telemetry_owner_url=secret("JOULEBOOK_TELEMETRY_OWNER_URL") or None,
            db_port=port("JOULEBOOK_DB_PORT"),
            postgres_bin=Path(text("JOULEBOOK_POSTGRES_BIN")) if text("JOULEBOOK_POSTGRES_BIN") else None,
            ingest_max_bytes=whole("JOULEBOOK_INGEST_MAX_BYTES", low=1024, high=1 << 31),
            ingest_max_readings=whole("JOULEBOOK_INGEST_MAX_READINGS", low=1, high=10_000_000),
            ingest_queue_readings=whole("JOULEBOOK_INGEST_QUEUE_READINGS", low=1, high=100_000_000),
            ingest_rate=whole("JOULEBOOK_INGEST_RATE", low=0, high=1_000_000_000),
            ingest_workers=whole("JOULEBOOK_INGEST_WORKERS", low=1, high=64),
            ingest_connections=whole("JOULEBOOK_INGEST_CONNECTIONS", low=1, high=1_000_000),
            web_connections=whole("JOULEBOOK_WEB_CONNECTIONS", low=1, high=1_000_000),
            connections_per_address=whole("JOULEBOOK_CONNECTIONS_PER_ADDRESS", low=0, high=1_000_000),
            ingest_oldest=text("JOULEBOOK_INGEST_OLDEST"),
            line_protocol_device_tags=text("JOULEBOOK_LINE_PROTOCOL_DEVICE_TAGS"),
            line_protocol_metric=text("JOULEBOOK_LINE_PROTOCOL_METRIC"),
            upload_max_bytes=whole("JOULEBOOK_UPLOAD_MAX_BYTES", low=1024, high=1 << 45),
            device_metrics=whole("JOULEBOOK_DEVICE_METRICS", low=1, high=1_000_000),
            dry_run_seconds=whole("JOULEBOOK_DRY_RUN_SECONDS", low=1, high=86_400),
            user_upload_bytes=whole("JOULEBOOK_USER_UPLOAD_BYTES", low=1024, high=1 << 50),
            user_drafts=whole("JOULEBOOK_USER_DRAFTS", low=1, high=1_000_000),
            user_queued=whole("JOULEBOOK_USER_QUEUED", low=1, high=1_000_000),
            user_devices=whole("JOULEBOOK_USER_DEVICES", low=1, high=1_000_000),
            disk_reserve=(
                whole("JOULEBOOK_DISK_RESERVE", low=0, high=1 << 50)
                if text("JOULEBOOK_DISK_RESERVE")
                else None
            ),
            keep=_kept({table: text(name) for table, name in _KEPT.items()}),
            backup_folder=_folder(text("JOULEBOOK_BACKUP_FOLDER")),
            backup_every=_interval("JOULEBOOK_BACKUP_EVERY", text("JOULEBOOK_BACKUP_EVERY")),
            backup_keep=whole("JOULEBOOK_BACKUP_KEEP", low=1, high=10_000),
        )


def sqlite_path(database_url: str) -> Path | None:
    """Return the file of `sqlite:///path`, or None where the address is another kind of database."""
    parts = urlsplit(database_url)
    return Path("/" + unquote(parts.path).lstrip("/")) if parts.scheme == "sqlite" else None


def _metrics_token(text: str) -> str | None:
    """Return the token, or None where there is none. Raises `ConfigError` for one that can be guessed."""
    if text and not _METRICS_TOKEN.fullmatch(text):
        # The value is a secret, so the message does not repeat it.
        raise ConfigError(
            "JOULEBOOK_METRICS_TOKEN is not a token of 20 or more letters, digits and -._~+/=; "
            "`openssl rand -hex 20` makes one"
        )
    return text or None


def _public_url(name: str, text: str) -> str | None:
    """Return an address without its last slash, or None where there is none. Raises `ConfigError`.

    It is strict, because the address becomes part of a page's policy and of commands to be copied.
    """
    if not text:
        return None
    if not _PUBLIC_URL.fullmatch(text) or not _has_port_in_range(text):
        raise ConfigError(
            f"{name}={text!r} is not an address such as https://ingest.example or http://10.0.0.5:8001"
        )
    return text.rstrip("/")


def _has_port_in_range(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _public_origin(name: str, text: str) -> str | None:
    """Return the origin of a public address as browsers write it, or None. Raises `ConfigError`."""
    url = _public_url(name, text)
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.path:
        raise ConfigError(f"{name}={text!r} has a path; pages are served at the root of a host only")
    host = parts.netloc.rpartition(":")[0] if parts.port is not None else parts.netloc
    port = "" if parts.port in {None, _DEFAULT_PORTS[parts.scheme]} else f":{parts.port}"
    return f"{parts.scheme}://{host.lower()}{port}"


def _networks(name: str, text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Return the networks of a list such as `10.0.0.0/8, 192.168.1.5`. Raises `ConfigError`."""
    networks = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            networks.append(ip_network(part))
        except ValueError as exc:
            raise ConfigError(
                f"{name}={text!r}: {part!r} is neither an address nor a network such as 10.0.0.0/8"
            ) from exc
    return tuple(networks)


def _kept(texts: Mapping[str, str]) -> dict[str, timedelta | None]:
    """Return by table how long it is kept. Raises `ConfigError`, also where sums go before their readings."""
    keep = {table: _age(_KEPT[table], text) for table, text in texts.items()}
    for finer, coarser in pairwise(keep):
        longest, age = keep[coarser], keep[finer]
        if longest is not None and (age is None or age > longest):
            raise ConfigError(
                f"{_KEPT[coarser]}={texts[coarser]!r} is shorter than {_KEPT[finer]}={texts[finer]!r}"
                f"{' (for ever)' if age is None else ''}: "
                "rollups must be kept at least as long as what they sum up"
            )
    return keep


def _age(name: str, text: str) -> timedelta | None:
    if not text:
        return None
    match = _AGE.fullmatch(text)
    days = int(match[1]) * _AGE_DAYS[match[2]] if match else 0
    if not 1 <= days <= _LONGEST_AGE:
        raise ConfigError(f"{name}={text!r} is not a time such as 400d, 60w or 10y, from a day to 100 years")
    return timedelta(days=days)


def _folder(text: str) -> Path | None:
    return Path(text).expanduser().absolute() if text else None


def _interval(name: str, text: str) -> timedelta:
    match = _INTERVAL.fullmatch(text)
    hours = int(match[1]) * _INTERVAL_HOURS[match[2]] if match else 0
    if not 1 <= hours <= 366 * 24:
        raise ConfigError(f"{name}={text!r} is not a time such as 12h, 1d or 1w, from an hour to a year")
    return timedelta(hours=hours)


def _default_cache() -> str:
    """Return the folder for downloads: root's is readable by the user that runs the database."""
    if os.geteuid() == 0:
        return "/var/cache/joulebook"
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return f"{base}/joulebook"
