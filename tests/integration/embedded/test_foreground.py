"""A server that is a supervisor's child, and dies with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase, UnableToStart
from joulebook.embedded.layout import Layout

from .servers import environment, gone, kept, write

# Starts the database as a child, tells its process id and waits for ever.
SUPERVISOR = """\
import time
from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase
database = EmbeddedDatabase(Config.from_environ())
child = database.foreground()
database.wait_until_ready()
print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_child_is_ours_until_we_stop_it(database: EmbeddedDatabase, layout: Layout) -> None:
    with database.foreground() as child:
        database.wait_until_ready()
        assert database.pid() == child.pid
        assert os.getpgid(child.pid) == child.pid != os.getpgid(0)
        with pytest.raises(UnableToStart, match=f"runs already as process {child.pid}"):
            database.foreground()
        child.send_signal(signal.SIGINT)
        assert child.wait(20) == 0
    assert gone(layout, within=0)


def test_a_child_dies_with_a_supervisor_that_is_killed(config: Config, layout: Layout) -> None:
    database = EmbeddedDatabase(config)
    with supervise(config) as supervisor:
        assert supervisor.stdout is not None
        assert int(supervisor.stdout.readline()) == database.pid()
        write(database, value=7)
        supervisor.kill()
        supervisor.wait()
        # The next supervisor comes at once: it waits for the old server's end and starts its own.
        with database.foreground() as child:
            database.wait_until_ready()
            assert kept(database) == [7]
            database.stop()
            child.wait(20)
    assert gone(layout, within=0)


def test_a_supervisor_that_is_killed_leaves_no_process(config: Config, layout: Layout) -> None:
    with supervise(config) as supervisor:
        assert supervisor.stdout is not None
        supervisor.stdout.readline()
        supervisor.kill()
        assert gone(layout, within=20)


def supervise(config: Config) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR], stdout=subprocess.PIPE, text=True, env=environment(config)
    )
