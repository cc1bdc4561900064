"""`joulebook simulate` against the real ingest, through its absence and its refusals."""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from django.contrib.auth.models import User


class Simulation(subprocess.Popen[str]):
    """A running `joulebook simulate`, and what it has printed so far."""

    def __init__(self, words: list[str], log: Path) -> None:
        self.log = log
        with log.open("w") as output:
            super().__init__(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, text=True
            )

    def printed(self) -> str:
        return self.log.read_text()


Simulate = Callable[..., Simulation]


@pytest.fixture
def simulate(tmp_path: Path) -> Iterator[Simulate]:
    """Start `joulebook simulate` in the session's home, with device ids that no other test uses."""
    prefix = f"sim{uuid.uuid4().hex[:8]}"
    started: list[Simulation] = []

    def start(*words: str) -> Simulation:
        command = [sys.executable, "-m", "joulebook", "simulate", f"--prefix={prefix}", *words]
        process = Simulation(command, tmp_path / f"printed-{len(started)}")
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


@pytest.fixture
def owner(transactional_db: None, alice: User) -> User:
    """Alice, committed, so that the command sees her."""
    return alice


def output_of(process: Simulation, *, seconds: float = 120) -> str:
    process.wait(timeout=seconds)
    return process.printed()


def wait_for(condition: Callable[[], bool], process: Simulation, *, seconds: float = 120) -> None:
    """Return when the condition holds; the bound is for a machine that is busy with other things."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.printed()
        assert time.monotonic() < deadline, process.printed()
        time.sleep(0.1)


def ago(seconds: int) -> str:
    """The option that begins so many seconds ago."""
    return time.strftime("--since=%Y-%m-%dT%H:%M:%S+0000", time.gmtime(time.time() - seconds))


def counts(output: str) -> dict[str, int]:
    line = [line for line in output.splitlines() if line.startswith("sent ")][-1]
    return {name: int(value.replace(",", "")) for name, value in re.findall(r"(\w+) ([\d,]+)", line)}


def readings(conn: psycopg.Connection, token_file: Path) -> list[tuple[Any, ...]]:
    devices = [line.split()[0] for line in token_file.read_text().splitlines()]
    return conn.execute(
        "SELECT device_id, metric, extract(epoch FROM time)::float8, value FROM readings"
        " JOIN series ON series.id = series_id WHERE device_id = ANY(%s) ORDER BY 1, 2, 3",
        (devices,),
    ).fetchall()


def test_devices_are_created_and_what_they_send_is_stored(
    ingest: Any, owner: User, writer: psycopg.Connection, simulate: Simulate, token_file: Path
) -> None:
    from joulebook.web.devices.models import Device, Metric

    process = simulate(
        f"--url={ingest.url}", f"--token-file={token_file}", "--create=4", "--owner=alice",
        "--rate=5", "--seconds=4",
    )  # fmt: skip
    output = output_of(process)
    assert process.returncode == 0, output
    assert "4 devices of alice created" in output
    told = counts(output)
    assert told["sent"] >= 4 * 5 * 3
    assert told["waiting"] == 0
    assert "trouble" not in output
    stored = readings(writer, token_file)
    assert len(stored) == told["stored"] + told["duplicates"]
    battery, roof, *_ = ids = sorted({device for device, *_ in stored})
    assert [device_id[-6:] for device_id in ids] == ["-00001", "-00002", "-00003", "-00004"]
    times = sorted({time for device, metric, time, _ in stored if (device, metric) == (battery, "power")})
    assert {round(after - before, 3) for before, after in itertools.pairwise(times)} == {0.2}
    assert Device.objects.filter(owner=owner, name="Grid meter 1").exists()
    assert Metric.objects.get(device__device_id=roof, name="energy.produced").unit == "kWh"
    assert token_file.stat().st_mode & 0o777 == 0o600


def test_no_token_is_seen_in_the_command_line_or_the_output(
    ingest: Any, owner: User, simulate: Simulate, token_file: Path
) -> None:
    process = simulate(
        f"--url={ingest.url}", f"--token-file={token_file}", "--create=2", "--owner=alice", "--seconds=3"
    )
    while not token_file.exists():
        assert process.poll() is None
        time.sleep(0.05)
    secrets = [line.split()[1] for line in token_file.read_text().splitlines()]
    command_line = Path(f"/proc/{process.pid}/cmdline").read_text()
    output = output_of(process)
    for secret in secrets:
        assert secret not in command_line
        assert secret not in output
        assert secret not in ingest.log.read_text()


def test_packets_wait_while_ingest_is_away_and_none_is_lost_or_doubled(
    ingest: Any, owner: User, writer: psycopg.Connection, simulate: Simulate, token_file: Path
) -> None:
    earliest = int(time.time()) - 60
    process = simulate(
        f"--url={ingest.url}", f"--token-file={token_file}", "--create=3", "--owner=alice", "--rate=10",
        ago(60), "--no-status",
    )  # fmt: skip
    try:
        for _ in range(3):
            up = time.time()
            wait_for(lambda since=up: reached(writer, token_file, since), process)
            # It tells when trouble begins and when it ends: the next must not begin before that.
            wait_for(lambda: "trouble" not in process.printed().splitlines()[-1], process)
            ingest.kill()
            told = process.printed().count("no answer")
            wait_for(lambda told=told: process.printed().count("no answer") > told, process)
            ingest.start(path="/readyz")
        back = time.time()
        wait_for(lambda: reached(writer, token_file, back), process)
    finally:
        if ingest.process.poll() is not None:
            ingest.start(path="/readyz")
    process.send_signal(signal.SIGINT)
    output = output_of(process)
    assert process.returncode == 0
    assert "no answer" in output, "the person was told"
    told = counts(output)
    assert told["waiting"] == 0
    power = [row for row in readings(writer, token_file) if row[1] == "power"]
    for device in {row[0] for row in power}:
        times = [round(row[2] * 10) for row in power if row[0] == device]
        assert times[0] <= (earliest + 2) * 10
        assert times == list(range(times[0], times[-1] + 1)), f"{device} has every tick once"
    assert told["stored"] <= len(readings(writer, token_file)) <= told["stored"] + told["duplicates"]


def reached(conn: psycopg.Connection, token_file: Path, moment: float) -> bool:
    """Return whether each of the three devices has readings of the moment, or of a later one."""
    if not token_file.exists():
        return False
    newest: dict[str, float] = {}
    for device, _, at, _ in readings(conn, token_file):
        newest[device] = max(at, newest.get(device, at))
    return len(newest) == 3 and min(newest.values()) >= moment


def test_a_restart_goes_on_with_the_same_registers(
    ingest: Any, owner: User, writer: psycopg.Connection, simulate: Simulate, token_file: Path
) -> None:
    words = (f"--url={ingest.url}", f"--token-file={token_file}", "--rate=20", "--seconds=2", ago(20))
    assert "trouble" not in output_of(simulate(*words, "--create=3", "--owner=alice"))
    first = len(readings(writer, token_file))
    output = output_of(simulate(*words))
    assert counts(output)["duplicates"] > 0, "both sent the same seconds"
    assert "refused" not in output, "and said the same of them"
    rows = readings(writer, token_file)
    assert len(rows) > first > 0
    for metric in ("energy.produced", "energy.imported", "energy.exported"):
        values = [value for _, name, _, value in rows if name == metric]
        assert values == sorted(values)
        assert values[-1] - values[0] < 0.1, "no leap of the register"


def test_a_wrong_token_is_told_and_the_packets_are_kept(
    ingest: Any, simulate: Simulate, token_file: Path
) -> None:
    token_file.write_text("sim-00001 jbd00000000_wrong\n")
    token_file.chmod(0o600)
    process = simulate(
        f"--url={ingest.url}", f"--token-file={token_file}", "--rate=5", "--seconds=3", "--no-status"
    )
    output = output_of(process)
    assert "trouble: sim-00001: 401" in output
    told = counts(output)
    assert told["sent"] == 0
    assert told["waiting"] >= 10
    assert "jbd00000000_wrong" not in output


def test_batches_carry_many_packets_and_the_last_ones_are_not_left_behind(
    ingest: Any, owner: User, writer: psycopg.Connection, simulate: Simulate, token_file: Path
) -> None:
    process = simulate(
        f"--url={ingest.url}", f"--token-file={token_file}", "--create=5", "--owner=alice",
        "--rate=10", "--batch=1000", "--seconds=2",
    )  # fmt: skip
    told = counts(output_of(process))
    assert told["waiting"] == 0
    power = [row for row in readings(writer, token_file) if row[1] == "power"]
    assert len(power) == told["sent"] >= 5 * 15


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--url=ftp://x"], "is no address"),
        (["--url=http://name:secret@x"], "tokens come from --token-file"),
        (["--url=http://x/?token=secret"], "tokens come from --token-file"),
        (["--devices=5"], "names 1 devices, not 5"),
        (["--create=3"], "--create needs --owner"),
        (["--create=3", "--owner=nobody-of-that-name"], "there is no user 'nobody-of-that-name'"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_sent(
    telemetry: dict[str, str], simulate: Simulate, token_file: Path, words: list[str], problem: str
) -> None:
    token_file.write_text("sim-00001 jbd00000000_wrong\n")
    token_file.chmod(0o600)
    process = simulate(f"--token-file={token_file}", *words)
    output = " ".join(output_of(process).split())
    assert process.returncode == 1
    assert problem in output
    assert "Traceback" not in output


def test_a_token_file_that_others_can_read_is_refused(simulate: Simulate, token_file: Path) -> None:
    token_file.write_text("sim-00001 jbd00000000_wrong\n")
    token_file.chmod(0o644)
    process = simulate(f"--token-file={token_file}")
    assert "chmod 600" in output_of(process)
    assert process.returncode == 1
