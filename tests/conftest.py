"""Fixtures for every test: a Joulebook of the session's own, and Alice, Bob and Charlie.

Alice owns a device, Bob is shared with, Charlie has nothing. The session has its own JOULEBOOK_HOME
with its own TimescaleDB; tests keep out of each other's way by devices of their own.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import hypothesis
import psycopg
import pytest

import joulebook.time_zones  # the zones of the tests, and of Hypothesis, come from its source too

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from joulebook.web.devices.models import Device

REPOSITORY = Path(__file__).parent.parent
WARM_START = str(Path(__file__).with_name("warm_start.py"))
SHARED_DATA = REPOSITORY.parent / "shared" / "data"


def free_port() -> int:
    """Return a loopback port that no other caller or program is given while this process lives.

    It stays bound, but unused: a service that sets `SO_REUSEADDR` may listen on it.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    atexit.register(holder.close)
    return int(holder.getsockname()[1])


# The environment is set before Django's settings are loaded, and so before any fixture.
HOME = Path(tempfile.mkdtemp(prefix="joulebook-tests-"))
HOME.chmod(0o755)
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
for name in [name for name in os.environ if name.startswith("JOULEBOOK_")]:
    if name not in {"JOULEBOOK_CACHE", "JOULEBOOK_POSTGRES_BIN", "JOULEBOOK_NO_SKIPS"}:
        del os.environ[name]
os.environ["JOULEBOOK_HOME"] = str(HOME)
# The services start when a test first needs them: until then the port must not be another's.
WEB_PORT = free_port()
INGEST_PORT = free_port()
os.environ["JOULEBOOK_WEB_PORT"] = str(WEB_PORT)
os.environ["JOULEBOOK_INGEST_PORT"] = str(INGEST_PORT)
os.environ["DJANGO_SETTINGS_MODULE"] = "joulebook.web.settings"
# Hundreds of commands start faster when they find compiled modules.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# `httpx.get` and the like would read every certificate authority for each request: longer than most tests take.
ssl.create_default_context = functools.cache(ssl.create_default_context)

# A busy machine's answer may take longer than the five seconds that httpx waits for any.
for part in ("connect", "read", "write", "pool"):
    setattr(httpx.get.__kwdefaults__["timeout"], part, 60)

# What an example computes is tested, and not how busy the machine is meanwhile.
hypothesis.settings.register_profile(
    "suite", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    """Load Django's apps with the settings of this environment, in each process that runs tests."""
    if config.getoption("numprocesses", None):
        # Another process's settings would be loaded before that process has an environment of its own.
        del os.environ["DJANGO_SETTINGS_MODULE"]
        return
    import django

    django.setup()
    from django.test import TransactionTestCase

    TransactionTestCase._fixture_teardown = lambda _case: empty_accounts()


KEPT_TABLES = {"django_content_type", "auth_permission"}
"""What `migrate` writes for each model; the same for all tests."""


def empty_accounts() -> None:
    """Empty the accounts database after a test whose transactions were committed.

    Django's own way writes the rows of `KEPT_TABLES` anew each time, which takes longer than most of the tests.
    """
    from django.core.management.color import no_style
    from django.db import connections

    accounts = connections["default"]
    tables = set(accounts.introspection.django_table_names(only_existing=True, include_views=False))
    with accounts.cursor() as cursor:
        filled = [
            table
            for table in sorted(tables - KEPT_TABLES)
            if cursor.execute(f'SELECT EXISTS (SELECT 1 FROM "{table}")').fetchone()[0]
        ]
    accounts.ops.execute_sql_flush(accounts.ops.sql_flush(no_style(), filled, reset_sequences=False))


@functools.cache
def command_server() -> str:
    """Start the process from which commands are forked, and return its address; it ends with this process."""
    address = str(HOME / "commands.sock")
    server = subprocess.Popen(
        [sys.executable, WARM_START, "serve", address], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    atexit.register(server.communicate)
    return address


def run_joulebook(*words: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a `joulebook` command in the session's home and return what it printed."""
    return subprocess.run(
        [sys.executable, "-I", "-S", WARM_START, "launch", command_server(), *words],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        timeout=240,
    )


@pytest.fixture(scope="session")
def joulebook() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line: `joulebook("device", "list")`."""
    return run_joulebook


@pytest.fixture(scope="session")
def telemetry() -> Iterator[dict[str, str]]:
    """A running, migrated TimescaleDB; gives the address of each role."""
    from django.db import connections
    from psycopg.conninfo import conninfo_to_dict

    from joulebook.config import Config
    from joulebook.embedded import EmbeddedDatabase

    server = EmbeddedDatabase(Config.from_environ())
    # A client that gave up while a drill had stopped the server holds the next drop of a tablespace up until
    # its authentication has timed out: a minute, if nothing else is said.
    server.start(settings={"timescaledb.max_background_workers": "0", "authentication_timeout": "10s"})
    try:
        migrated = run_joulebook("migrate")
        assert migrated.returncode == 0, migrated.stderr
        address = conninfo_to_dict(server.url("reader"))
        connections["telemetry"].settings_dict.update(
            NAME=address["dbname"],
            USER=address["user"],
            PASSWORD=address["password"],
            HOST=address["host"],
            PORT=address["port"],
        )
        # Django finds this out by creating a table, which the reader may not.
        connections["telemetry"].features.supports_transactions = True
        running["superuser"] = server.superuser_url(database="joulebook")
        yield {
            "owner": server.url("owner"),
            "writer": server.url("writer"),
            "reader": server.url("reader"),
            "superuser": running["superuser"],
        }
    finally:
        running.clear()
        connections.close_all()
        server.stop()


running: dict[str, str] = {}
"""The addresses in the session's database by role, while it runs."""

MOST_CHUNKS, MOST_MARKS = 20, 500
"""What a file may leave behind: later queries and rollers go through all of it."""


@pytest.fixture(scope="module", autouse=True)
def left_behind() -> Iterator[None]:
    """Forget the readings of a file's tests where they are many."""
    yield
    if not running:
        return
    with psycopg.connect(running["superuser"], autocommit=True) as conn:
        conn.execute("SET lock_timeout = '20s'")
        # Accounts that are rolled back give the numbers of corrections again.
        conn.execute("TRUNCATE corrections, corrected_readings, correction_steps")
        left = "(SELECT count(*) FROM _timescaledb_catalog.chunk), (SELECT count(*) FROM rollup_dirty)"
        chunks, marks = conn.execute(f"SELECT {left}").fetchall()[0]
        if chunks > MOST_CHUNKS or marks > MOST_MARKS:
            conn.execute("TRUNCATE readings, readings_1m, readings_5m, readings_1h, rollup_dirty")


@pytest.fixture(scope="session")
def django_db_setup(telemetry: dict[str, str]) -> None:
    """Use the session's own databases as they are, in place of Django's test databases."""


@pytest.fixture
def writer(telemetry: dict[str, str]) -> Iterator[psycopg.Connection]:
    """A connection with the writer's rights, as `write_batch` wants it."""
    from joulebook.telemetry.connection import connect

    with connect(telemetry["writer"]) as conn:
        yield conn


@pytest.fixture(scope="session")
def password_hash() -> str:
    """The hash of everybody's password, computed once: Argon2 takes its time by design."""
    from django.contrib.auth.hashers import make_password

    return make_password("a long enough pass phrase")


@pytest.fixture
def make_user(db: None, password_hash: str) -> Callable[[str], User]:
    """Create a user by name."""

    def make(name: str) -> User:
        from django.contrib.auth.models import User

        from joulebook.web.accounts.models import Profile

        user = User.objects.create(username=name, password=password_hash)
        Profile.objects.create(user=user)
        return user

    return make


@pytest.fixture
def alice(make_user: Callable[[str], User]) -> User:
    """Owns `device`."""
    return make_user("alice")


@pytest.fixture
def bob(make_user: Callable[[str], User], device: Device) -> User:
    """Alice shares `device` with him."""
    from joulebook.web.devices.models import DeviceShare

    user = make_user("bob")
    DeviceShare.objects.create(device=device, user=user)
    return user


@pytest.fixture
def charlie(make_user: Callable[[str], User]) -> User:
    """Has nothing."""
    return make_user("charlie")


@pytest.fixture
def device_id() -> str:
    """An id that no other test uses."""
    return f"device_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def device(alice: User, device_id: str) -> Device:
    """Alice's device, in Berlin."""
    from joulebook.web.devices.operations import create_device

    return create_device(device_id, owner=alice, name="Home battery", time_zone="Europe/Berlin")


@pytest.fixture
def client_of() -> Callable[[User], Client]:
    """A Django test client that is signed in as a user."""

    def sign_in(user: User) -> Client:
        from django.test import Client

        client = Client()
        client.force_login(user)
        return client

    return sign_in


class Service:
    """One process of Joulebook's, started by its command and reached over real HTTP."""

    def __init__(self, command: str, port: int, environment: dict[str, str] | None = None) -> None:
        self.command = command
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {
            **os.environ,
            **(environment or {}),
            f"JOULEBOOK_{command.upper()}_PORT": str(port),
        }
        self.log = HOME / f"{command}-{port}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, path: str = "/livez") -> None:
        """Start the process and return when it answers."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.words(),
                env=self.environment,
                stdout=output,
                stderr=output,
            )
        self.wait(path=path)

    def words(self) -> list[str]:
        """Return the command line of the process."""
        return [sys.executable, "-m", "joulebook", self.command]

    def wait(self, *, path: str = "/livez", seconds: float = 120) -> None:
        """Return when the process answers 200."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                break
            try:
                if httpx.get(self.url + path).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"{self.command} does not answer:\n{self.log.read_text()[-3000:]}")

    def is_running(self) -> bool:
        """Say whether the process was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """End the process at once, as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        """Ask the process to end and wait for it."""
        if self.process is not None and self.is_running():
            self.process.terminate()
            self.process.wait(timeout=90)


@pytest.fixture(scope="session")
def ingest(telemetry: dict[str, str]) -> Iterator[Service]:
    """The ingest service in a process of its own."""
    service = Service("ingest", INGEST_PORT)
    service.start(path="/readyz")
    yield service
    service.stop()


@pytest.fixture(scope="session")
def web(telemetry: dict[str, str]) -> Iterator[Service]:
    """The web in processes of its own."""
    service = Service("web", WEB_PORT)
    service.start(path="/readyz")
    yield service
    service.stop()


@pytest.fixture
def device_token(transactional_db: None, device: Device) -> str:
    """A token of Alice's device, committed, so that other processes see it."""
    from joulebook.web.devices.operations import issue_device_token

    return issue_device_token(device)


LONG_IN_BROWSER = (
    "test_chart.py", "test_kinds.py", "test_devices.py", "test_solar_station.py", "test_zone_rules.py",
)  # fmt: skip
"""Browser tests of which each file takes long: they begin first, so that both processes end at the same time."""


def _turn(path: Path) -> tuple[bool, bool]:
    is_browser = "browser" in path.parts
    return is_browser, is_browser and path.name not in LONG_IN_BROWSER


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run browser tests last, long ones of them first, and leave out slow drills unless they are asked for by `-m`.

    Playwright keeps an event loop on the main thread until the session ends, where no other can then run.
    """
    items.sort(key=lambda item: _turn(item.path.relative_to(REPOSITORY)))
    if config.option.markexpr:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    items[:] = [item for item in items if not item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run that may not skip tests, and did."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("JOULEBOOK_NO_SKIPS") != "1" or reporter is None:
        return
    skipped = [
        report.nodeid
        for report in reporter.stats.get("skipped", [])
        if "needs_mounting" not in report.keywords
    ]
    if skipped and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line(f"{len(skipped)} skipped, and nothing may be skipped here: {skipped}", red=True)
