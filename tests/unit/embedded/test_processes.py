"""Telling the server's own processes from strangers, which is what decides who is signalled."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from joulebook.embedded.errors import EmbeddedError
from joulebook.embedded.layout import Layout
from joulebook.embedded.locks import held
from joulebook.embedded.processes import (
    clear_remains,
    find_postmaster,
    is_ready,
    is_stopping,
    running_port,
    server_processes,
)

Run = Callable[..., int]


@pytest.fixture
def run() -> Iterator[Run]:
    """Return a function that starts a harmless process with a command line of our choice and tells its id."""
    children = []

    def start(program: str, *words: str) -> int:
        command = [program, "-c", "read line", *words]
        child = subprocess.Popen(command, executable="/bin/sh", stdin=subprocess.PIPE)
        children.append(child)
        while not Path(f"/proc/{child.pid}/cmdline").read_bytes():
            time.sleep(0.001)  # the kernel fills it in an instant after the program was started
        return child.pid

    yield start
    for child in children:
        child.kill()
        child.communicate()


def note(layout: Layout, pid: int, *, status: str = "ready") -> Path:
    """Write the server's note, as PostgreSQL lays it out."""
    layout.data.mkdir(exist_ok=True)
    path = layout.data / "postmaster.pid"
    path.write_text(f"{pid}\n{layout.data}\n1700000000\n5432\n/run\n\n  123 456\n{status:<8}\n")
    return path


def test_the_noted_process_is_the_postmaster_if_it_was_started_for_the_folder(
    layout: Layout, run: Run
) -> None:
    pid = run("sh", "/usr/lib/postgres", "-D", str(layout.data))
    note(layout, pid)
    with held(layout.server_lock):
        assert find_postmaster(layout) == pid


def test_a_noted_process_that_is_a_stranger_is_not_the_postmaster(layout: Layout, run: Run) -> None:
    note(layout, run("sh", "unrelated"))
    assert find_postmaster(layout) is None


def test_the_postmaster_of_another_folder_is_a_stranger(layout: Layout, run: Run) -> None:
    note(layout, run("sh", "/usr/lib/postgres", "-D", f"{layout.data}-other"))
    assert find_postmaster(layout) is None


def test_a_server_that_has_not_written_its_note_yet_is_found(layout: Layout, run: Run) -> None:
    pid = run("setpriv", "/usr/lib/postgres", "-D", str(layout.data))
    with held(layout.server_lock):
        assert find_postmaster(layout) == pid


def test_a_server_that_somebody_else_started_is_refused_by_name(layout: Layout, run: Run) -> None:
    pid = run("sh", "/usr/lib/postgres", "-D", str(layout.data))
    with pytest.raises(EmbeddedError, match=f"process {pid} .* was not started by Joulebook"):
        find_postmaster(layout)


@pytest.mark.parametrize(
    "words",
    [
        ("sh", "unrelated"),
        ("postgres: joulebook_0123456789abcdef: checkpointer ",),
        ("postgres: 17/main: checkpointer ",),
        ("/usr/bin/postgres", "-D", "/somewhere/else"),
    ],
    ids=["no database", "another home's child", "a child of somebody's server", "somebody's server"],
)
def test_a_stale_note_with_a_strangers_number_is_removed(
    layout: Layout, run: Run, words: tuple[str, ...]
) -> None:
    path = note(layout, run(*words))
    clear_remains(layout, layout.root)
    assert not path.exists()


@pytest.mark.parametrize(
    "words",
    [("/usr/bin/postgres", "-D", "data"), ("postgres",)],
    ids=["relative folder", "no folder"],
)
def test_a_stale_note_is_kept_where_its_process_may_be_a_server_on_the_folder(
    layout: Layout, run: Run, words: tuple[str, ...]
) -> None:
    path = note(layout, run(*words))
    with pytest.raises(EmbeddedError, match=r"may be a PostgreSQL that works on .*postmaster\.pid"):
        clear_remains(layout, layout.root)
    assert path.exists()


def test_a_stale_note_of_a_dead_process_is_left_for_postgresql_to_judge(layout: Layout) -> None:
    dead = subprocess.Popen(["true"])
    dead.wait()
    path = note(layout, dead.pid)
    clear_remains(layout, layout.root)
    assert path.exists()


def test_stale_sockets_are_removed(layout: Layout) -> None:
    (layout.root / ".s.PGSQL.5432").touch()
    (layout.root / ".s.PGSQL.5432.lock").write_text("1\n")
    clear_remains(layout, layout.root)
    assert not list(layout.root.glob(".s.PGSQL*"))


def test_children_are_known_by_the_clusters_name(layout: Layout, run: Run) -> None:
    ours = run(f"postgres: {layout.cluster_name}: checkpointer ")
    run("postgres: joulebook_0123456789abcdef: checkpointer ")
    assert server_processes(layout) == [ours]


def test_the_note_tells_what_the_server_does(layout: Layout) -> None:
    assert not is_ready(layout)
    note(layout, 1, status="ready")
    assert is_ready(layout)
    note(layout, 1, status="stopping")
    assert is_stopping(layout)
    assert not is_ready(layout)


@pytest.mark.parametrize("content", ["", "nonsense", "12\n", "\n\n\n\n"])
def test_a_torn_note_is_no_server(layout: Layout, content: str) -> None:
    layout.data.mkdir()
    (layout.data / "postmaster.pid").write_text(content)
    assert find_postmaster(layout) is None
    assert not is_ready(layout)
    assert running_port(layout) is None


def test_a_port_is_told_only_of_a_server_that_lives(layout: Layout) -> None:
    note(layout, 1)
    assert running_port(layout) is None
    with held(layout.server_lock):
        assert running_port(layout) == 5432
