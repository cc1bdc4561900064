"""A server in this process for an ASGI application of a test's own."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from joulebook.serving.server import Server, Unavailable

UNAVAILABLE = Unavailable("text/plain", lambda reason: reason.encode(), Counter())


@contextmanager
def running(server: Server) -> Iterator[int]:
    """Run a server in a thread; give its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()
