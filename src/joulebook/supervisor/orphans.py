"""Takes in what children leave behind when they end before their own children, and ends it at last."""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)


def take_in_orphans() -> None:
    """Become the parent of every descendant whose own parent ends; otherwise that is the machine's init."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_orphans() -> None:
    """Kill and reap all children that are left.

    To be called when every child that was started here has been waited for: those that are left were
    taken in. Their own children become ours in turn, until there are none.
    """
    while children := _children():
        for pid in children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in children:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children() -> list[int]:
    """Return this process's children, zombies included; it has one thread, so they are all that thread's."""
    try:
        text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return _children_by_search()
    return [int(word) for word in text.split()]


def _children_by_search() -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rsplit(") ", 1)[1].split()[1])
                found += [int(entry.name)] if parent == os.getpid() else []
    return found
