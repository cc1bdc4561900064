"""Runs a proxy with the sample of `deploy/` before two services that answer with what has reached them.

A program of its own, in a network namespace: `python -m tests.integration.deploy.echo_behind_proxy nginx FOLDER`
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from .behind_proxy import URL, make_certificate, proxy_command, resolve_name, running

SPOOFED = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.example"}


class Echo(BaseHTTPRequestHandler):
    """Answers every GET with its port, path and headers."""

    def do_GET(self) -> None:
        """Answer."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        found = {"port": self.server.server_address[1], "path": self.path, "headers": headers}
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def main(proxy: str, folder: Path) -> None:
    """Ask for some paths through the proxy, and compare what has reached the services."""
    make_certificate(folder / "tls")
    resolve_name()
    for port in (8000, 8001):
        server = ThreadingHTTPServer(("127.0.0.1", port), Echo)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    command, settings = proxy_command(proxy, folder)
    with running(command, {**os.environ, **settings}, folder / "proxy.log"):
        client = httpx.Client(base_url=URL, verify=str(folder / "tls" / "joulebook.crt"), timeout=60)
        wait_until_answered(client)
        check(client)
    sys.stdout.write("all as it should be\n")


def wait_until_answered(client: httpx.Client) -> None:
    until = time.monotonic() + 120
    while True:
        try:
            client.get("/")
        except httpx.TransportError:
            assert time.monotonic() < until
            time.sleep(0.1)
        else:
            return


def check(client: httpx.Client) -> None:
    page = client.get("/devices/?range=1h", headers=SPOOFED).json()
    assert (page["port"], page["path"]) == (8000, "/devices/?range=1h")
    ingest = client.get("/ingest/live/meter?ticket=a%2Fb", headers=SPOOFED).json()
    assert (ingest["port"], ingest["path"]) == (8001, "/live/meter?ticket=a%2Fb")
    for found in (page["headers"], ingest["headers"]):
        assert found["host"] == URL.removeprefix("https://")
        assert found["x-forwarded-proto"] == "https"
        # What a client claims about itself is gone.
        assert found["x-forwarded-for"] == "127.0.0.1"
        assert found["x-forwarded-host"] == URL.removeprefix("https://")
    assert ingest["headers"]["x-forwarded-prefix"] == "/ingest"
    upgrade = client.get(
        "/ingest/ws/device/meter", headers={"Connection": "Upgrade", "Upgrade": "websocket"}
    ).json()
    assert upgrade["headers"]["upgrade"] == "websocket"
    assert upgrade["headers"]["connection"].lower() == "upgrade"
    for path in ("/metrics", "/ingest/metrics"):
        assert client.get(path).status_code == 404, path


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
