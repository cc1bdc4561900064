"""Each process has the least rights: started by root, a user of its own; started by one user, its own secrets."""

from __future__ import annotations

import os
import pwd
import re
import secrets
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from joulebook.priority import STEPS

from ...conftest import HOME
from .conftest import HomeFolder, eventually, new_folder

_LOWEST = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
SERVICES = ("worker", "web", "ingest")
NET_BIND_SERVICE = 1 << 10 if int(_LOWEST.read_text()) >= 1024 else 0
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give processes other users")


def may_change_users() -> bool:
    """Say whether this machine lets root give this Python to other users, be it by a view of its own."""
    user = ["setpriv", "--reuid=60701", "--regid=60701", "--clear-groups", "--"]
    tried = ([*user, sys.executable, "-c", "import django"], ["unshare", "--mount", "true"])
    return any(
        subprocess.run(command, check=False, capture_output=True, cwd="/").returncode == 0
        for command in tried
    )


drops = pytest.mark.xfail(
    os.geteuid() == 0 and not may_change_users(),
    reason="the checkout lies where only root may enter, in a container that lets root do nothing about it",
)


def status_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def environ_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def pid_of(home: HomeFolder, words: str) -> int:
    (found,) = [pid for pid, command in home.processes().items() if command.endswith(f"-m joulebook{words}")]
    return found


def as_user_of(pid: int, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the user and groups of a process, and in its view of the file system."""
    status = status_of(pid)
    words = ["nsenter", f"--mount=/proc/{pid}/ns/mnt", "setpriv", f"--reuid={status['Uid'].split()[0]}"]
    words += [f"--regid={status['Gid'].split()[0]}", f"--groups={','.join(status['Groups'].split())}"]
    words += ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"]
    return subprocess.run(
        [*words, *command],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd="/",
        timeout=60,
    )


def readable(pid: int, *paths: Path) -> list[Path]:
    """Return which of the files the user of a process can read; all of them exist."""
    assert all(path.exists() for path in paths)
    return [path for path in paths if as_user_of(pid, "cat", str(path)).returncode == 0]


def free_low_port() -> int:
    """Return a port that takes a right to listen on, or any where this machine has none of that kind."""
    for port in range(600, 1024):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("all low ports are taken")


def passwords(home: HomeFolder) -> dict[str, str]:
    return {path.name: path.read_text().strip() for path in (home.path / "db" / "passwords").iterdir()}


def sign_up(home: HomeFolder) -> str:
    """Create Alice and a device, by commands; return the device's token."""
    user = home.run("user", "add", "alice", "--password-stdin", stdin="a long enough pass phrase\n")
    assert user.returncode == 0, user.stderr
    device = home.run("device", "add", "alice_001", "--owner", "alice")
    assert device.returncode == 0, device.stderr
    return str(device.stdout.strip())


def send(home: HomeFolder, token: str) -> None:
    answer = httpx.post(
        f"{home.ingest}/api/readings", json={"power": 1.0}, headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 200, answer.text


def sign_in(client: httpx.Client, home: HomeFolder, name: str, password: str) -> None:
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', client.get("/sign-in/").text)
    assert token
    form = {"username": name, "password": password, "csrfmiddlewaretoken": token[1]}
    answer = client.post("/sign-in/", data=form, headers={"Referer": f"{home.web}/sign-in/"})
    assert answer.status_code == 200
    assert "/sign-in/" not in str(answer.url)


@pytest.fixture(scope="module")
def demo() -> Iterator[HomeFolder]:
    """A home in which root has started `joulebook demo`; Alice has a device in it that has sent a reading."""
    home = HomeFolder(new_folder() / "home")
    port = free_low_port()
    home.ingest = f"http://127.0.0.1:{port}"
    home.environment["JOULEBOOK_INGEST_PORT"] = str(port)
    try:
        home.start("demo", "--days=1").until_ready()
        send(home, sign_up(home))
        yield home
    finally:
        home.close()


@as_root
@drops
def test_as_root_each_process_has_a_user_of_its_own_and_no_right_beyond_it(demo: HomeFolder) -> None:
    running = demo.processes()
    assert len(running) > 10
    (supervisor,) = [pid for pid, command in running.items() if "joulebook demo" in command]
    roots = [pid for pid in running if "0" in status_of(pid)["Uid"].split()]
    assert roots == [supervisor], {pid: running[pid] for pid in roots}
    for pid in running.keys() - {supervisor}:
        status = status_of(pid)
        assert len(set(status["Uid"].split())) == len(set(status["Gid"].split())) == 1
        assert "0" not in status["Groups"].split() + status["Gid"].split()
        held = {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        # Ingest listens on a port that takes a right.
        assert held == {NET_BIND_SERVICE if running[pid].endswith(" ingest") else 0}, running[pid]
        assert status["NoNewPrivs"] == "1", running[pid]
    pids = {name: pid_of(demo, f" {name}") for name in SERVICES}
    pids["database"] = pid_of(demo, ".supervisor.database")
    (pids["simulator"],) = [pid for pid, command in running.items() if " simulate " in command]
    users = {name: status_of(pid)["Uid"].split()[0] for name, pid in pids.items()}
    assert len(set(users.values())) == len(pids), users


@as_root
@drops
def test_what_runs_in_the_web_finds_its_own_secrets_and_the_readers_password_only(demo: HomeFolder) -> None:
    home = demo
    web = pid_of(home, " web")
    known = passwords(home)
    files = [home.path / "secret-key", *(home.path / "db" / "passwords").iterdir()]
    files += [home.path / "db" / "data" / "PG_VERSION", home.path / "demo" / "tokens"]
    others = [pid for pid in home.processes() if pid != web]
    files += [Path(f"/proc/{pid}/environ") for pid in others]
    assert readable(web, *files) == []
    assert readable(web, home.path / "joulebook.sqlite3"), "it works in the accounts"
    assert as_user_of(web, "ls", str(home.path / "db" / "passwords")).returncode != 0
    held = environ_of(web)
    assert known["joulebook_reader"] in held["JOULEBOOK_TELEMETRY_URL"]
    for role in ("postgres", "joulebook_owner", "joulebook_writer"):
        assert known[role] not in str(held)
    # Nor can it put anything in the place of what others use.
    for name in ("db", "workers", "secret-key", "users", "accounts"):
        assert as_user_of(web, "mv", str(home.path / name), str(home.path / "moved")).returncode != 0
    assert as_user_of(web, "touch", str(home.path / "new")).returncode != 0


@as_root
@drops
def test_the_webs_user_reaches_the_database_as_the_reader_alone(demo: HomeFolder) -> None:
    web = pid_of(demo, " web")
    url = environ_of(web)["JOULEBOOK_TELEMETRY_URL"]

    def log_in(address: str) -> str:
        code = f"import psycopg; print(psycopg.connect({address!r}).execute('SELECT current_user').fetchone()[0])"
        done = as_user_of(web, sys.executable, "-c", code)
        return done.stdout.strip() or done.stderr

    assert log_in(url) == "joulebook_reader"
    for role in ("joulebook_writer", "joulebook_owner", "postgres"):
        assert "password authentication failed" in log_in(url.replace("joulebook_reader:", f"{role}:"))
        without = re.sub(r"//joulebook_reader:[^@]+@", f"//{role}@", url)
        assert "no password supplied" in log_in(without)
    # Others on this machine do not even reach the socket.
    stranger = ["setpriv", "--reuid=60701", "--regid=60701", "--clear-groups", "--", "ls"]
    folder = demo.path / "db" / "run"
    assert subprocess.run([*stranger, str(folder)], capture_output=True, check=False).returncode != 0


@as_root
@drops
def test_simulator_and_database_hold_no_secret_of_others(demo: HomeFolder) -> None:
    home = demo
    (simulator,) = [pid for pid, command in home.processes().items() if " simulate " in command]
    files = [home.path / "secret-key", home.path / "joulebook.sqlite3"]
    assert readable(simulator, *files, *(home.path / "db" / "passwords").iterdir()) == []
    assert readable(simulator, home.path / "demo" / "tokens")
    database = pid_of(home, ".supervisor.database")
    assert readable(database, *files, home.path / "demo-credentials") == []
    for pid in (simulator, database):
        held = environ_of(pid)
        assert "JOULEBOOK_SECRET_KEY" not in held
        assert not any(password in str(held) for password in passwords(home).values())


@as_root
@drops
def test_the_readers_backends_stand_back_though_the_web_is_another_user(demo: HomeFolder) -> None:
    assert demo.answers(demo.web)
    url = environ_of(pid_of(demo, " worker"))["JOULEBOOK_TELEMETRY_WRITER_URL"]

    def niceness(application: str) -> set[int]:
        with psycopg.connect(url) as conn:
            found = conn.execute(
                "SELECT pid FROM pg_stat_activity WHERE application_name = %s", [application]
            ).fetchall()
        return {os.getpriority(os.PRIO_PROCESS, pid) for (pid,) in found}

    usual = os.getpriority(os.PRIO_PROCESS, 0)
    eventually(
        lambda: niceness("joulebook-web") == {usual + STEPS},
        what=lambda: f"backends of the web with {usual + STEPS}, not {niceness('joulebook-web')}",
        seconds=30,
    )
    assert niceness("joulebook-writer") == {usual}


@as_root
@drops
def test_commands_that_root_runs_leave_everything_usable(demo: HomeFolder, tmp_path: Path) -> None:
    """By files of root's, say of SQLite's or of an import's lock, none of the processes is locked out."""
    home = demo
    device = home.run("device", "add", "alice_002", "--owner", "alice")
    assert device.returncode == 0, device.stderr
    token = device.stdout.strip()
    log = tmp_path / "log.csv"
    log.write_text("time,power\n2026-03-01T00:00:00Z,1\n2026-03-01T00:00:01Z,2\n")
    imported = home.run("import", str(log), "--device", "alice_002")
    assert imported.returncode == 0, imported.stderr
    with httpx.Client(base_url=home.web, follow_redirects=True, timeout=30) as client:
        sign_in(client, home, "alice", "a long enough pass phrase")
        send(home, token)
        assert "alice_002" in client.get("/").text
        # By a person: the web takes the file, the worker reads and removes it.
        key = home.run("user", "token", "alice").stdout.strip()
        answer = client.post(
            "/api/imports",
            params={"device": "alice_002", "name": "log.csv"},
            content=log.read_bytes() + b"2026-03-01T00:00:02Z,3\n",
            headers={"Authorization": f"Bearer {key}", "Content-Type": "text/csv"},
        )
        assert answer.status_code in {200, 201, 202}, answer.text
        eventually(
            lambda: (
                '"done"'
                in client.get(
                    f"/api/imports/{answer.json()['id']}", headers={"Authorization": f"Bearer {key}"}
                ).text
            ),
            what=lambda: home.said,
            seconds=60,
        )
    assert list((home.path / "uploads").iterdir()) == []
    assert not [path for path in (home.path / "workers").iterdir() if path.stat().st_uid == 0]


@as_root
@drops
def test_a_home_of_an_older_version_is_given_to_the_users_once_with_its_accounts(
    make_home: Callable[..., Any], used: Path
) -> None:
    home = make_home(used)
    file = home.path / "joulebook.sqlite3"
    assert not file.is_symlink()
    assert file.stat().st_uid == 0
    token = sign_up(home)
    (home.path / "uploads").mkdir(mode=0o700)
    (home.path / "uploads" / "11111111-1111-1111-1111-111111111111").write_text("a file that waits")
    home.path.chmod(0o700)
    up = home.start("up")
    up.until_ready()
    send(home, token)
    web, worker = (int(status_of(pid_of(home, f" {name}"))["Uid"].split()[0]) for name in ("web", "worker"))
    assert (home.path / "uploads" / "11111111-1111-1111-1111-111111111111").stat().st_uid == web
    assert (home.path / "workers").stat().st_uid == worker
    assert file.readlink() == Path("accounts/joulebook.sqlite3")
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o710
    numbers = (home.path / "users").read_text()
    assert up.interrupt() == 0
    # A database that root starts in the background is its own user's, and lets the others in.
    started = home.run("db", "start")
    assert started.returncode == 0, started.stderr
    assert {status_of(pid)["Uid"].split()[0] for pid in home.processes()}.isdisjoint({"0"})
    try:
        again = home.start("up")
        again.until_ready()
        assert "will go on running" in again.text
        assert "warning" not in again.text
        assert (home.path / "users").read_text() == numbers
        send(home, token)
        assert again.interrupt() == 0
    finally:
        assert home.run("db", "stop").returncode == 0


@as_root
def test_a_home_of_another_user_is_served_with_a_warning_that_names_the_remedy(home: Any) -> None:
    os.chown(home.path, pwd.getpwnam("nobody").pw_uid, -1)
    up = home.start("up")
    up.until_ready()
    assert re.search(r"warning: every process runs as root.*belongs to user \d+", up.text)
    assert "warning: put Joulebook and JOULEBOOK_HOME into folders that everybody may enter" in up.text
    assert status_of(pid_of(home, " web"))["Uid"].split()[0] == "0"


@as_root
def test_where_no_other_user_can_reach_the_home_everything_works_with_a_warning(home: Any) -> None:
    """As in a container, where root may not take a view of the file system."""
    home.path.parent.chmod(0o700)
    home.prefix = ("setpriv", "--bounding-set=-sys_admin", "--")
    up = home.start("up")
    up.until_ready()
    assert re.search("warning: every process runs as root.*Permission denied|not permitted", up.text)
    assert status_of(pid_of(home, " web"))["Uid"].split()[0] == "0"
    send(home, sign_up(home))


def test_as_one_ordinary_user_each_process_is_handed_its_own_secrets_only(
    make_home: Callable[..., Any],
) -> None:
    home = make_home()
    if os.geteuid() == 0:
        home.become("nobody")
    up = home.start("up")
    up.until_ready()
    running = home.processes()
    assert {status_of(pid)["Uid"].split()[0] for pid in running} == {
        status_of(up.process.pid)["Uid"].split()[0]
    }
    assert "0" not in status_of(up.process.pid)["Uid"].split()
    holds = {
        name: {
            role
            for role, password in passwords(home).items()
            if password in str(environ_of(pid_of(home, words)))
        }
        for name, words in {
            "database": ".supervisor.database",
            **{each: f" {each}" for each in SERVICES},
        }.items()
    }
    assert holds == {
        "database": set(),
        "worker": {"joulebook_writer", "joulebook_reader"},
        "web": {"joulebook_reader"},
        "ingest": {"joulebook_writer"},
    }
    assert not (home.path / "accounts").exists()
    assert (home.path / "joulebook.sqlite3").is_file()
    assert not (home.path / "joulebook.sqlite3").is_symlink()
    assert up.interrupt() == 0


def test_the_web_alone_needs_its_own_settings_only(new_home: Any, telemetry: dict[str, str]) -> None:
    """As a unit of systemd with a user of its own, which takes its secrets from files."""
    if os.geteuid() == 0:
        # The session's server lets its own user connect; that one cannot read the passwords, which are root's.
        new_home.become(pwd.getpwuid((HOME / "db" / "data").stat().st_uid).pw_name)
    for name, text in (("key", secrets.token_urlsafe(48)), ("url", telemetry["reader"])):
        file = new_home.path.parent / name
        file.write_text(f"{text}\n")
        file.chmod(0o644)
    new_home.environment |= {
        "JOULEBOOK_SECRET_KEY_FILE": str(new_home.path.parent / "key"),
        "JOULEBOOK_TELEMETRY_URL_FILE": str(new_home.path.parent / "url"),
        "JOULEBOOK_DATABASE_URL": f"sqlite://{new_home.path}/accounts-of-mine.sqlite3",
    }
    # Creates the accounts.
    assert new_home.start("device", "list").process.wait(timeout=60) == 0
    web = new_home.start("web")
    eventually(lambda: new_home.answers(new_home.web), what=lambda: web.text, seconds=60)
    page = httpx.get(f"{new_home.web}/sign-in/", timeout=30)
    assert page.status_code == 200
    assert not (new_home.path / "secret-key").exists()
    assert not (new_home.path / "db").exists()
