"""Lowers the priority of the server's processes that answer the web, where the web may not do so itself.

A process may change the priority of its own user's processes alone. Where the web and the server have
different users, the web names its backend here, by a datagram into the folder of the server's socket.
"""

from __future__ import annotations

import os
import socket
import threading
from contextlib import suppress
from pathlib import Path

from joulebook.embedded.errors import EmbeddedError
from joulebook.embedded.layout import Layout
from joulebook.embedded.processes import find_postmaster
from joulebook.priority import REQUESTS, lower_backend, parent_of

_LONGEST = 32


def answer_requests(layout: Layout, sockets: Path) -> None:
    """Answer requests in a thread, as long as this process lives."""
    address = sockets / REQUESTS
    incoming = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        address.unlink(missing_ok=True)
        incoming.bind(str(address))
        address.chmod(0o777)  # the folder decides who reaches it, as it does for the server's socket
    except OSError:
        incoming.close()  # it is a matter of speed alone
        return
    threading.Thread(target=_answer, args=(incoming, layout), name="reader-priority", daemon=True).start()


def _answer(incoming: socket.socket, layout: Layout) -> None:
    while True:
        text = incoming.recv(_LONGEST)
        with suppress(OSError, EmbeddedError):
            if text.isdigit():
                _lower_readers(int(text), layout)


def _lower_readers(backend: int, layout: Layout) -> None:
    """Lower the priority of a backend once; only of one of this server's that acts for the reader."""
    title = f"postgres: {layout.cluster_name}: joulebook_reader ".encode()
    server = find_postmaster(layout)
    if (
        server is not None
        and parent_of(backend) == server
        and Path(f"/proc/{backend}/cmdline").read_bytes().startswith(title)
        and os.getpriority(os.PRIO_PROCESS, backend) <= os.getpriority(os.PRIO_PROCESS, server)
    ):
        lower_backend(backend)
