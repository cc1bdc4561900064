"""Starts `joulebook` commands from a process that has the libraries loaded, which takes most of a command's time.

`serve` loads other projects' modules and the definitions of the commands, nothing of the web, and forks a
process for each command. `launch` stands for the command towards the test: it hands over its arguments, environment, folder and streams, and ends
as the command ends. A command so started is a process of its own like any other, but for what
`/proc/<pid>/cmdline` and `environ` show.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

_LOADED = (
    "argon2", "django.contrib.auth.hashers", "django.core.mail", "django.core.management", "django.core.serializers",
    "django.db.backends.sqlite3.base", "django.db.models", "django.forms", "django.http", "django.template",
    "django.test.signals", "django.urls", "django.utils.log", "django_stubs_ext", "httpx", "msgspec", "numpy",
    "polars", "psycopg", "psycopg.types.json", "pydantic", "pydantic.types", "python_calamine", "rich.console",
    "rich.live", "rich.progress", "rich.table", "typer", "zstandard",
    # The commands themselves: like all modules of Joulebook they read no environment before they are asked to.
    "joulebook.cli.main",
)  # fmt: skip


def launch(address: str, words: list[str]) -> int:
    """Have a command run with this process's environment, folder and streams; return its exit status."""
    import json

    order = json.dumps({"words": words, "folder": os.getcwd(), "environment": dict(os.environ)}).encode()  # noqa: PTH109
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        socket.send_fds(server, [len(order).to_bytes(8, "big")], [0, 1, 2])
        server.sendall(order)
        status = int.from_bytes(server.recv(4), "big", signed=True)
    if status < 0:
        os.kill(os.getpid(), -status)
    return status


def serve(address: str) -> None:
    """Fork a process for each command until standard input ends; return in that process, ready to run it."""
    import importlib
    import select

    for name in _LOADED:
        importlib.import_module(name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            readable, _, _ = select.select([listener, 0], [], [], 1)
            while _reap():
                pass
            if 0 in readable:
                os._exit(0)
            if listener in readable:
                client, _ = listener.accept()
                if os.fork() == 0:
                    break
                client.close()
    _mind(client)


def _reap() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


def _mind(client: socket.socket) -> None:
    """Fork the command and tell the launcher how it ended; kill it where the launcher was killed."""
    import json
    import select
    import signal

    head, streams, _, _ = socket.recv_fds(client, 8, 3)
    size, order = int.from_bytes(head, "big"), b""
    while len(order) < size:
        order += client.recv(1 << 20)
    command = os.fork()
    if command == 0:
        client.close()
        wanted = json.loads(order)
        for target, stream in enumerate(streams):
            os.dup2(stream, target)
            os.close(stream)
        os.chdir(wanted["folder"])
        os.environ.clear()
        os.environ.update(wanted["environment"])
        sys.argv = ["joulebook", *wanted["words"]]
        sys.path[0] = wanted["folder"]
        return
    ended = os.pidfd_open(command)
    for stream in streams:
        os.close(stream)
    readable, _, _ = select.select([ended, client], [], [])
    if client in readable:
        os.kill(command, signal.SIGKILL)
    _, status = os.waitpid(command, 0)
    if client not in readable:
        client.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))
    os._exit(0)


if __name__ == "__main__":
    if sys.argv[1] == "launch":
        sys.exit(launch(sys.argv[2], sys.argv[3:]))
    serve(str(Path(sys.argv[2])))
    import runpy

    runpy.run_module("joulebook", run_name="__main__", alter_sys=True)
