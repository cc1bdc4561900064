"""The supervisor with real child processes: it starts, restarts, orders, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ...conftest import free_port

SCRIPT = Path(__file__).with_name("plan_script.py")
QUICK = {"settle": 0.02, "first": 0.05, "longest": 0.2, "stable": 60.0, "attempts": 3}

# A service: says that it runs, and on SIGTERM takes a moment, notes its end in a file, and leaves.
SERVICE = """
    import os, signal, sys, time
    name, ends, pause = sys.argv[1], sys.argv[2], float(sys.argv[3])
    def end(*_):
        time.sleep(pause)
        with open(ends, "a") as notes:
            notes.write(name + "\\n")
        sys.exit(0)
    signal.signal(signal.SIGTERM, end)
    print("runs as", os.getpid(), flush=True)
    if "JOULEBOOK_READY_FD" in os.environ:
        os.write(int(os.environ["JOULEBOOK_READY_FD"]), b"1")
    while True:
        time.sleep(60)
"""
STUBBORN = """
    import os, signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("runs as", os.getpid(), flush=True)
    while True:
        time.sleep(60)
"""
WITH_GRANDCHILD = """
    import os, signal, subprocess, sys, time
    helper = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(signal.SIGTERM, "
                               "signal.SIG_IGN); print('helps', flush=True); time.sleep(60)"],
                              stdout=subprocess.PIPE)
    helper.stdout.readline()
    print("runs as", os.getpid(), flush=True)
    print("helper is", helper.pid, flush=True)
    time.sleep(60)
"""
DAEMON = """
    import subprocess, sys
    daemon = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    print("daemon is", daemon.pid, flush=True)
"""
NOTIFIER = """
    import os, time
    print("prepares", flush=True)
    time.sleep(0.4)
    print("is prepared", flush=True)
    os.write(int(os.environ["JOULEBOOK_READY_FD"]), b"1")
    time.sleep(60)
"""


class Running:
    """A supervisor that runs a plan, and what it has said so far."""

    def __init__(self, plan: list[dict[str, object]], **options: object) -> None:
        wanted: dict[str, object] = {"plan": plan, "patience": QUICK, **options}
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(wanted).encode())
        self.process.stdin.close()
        os.set_blocking(self.process.stdout.fileno(), False)
        self.text = ""

    def read(self) -> str:
        with suppress(TypeError):  # nothing to read just now
            self.text += (self.process.stdout.read() or b"").decode()
        return self.text

    def until(self, pattern: str, *, seconds: float = 20.0) -> re.Match[str]:
        """Wait until what was said matches `pattern`."""
        wait_for(lambda: re.search(pattern, self.read()), what=lambda: f"{pattern!r} in:\n{self.text}",
                 seconds=seconds)  # fmt: skip
        found = re.search(pattern, self.text)
        assert found
        return found

    def until_said(self, text: str, *, times: int) -> None:
        wait_for(
            lambda: self.read().count(text) >= times, what=lambda: f"{text!r} x {times} in:\n{self.text}"
        )

    def pid_of(self, name: str) -> int:
        return int(self.until(rf"{name} *│ runs as (\d+)").group(1))

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        status = self.process.wait(timeout=30)
        self.read()
        return status


def wait_for(condition: Callable[[], object], *, what: Callable[[], str], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"did not come within {seconds} s: {what()}")
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.fixture
def start() -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def run(*plan: dict[str, object], **options: object) -> Running:
        running.append(Running(list(plan), **options))
        return running[-1]

    yield run
    for each in running:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait()
        assert each.process.stdout is not None
        each.process.stdout.close()


@pytest.fixture
def ends(tmp_path: Path) -> Path:
    return tmp_path / "ends"


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]


def service(name: str, ends: Path, *, pause: float = 0.0, **fields: object) -> dict[str, object]:
    return {"name": name, "command": python(SERVICE, name, ends, pause), "ready": "NOTIFIES", **fields}


def test_every_line_carries_the_name_of_its_process(start: Callable[..., Running], ends: Path) -> None:
    both = python("import sys; print('out'); print('err', file=sys.stderr); print('no end', end='')")
    running = start(service("web", ends), {"name": "migrate", "command": both, "ready": "ENDED"})
    running.until("ALL READY")
    running.stop()
    lines = running.text.splitlines()
    for line in ("migrate │ out", "migrate │ err", "migrate │ no end"):
        assert line in lines
    assert any(line.startswith("web     │ runs as") for line in lines)
    assert "\x1b" not in running.text


def test_names_are_coloured_where_colour_is_wanted(start: Callable[..., Running], ends: Path) -> None:
    running = start(service("web", ends), service("ingest", ends), colour=True)
    running.until("ALL READY")
    running.stop()
    colours = dict(re.findall(r"\x1b\[(\d+)m(web|ingest) *│ \x1b\[0m", running.text))
    assert len(colours) == 2


def test_a_process_that_dies_is_started_again(start: Callable[..., Running], ends: Path) -> None:
    running = start(service("web", ends))
    first = running.pid_of("web")
    running.until("ALL READY")
    os.kill(first, signal.SIGKILL)
    running.until_said("runs as", times=2)
    told = (
        r"^web │ \S+Z WARNING \[\d+\] joulebook\.supervisor: was ended by SIGKILL; starts again in 0\.05 s$"
    )
    assert re.search(told, running.text, re.MULTILINE)
    assert int(re.findall(r"runs as (\d+)", running.text)[1]) != first
    assert running.text.count("ALL READY") == 1
    assert running.stop() == 0


def test_a_process_that_keeps_dying_after_it_was_ready_is_never_given_up(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    dies = python("import time; print('runs', flush=True); time.sleep(0.1); raise SystemExit(3)")
    running = start({"name": "web", "command": dies})
    running.until_said("ended with status 3", times=6)
    assert "GAVE UP" not in running.text
    assert "starts again in 0.2 s" in running.text, "the pauses grow to their limit"
    assert running.stop() == 0


def test_processes_end_in_the_reverse_order_of_the_plan_each_after_the_other(
    start: Callable[..., Running], ends: Path
) -> None:
    # The first to be stopped takes longest: only waiting for it keeps the order.
    running = start(
        service("database", ends),
        service("worker", ends, pause=0.1),
        service("web", ends, pause=0.2),
        service("ingest", ends, pause=0.4),
    )
    for name in ("database", "worker", "web", "ingest"):
        running.pid_of(name)
    assert running.stop() == 0
    assert ends.read_text().split() == ["ingest", "web", "worker", "database"]


def test_interrupting_the_whole_group_still_stops_in_order(start: Callable[..., Running], ends: Path) -> None:
    running = start(service("database", ends), service("ingest", ends, pause=0.3))
    pids = [running.pid_of("database"), running.pid_of("ingest")]
    os.killpg(running.process.pid, signal.SIGINT)  # as a terminal does on Ctrl-C
    assert running.wait() == 0
    assert ends.read_text().split() == ["ingest", "database"]
    assert not any(alive(pid) for pid in pids)
    assert "STOPPED" in running.text


def test_a_second_interrupt_ends_everything_at_once(start: Callable[..., Running], ends: Path) -> None:
    running = start(service("database", ends), service("ingest", ends, pause=30))
    pids = [running.pid_of("database"), running.pid_of("ingest")]
    running.process.send_signal(signal.SIGINT)
    running.until("Stopping; once more stops at once")
    began = time.monotonic()
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0
    assert time.monotonic() - began < 25, "the pause of 30 s is not waited for"
    assert not any(alive(pid) for pid in pids)


def test_a_process_that_ignores_the_request_is_killed(start: Callable[..., Running]) -> None:
    running = start({"name": "web", "command": python(STUBBORN), "stop_timeout": 0.3})
    pid = running.pid_of("web")
    assert running.stop() == 0
    assert not alive(pid)


def test_no_orphan_is_left_when_the_supervisor_is_killed(start: Callable[..., Running], ends: Path) -> None:
    running = start(service("web", ends), {"name": "stubborn", "command": python(STUBBORN)})
    pids = [running.pid_of("web"), running.pid_of("stubborn")]
    running.process.kill()
    running.process.wait()
    wait_for(lambda: not any(alive(pid) for pid in pids), what=lambda: "the end of the children")


def test_what_a_process_started_ends_with_it(start: Callable[..., Running]) -> None:
    running = start({"name": "web", "command": python(WITH_GRANDCHILD)})
    helper = int(running.until(r"helper is (\d+)").group(1))
    os.kill(running.pid_of("web"), signal.SIGKILL)
    wait_for(lambda: not alive(helper), what=lambda: "the end of the helper")
    running.until_said("helper is", times=2)
    second = int(re.findall(r"helper is (\d+)", running.text)[-1])
    assert running.stop() == 0
    assert not alive(second)


def test_a_daemon_that_left_its_group_and_its_parent_does_not_outlive_the_supervisor(
    start: Callable[..., Running], ends: Path
) -> None:
    running = start(service("web", ends), {"name": "step", "command": python(DAEMON), "ready": "ENDED"})
    running.until("ALL READY")
    daemon = int(running.until(r"daemon is (\d+)").group(1))
    assert alive(daemon)
    assert running.stop() == 0
    assert not Path(f"/proc/{daemon}").exists(), "not even a zombie"


def test_a_step_that_fails_stops_everything_and_shows_its_last_words(
    start: Callable[..., Running], ends: Path
) -> None:
    failing = python("print('no such table'); raise SystemExit(4)")
    running = start(
        service("database", ends),
        {"name": "migrate", "command": failing, "ready": "ENDED", "after": ["database"]},
        service("web", ends, after=["migrate"]),
    )
    assert running.wait() == 1
    assert "GAVE UP: migrate ended with status 4; its last words:\n    no such table" in running.text
    assert ends.read_text().split() == ["database"]
    assert "web      │" not in running.text


def test_a_process_that_keeps_dying_at_start_is_given_up(start: Callable[..., Running], ends: Path) -> None:
    free = free_port()
    failing = python("print('cannot bind'); raise SystemExit(1)")
    running = start(
        service("database", ends),
        {"name": "web", "command": failing, "ready": "ANSWERS", "port": free, "after": ["database"]},
    )
    assert running.wait() == 1
    assert (
        "GAVE UP: web ended with status 1, 3 times in a row; its last words:\n    cannot bind" in running.text
    )
    assert ends.read_text().split() == ["database"]


def test_a_process_that_cannot_tell_is_ready_only_when_it_survived_its_start(
    start: Callable[..., Running], ends: Path
) -> None:
    failing = python("import time; time.sleep(0.2); print('no settings'); raise SystemExit(1)")
    running = start(
        service("web", ends), {"name": "worker", "command": failing}, patience={**QUICK, "settle": 1.0}
    )
    assert running.wait() == 1
    assert "ALL READY" not in running.text
    assert (
        "GAVE UP: worker ended with status 1, 3 times in a row; its last words:\n    no settings"
        in running.text
    )


def test_a_process_that_says_that_it_is_hopeless_is_not_tried_again(start: Callable[..., Running]) -> None:
    hopeless = python("print('no such folder'); raise SystemExit(78)")
    running = start({"name": "database", "command": hopeless, "ready": "NOTIFIES"})
    assert running.wait() == 1
    assert "starts again" not in running.text
    assert "GAVE UP: database cannot start; its last words:\n    no such folder" in running.text


def test_a_command_that_does_not_exist_is_given_up_with_its_name(start: Callable[..., Running]) -> None:
    running = start({"name": "web", "command": ["/nowhere/to/be/found"]})
    assert running.wait() == 1
    assert "/nowhere/to/be/found cannot be run" in running.text


def test_a_process_that_never_gets_ready_is_given_up(start: Callable[..., Running], ends: Path) -> None:
    running = start(service("web", ends, ready="ANSWERS", port=free_port(), start_timeout=2.0))
    assert running.wait() == 1
    assert "GAVE UP: web was not ready within 2 s; its last words:\n    runs as" in running.text
    assert ends.read_text().split() == ["web"]


def test_others_wait_until_a_process_tells_that_it_is_ready(
    start: Callable[..., Running], ends: Path
) -> None:
    running = start(
        {"name": "database", "command": python(NOTIFIER), "ready": "NOTIFIES"},
        service("web", ends, after=["database"]),
    )
    running.pid_of("web")
    assert running.text.index("is prepared") < running.text.index("web      │ runs as")
    running.stop()


def test_everything_is_ready_only_when_the_service_answers_200(start: Callable[..., Running]) -> None:
    port = free_port()
    running = start({"name": "web", "command": python(ANSWERS_LATE, port), "ready": "ANSWERS", "port": port})
    running.until("ALL READY")
    assert re.search(r"said 503\n(.*\n)*web │ said 200\n(.*\n)*ALL READY", running.text)
    running.stop()


ANSWERS_LATE = """
    import http.server, sys, time
    began = time.monotonic()
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status = 200 if time.monotonic() - began > 0.5 and self.path == "/readyz" else 503
            print("said", status, flush=True)
            self.send_response(status)
            self.end_headers()
        def log_message(self, *_):
            pass
    http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def test_a_signal_while_a_step_runs_starts_nothing_more(start: Callable[..., Running], ends: Path) -> None:
    slow = python("import time; print('begins', flush=True); time.sleep(60)")
    running = start(
        {"name": "migrate", "command": slow, "ready": "ENDED"}, service("web", ends, after=["migrate"])
    )
    running.until("begins")
    assert running.stop() == 0
    assert "web     │" not in running.text


def test_the_end_of_the_reader_of_the_logs_does_not_end_the_processes(
    start: Callable[..., Running], ends: Path
) -> None:
    talks = python("import time\nwhile True:\n    print('x' * 4000, flush=True); time.sleep(0.01)")
    running = start(service("web", ends), {"name": "talks", "command": talks})
    pid = running.pid_of("web")
    assert running.process.stdout is not None
    running.process.stdout.close()
    time.sleep(0.5)
    assert running.process.poll() is None
    running.process.terminate()
    assert running.process.wait(timeout=60) == 0
    assert ends.read_text().split() == ["web"]
    assert not alive(pid)
