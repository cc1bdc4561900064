"""A client without losses: it keeps packets on disk until ingest has committed them.

It needs httpx and nothing else of Joulebook, so it runs on a gateway, and can be copied:

    with Client("http://127.0.0.1:8001", token, buffer=Path("buffer")) as client:
        client.send({"power": 1240.5})

See docs/how-to/run-an-agent.md.
"""

from joulebook.client.client import Client, Status
from joulebook.client.errors import (
    BufferFull,
    BufferUnusable,
    ClientClosed,
    ClientError,
    UnusablePacket,
)

__all__ = [
    "BufferFull",
    "BufferUnusable",
    "Client",
    "ClientClosed",
    "ClientError",
    "Status",
    "UnusablePacket",
]
