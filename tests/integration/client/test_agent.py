"""`joulebook agent` against the real ingest: away, killed, refused, too large; nothing lost, nothing doubled."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from ...conftest import Service, free_port

Agent = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def token_file(tmp_path: Path, device_token: str) -> Path:
    file = tmp_path / "token"
    file.write_text(device_token + "\n")
    file.chmod(0o600)
    return file


@pytest.fixture
def agent(tmp_path: Path, token_file: Path) -> Iterator[Agent]:
    """Start `joulebook agent` with this test's buffer and token."""
    started: list[subprocess.Popen[str]] = []

    def start(url: str, *words: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "joulebook", "agent", f"--url={url}", f"--token-file={token_file}",
                f"--buffer={tmp_path / 'buffer'}", *words,
            ],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def strict_ingest(telemetry: dict[str, str]) -> Iterator[Service]:
    """An ingest, not started yet, that takes at most three readings a request."""
    service = Service("ingest", free_port(), {"JOULEBOOK_INGEST_MAX_READINGS": "3"})
    yield service
    service.stop()


def line(number: int, **fields: object) -> str:
    stamp = f"2026-11-21T{number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}Z"
    return json.dumps({"timestamp": stamp, "power": number, **fields}) + "\n"


def stored(telemetry: dict[str, str], device_id: str) -> list[float]:
    """Return the values of the device's power, in order of their size."""
    with psycopg.connect(telemetry["reader"]) as conn:
        found = conn.execute(
            "SELECT value FROM readings JOIN series ON id = series_id"
            " WHERE device_id = %s AND metric = 'power' ORDER BY value",
            [device_id],
        ).fetchall()
    return [value for (value,) in found]


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 100) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_what_comes_on_standard_input_is_stored_and_counted(
    ingest: Service, agent: Agent, telemetry: dict[str, str], device_id: str, device_token: str
) -> None:
    process = agent(ingest.url)
    output, errors = process.communicate("".join(line(number) for number in range(1_200)), timeout=60)
    assert process.returncode == 0, errors
    assert output == ""
    assert errors.splitlines()[-1] == "sent 1,200 · waiting 0 · stored 1,200"
    assert device_token not in errors
    assert stored(telemetry, device_id) == list(range(1_200))


def test_packets_without_a_time_are_stored_each_for_itself(
    ingest: Service, agent: Agent, telemetry: dict[str, str], device_id: str
) -> None:
    process = agent(ingest.url)
    _, errors = process.communicate("".join(f'{{"power": {n}}}\n' for n in range(700)), timeout=60)
    assert process.returncode == 0, errors
    assert stored(telemetry, device_id) == list(range(700))


def test_it_waits_for_an_ingest_that_is_away_and_splits_what_is_too_large(
    strict_ingest: Service, agent: Agent, telemetry: dict[str, str], device_id: str
) -> None:
    process = agent(strict_ingest.url, "--drain=60")
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write("".join(line(number) for number in range(20)))
    process.stdin.flush()
    while "packets wait: no answer" not in process.stderr.readline():
        assert process.poll() is None
    strict_ingest.start(path="/readyz")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "ingest takes packets again" in errors
    assert errors.splitlines()[-1].startswith("sent 20 · waiting 0 · stored 20")
    assert stored(telemetry, device_id) == list(range(20))


def test_only_what_is_refused_is_discarded_and_it_is_told(
    ingest: Service, agent: Agent, telemetry: dict[str, str], device_id: str
) -> None:
    lines = [
        line(0),
        '{"timestamp": "2026-11-21T00:00:01", "power": 1}\n',
        "this is no packet\n",
        '["nor", "this"]\n',
        line(4, temperature=float("nan")),
        line(5).rstrip("\n"),  # the last line need not be ended
    ]
    process = agent(ingest.url)
    _, errors = process.communicate("".join(lines), timeout=60)
    assert process.returncode == 0, errors
    assert "refused for good: time_ambiguous" in errors
    assert "refused for good: value_not_finite" in errors
    assert errors.count("not a packet, passed over") == 2
    assert errors.splitlines()[-1] == "sent 4 · waiting 0 · stored 3 · refused 2 · not a packet 2"
    assert stored(telemetry, device_id) == [0, 4, 5]


def test_a_refused_token_keeps_everything_and_a_new_one_needs_no_restart(
    ingest: Service, agent: Agent, telemetry: dict[str, str], device_id: str, token_file: Path
) -> None:
    right = token_file.read_text()
    token_file.write_text(right.strip() + "x\n")
    process = agent(ingest.url, "--drain=60")
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write("".join(line(number) for number in range(10)))
    process.stdin.flush()
    while "packets wait: 401" not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(1.0)
    assert stored(telemetry, device_id) == []
    token_file.write_text(right)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert stored(telemetry, device_id) == list(range(10))


def test_at_the_end_of_its_input_it_leaves_what_ingest_does_not_take_to_the_next_run(
    ingest: Service, agent: Agent, telemetry: dict[str, str], device_id: str
) -> None:
    process = agent(f"http://127.0.0.1:{free_port()}", "--drain=1")
    _, errors = process.communicate(line(1) + line(2), timeout=60)
    assert process.returncode == 3
    assert "waiting 2" in errors.splitlines()[-1]
    assert "trouble: no answer" in errors.splitlines()[-1]
    process = agent(ingest.url)
    _, errors = process.communicate("", timeout=60)
    assert process.returncode == 0, errors
    assert stored(telemetry, device_id) == [1, 2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_sends_what_was_written_and_ends_in_order(
    ingest: Service, agent: Agent, telemetry: dict[str, str], device_id: str, number: int
) -> None:
    process = agent(ingest.url)
    assert process.stdin is not None
    process.stdin.write(line(0))
    process.stdin.flush()
    wait_for(lambda: stored(telemetry, device_id) == [0], "the first packet is not stored")
    process.stdin.write("".join(line(number) for number in range(1, 300)))
    process.stdin.flush()
    process.send_signal(number)
    assert process.wait(timeout=30) == 0
    assert stored(telemetry, device_id) == list(range(300))


def test_a_file_is_followed_through_its_rotation(
    ingest: Service, agent: Agent, telemetry: dict[str, str], device_id: str, tmp_path: Path
) -> None:
    file = tmp_path / "meter.ndjson"
    process = agent(ingest.url, f"--file={file}")
    file.write_text("".join(line(number) for number in range(100)))
    wait_for(lambda: len(stored(telemetry, device_id)) == 100, "the file is not read")
    writer = file.open("a")
    file.rename(tmp_path / "meter.ndjson.1")
    file.write_text(line(101))
    writer.write(line(100))  # a writer that has not noticed yet
    writer.close()
    wait_for(lambda: stored(telemetry, device_id) == list(range(102)), "the rotation is not followed")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0


@pytest.mark.parametrize(
    ("packets", "times"),
    [pytest.param(8_000, 6, id="8,000"), pytest.param(200_000, 60, id="200,000", marks=pytest.mark.slow)],
)
@pytest.mark.timeout(900)
def test_kill_9_of_the_agent_and_of_ingest_loses_and_doubles_nothing(
    agent: Agent, telemetry: dict[str, str], device_id: str, tmp_path: Path, packets: int, times: int
) -> None:
    """The packets carry no time: only the agent's bookmark and stamp keep them from being doubled."""
    service = Service("ingest", free_port(), {"JOULEBOOK_INGEST_MAX_READINGS": "400"})
    file = tmp_path / "meter.ndjson"
    chance = random.Random(14)
    share = packets // (times + 1)

    def write(first: int, last: int) -> None:
        with file.open("a") as out:
            out.writelines(f'{{"power": {number}}}\n' for number in range(first, last))

    service.start(path="/readyz")
    in_the_middle = 0
    try:
        for number in range(times):
            write(number * share, (number + 1) * share)
            process = agent(service.url, f"--file={file}", "--batch=20")
            wanted = number * share + chance.randrange(share // 2)
            wait_for(lambda wanted=wanted: len(stored(telemetry, device_id)) >= wanted, "nothing arrives")
            if number % 3 == 2:  # ingest, too, is killed in between
                service.kill()
            process.kill()
            process.communicate()
            in_the_middle += len(stored(telemetry, device_id)) < (number + 1) * share
            if number % 3 == 2:
                service.start(path="/readyz")
        write(times * share, packets)
        last = agent(service.url, f"--file={file}")
        wait_for(lambda: len(stored(telemetry, device_id)) >= packets, "not everything arrives", 300)
        last.send_signal(signal.SIGTERM)
        _, errors = last.communicate(timeout=60)
    finally:
        service.stop()
    assert last.returncode == 0, errors
    found = stored(telemetry, device_id)
    print(  # noqa: T201 - a drill reports its figures
        f"\nkill -9 of the agent: {times} times, {in_the_middle} of them while packets waited; {packets} packets without a time, "
        f"sent − stored {packets - len(set(found))}, doubled {len(found) - len(set(found))}"
    )
    assert found == list(range(packets))
    assert in_the_middle, "no kill hit an agent that had something to send"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--url=ftp://x"], "is no address"),
        (["--url=http://name:secret@x"], "carries no names, secrets"),
        (["--url=http://x/?token=secret"], "carries no names, secrets"),
        (["--token-file=/nowhere/token"], "the token cannot be read"),
        (["--file=/dev"], "is no regular file"),
    ],
)
def test_what_cannot_work_is_said_at_once(
    agent: Agent, telemetry: dict[str, str], words: list[str], problem: str
) -> None:
    process = agent("http://127.0.0.1:9", *words)
    _, errors = process.communicate("", timeout=30)
    assert process.returncode == 1
    assert problem in " ".join(errors.split())
    assert "Traceback" not in errors


def test_a_token_file_that_others_can_read_is_refused(agent: Agent, token_file: Path) -> None:
    token_file.chmod(0o640)
    process = agent("http://127.0.0.1:9")
    _, errors = process.communicate("", timeout=30)
    assert process.returncode == 1
    assert f"chmod 600 {token_file}" in " ".join(errors.split()).replace("- ", "-")


def test_a_second_agent_on_the_same_buffer_is_refused(
    ingest: Service, agent: Agent, tmp_path: Path, telemetry: dict[str, str], device_id: str
) -> None:
    first = agent(ingest.url)
    assert first.stdin is not None
    first.stdin.write(line(1))
    first.stdin.flush()
    wait_for(lambda: stored(telemetry, device_id) == [1], "the first agent does not send")
    second = agent(ingest.url)
    _, errors = second.communicate("", timeout=30)
    assert second.returncode == 1
    assert "another process uses it" in errors
    assert first.poll() is None


def test_the_environments_token_is_used_and_none_at_all_is_told(
    ingest: Service, device_token: str, tmp_path: Path, telemetry: dict[str, str], device_id: str
) -> None:
    command = [sys.executable, "-m", "joulebook", "agent", f"--url={ingest.url}", f"--buffer={tmp_path}/b"]
    without = subprocess.run(command, input=line(1), capture_output=True, text=True, timeout=60, check=False)
    assert without.returncode == 1
    assert "set JOULEBOOK_TOKEN" in without.stderr
    done = subprocess.run(
        command, input=line(1), capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "JOULEBOOK_TOKEN": device_token},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert stored(telemetry, device_id) == [1]
