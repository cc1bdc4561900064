"""Runs Joulebook behind nginx or Caddy with the sample of `deploy/`, and uses it as people and devices do.

A program of its own, since it runs where all ports are free: in a network namespace of which this
process and its children are the only users. `python -m tests.integration.deploy.behind_proxy nginx FOLDER`
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect

DEPLOY = Path(__file__).parents[3] / "deploy"
NAME = "energy.example"
URL = f"https://{NAME}:8443"
PASSWORD = "a long enough pass phrase"
UPLOAD_BYTES = 100 * 1024 * 1024
NGINX = """\
user www-data;
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections 768; }}
http {{ access_log off; include {sample}; }}
"""
FOUND_BY = {"JOULEBOOK_CACHE", "JOULEBOOK_POSTGRES_BIN"}
"""Where the database's programs are found; the rest of the environment is the samples'."""
SETTINGS = {
    "JOULEBOOK_SECURE": "1",
    "JOULEBOOK_ALLOWED_HOSTS": NAME,
    "JOULEBOOK_WEB_URL": URL,
    "JOULEBOOK_INGEST_URL": f"{URL}/ingest",
}


def main(proxy: str, folder: Path) -> None:
    """Start everything, make every check, and stop everything."""
    make_certificate(folder / "tls")
    resolve_name()
    # The ports are the usual ones, as in the samples, and not those of the tests that start this program.
    kept = {n: v for n, v in os.environ.items() if not n.startswith("JOULEBOOK_") or n in FOUND_BY}
    environment = {**kept, **SETTINGS, "JOULEBOOK_HOME": str(folder / "home")}
    with running([sys.executable, "-m", "joulebook", "up"], environment, folder / "joulebook.log") as wait:
        wait("Joulebook is ready")
        place = Place(environment, folder)
        command, settings = proxy_command(proxy, folder)
        with running(command, {**os.environ, **settings}, folder / "proxy.log"):
            place.wait_until_answered()
            for check in CHECKS:
                began = time.monotonic()
                check(place)
                say(f"{proxy}: {check.__name__.replace('_', ' ')}: {time.monotonic() - began:.1f} s")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def make_certificate(folder: Path) -> None:
    """Make a key and a certificate that is its own authority."""
    folder.mkdir()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}",
         "-addext", f"subjectAltName=DNS:{NAME}", "-keyout", folder / "joulebook.key", "-out", folder / "joulebook.crt"],
        check=True, capture_output=True,
    )  # fmt: skip


def resolve_name() -> None:
    """Have this process find the sample's name on this machine."""
    resolve = socket.getaddrinfo

    def resolve_here(host: Any, *rest: Any, **more: Any) -> Any:
        return resolve("127.0.0.1" if host in {NAME, NAME.encode()} else host, *rest, **more)

    socket.getaddrinfo = resolve_here


def proxy_command(proxy: str, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return what starts the proxy with Joulebook's sample, and the environment that the sample asks for."""
    if proxy == "nginx":
        sample = DEPLOY / "nginx" / "joulebook.conf"
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, sample=sample))
        return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"], {}
    tls = folder / "tls"
    return ["caddy", "run", "--config", str(DEPLOY / "caddy" / "Caddyfile"), "--adapter", "caddyfile"], {
        "JOULEBOOK_TLS_CERTIFICATE": str(tls / "joulebook.crt"),
        "JOULEBOOK_TLS_KEY": str(tls / "joulebook.key"),
        "XDG_DATA_HOME": str(folder / "caddy"),
        "XDG_CONFIG_HOME": str(folder / "caddy"),
    }


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[Callable[[str], None]]:
    """Run a program while the block runs; give what waits for a text in its output."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        )

    def wait(text: str) -> None:
        until = time.monotonic() + 300
        while text not in log.read_text():
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < until, log.read_text()[-3000:]
            time.sleep(0.1)

    try:
        yield wait
    except BaseException:
        say(f"--- {log.name}\n{log.read_text()[-3000:]}")
        raise
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Place:
    """A user with a device, as they reach Joulebook through the proxy."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        def joulebook(*words: str, stdin: str = "") -> str:
            done = subprocess.run(
                [sys.executable, "-m", "joulebook", *words],
                env=environment, input=stdin, capture_output=True, text=True, check=False, timeout=120,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            return done.stdout.strip()

        self.rows = 0
        """How many rows the uploaded file has."""
        joulebook("user", "add", "alice", "--password-stdin", stdin=f"{PASSWORD}\n")
        self.device_token = joulebook("device", "add", "meter", "--owner", "alice")
        self.user_token = joulebook("user", "token", "alice")
        self.trust = ssl.create_default_context(cafile=str(folder / "tls" / "joulebook.crt"))
        self.browser = self.client()
        self.script = self.client(Authorization=f"Bearer {self.user_token}")
        self.device = self.client(Authorization=f"Bearer {self.device_token}")

    def client(self, **headers: str) -> httpx.Client:
        """Return a client that trusts the certificate and keeps cookies."""
        return httpx.Client(
            base_url=URL, verify=self.trust, timeout=120, headers=headers, follow_redirects=True
        )

    def wait_until_answered(self) -> None:
        """Return when the proxy passes requests on to both services."""
        until = time.monotonic() + 120
        while True:
            try:
                answers = [self.browser.get(path) for path in ("/readyz", "/ingest/readyz")]
            except httpx.TransportError as exc:
                last: object = exc
            else:
                last = [(answer.status_code, answer.text[:300]) for answer in answers]
                if all(answer.status_code == 200 for answer in answers):
                    return
            assert time.monotonic() < until, last
            time.sleep(0.2)

    def send(self, value: float, *, at: str | None = None) -> dict[str, Any]:
        """Send a reading as the device does."""
        packet = {"power": value, **({"timestamp": at} if at else {})}
        answer = self.device.post("/ingest/api/readings", json=packet)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


def signs_in(place: Place) -> None:
    """A person signs in, is led to the public address, and gets cookies for HTTPS alone."""
    form = place.browser.get("/")
    assert form.status_code == 200, form.text[:500]
    assert str(form.url).startswith(f"{URL}/sign-in/"), form.url
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)
    assert token
    page = place.browser.post(
        "/sign-in/",
        data={"username": "alice", "password": PASSWORD, "csrfmiddlewaretoken": token[1]},
        headers={"Origin": URL, "Referer": f"{URL}/sign-in/"},
    )
    assert page.status_code == 200, page.text[:500]
    assert str(page.url) == f"{URL}/", page.url
    assert "alice" in page.text
    assert all(cookie.secure for cookie in place.browser.cookies.jar)
    assert place.browser.get("/static/vendor/uPlot.esm.js").status_code == 200
    device = place.browser.get("/devices/meter/")
    assert device.status_code == 200
    policy = device.headers["Content-Security-Policy"]
    assert re.search(rf"connect-src [^;]*{re.escape(URL)}", policy), policy
    assert "Strict-Transport-Security" in device.headers


def stores_readings(place: Place) -> None:
    """A device sends over HTTPS; its token is refused nowhere on the way."""
    assert place.send(1.5) == {"accepted": 1, "duplicate": 0, "rejected": [], "ignored": []}
    assert place.client().post("/ingest/api/readings", json={"power": 1}).status_code == 401


def streams_readings_live(place: Place) -> None:
    """A page gets each reading while its stream is open, not when it ends."""
    ticket = place.browser.post("/api/live-ticket/meter", headers={"Origin": URL, "Referer": f"{URL}/"})
    assert ticket.status_code == 200, ticket.text
    address = ticket.json()["url"]
    assert address.startswith(f"{URL}/ingest/live/meter?"), address
    value = 4711.25
    stop = threading.Event()

    def go_on_sending() -> None:
        while not stop.wait(0.5):
            place.send(value)

    sender = threading.Thread(target=go_on_sending)
    began = time.monotonic()
    with place.browser.stream("GET", address, headers={"Origin": URL}) as stream:
        assert stream.status_code == 200, stream.read()
        assert stream.headers["Access-Control-Allow-Origin"] == URL
        sender.start()
        try:
            for line in stream.iter_lines():
                if str(value) in line:
                    break
            else:
                raise AssertionError("the stream ended without the reading")
        finally:
            stop.set()
            sender.join()
    assert time.monotonic() - began < 30, "a stream lasts a minute: this one was held back until its end"


def keeps_a_websocket_open(place: Place) -> None:
    """A device sends over a WebSocket, also after a while of silence."""
    headers = {"Authorization": f"Bearer {place.device_token}"}
    with connect(
        f"{URL.replace('https', 'wss')}/ingest/ws/device/meter",
        additional_headers=headers, ssl=place.trust, open_timeout=60, compression=None,
    ) as websocket:  # fmt: skip
        for number in (1, 2):
            websocket.send(json.dumps({"voltage": 230.0 + number}))
            answer = json.loads(websocket.recv(timeout=60))
            assert (answer["seq"], answer["accepted"]) == (number, 1), answer


def uploads_100_megabytes(place: Place) -> None:
    """A script uploads a large file, which the proxy passes on as it comes; the worker stores it."""
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    note = "x" * 1000

    def lines() -> Iterator[bytes]:
        yield b"time,power,note\n"
        size = number = 0
        while size < UPLOAD_BYTES:
            block = "".join(
                f"{begin + timedelta(seconds=second):%Y-%m-%dT%H:%M:%SZ},{second},{note}\n"
                for second in range(number, number + 1000)
            ).encode()
            number += 1000
            size += len(block)
            yield block
        place.rows = number

    answer = place.script.post(
        "/api/imports", params={"device": "meter", "name": "large.csv", "map": "note="}, content=lines()
    )
    assert answer.status_code == 202, answer.text
    number = answer.json()["id"]
    until = time.monotonic() + 600
    while (found := place.script.get(f"/api/imports/{number}").json())["state"] in {"queued", "running"}:
        assert time.monotonic() < until, found
        time.sleep(0.5)
    assert found["state"] == "done", found
    assert found["file"]["size"] > UPLOAD_BYTES
    assert found["counts"]["cells_stored"] == place.rows, found["counts"]


def exports_it_all(place: Place) -> None:
    """Every row of the file comes out again."""
    parameters = {"start": "2026-01-01T00:00:00Z", "end": "2026-01-31T00:00:00Z", "metric": "power"}
    with place.script.stream("GET", "/api/export/meter", params=parameters) as answer:
        assert answer.status_code == 200, answer.read()
        assert "attachment" in answer.headers["Content-Disposition"]
        rows = sum(1 for _ in answer.iter_lines()) - 1
    assert rows == place.rows, rows


def describes_itself(place: Place) -> None:
    """The pages of both APIs find their description and scripts, also below a prefix."""
    for path in ("/api/docs", "/ingest/docs"):
        page = place.browser.get(path)
        named = re.findall(r"""["']([^"'\s]*(?:openapi\.json|\.js|\.css))["']""", page.text)
        assert any(name.endswith(".json") for name in named), page.text[:2000]
        assert any(name.endswith(".js") for name in named), page.text[:2000]
        for name in named:
            answer = place.browser.get(page.url.join(name))
            assert answer.status_code == 200, f"{path} names {name}"


def keeps_figures_to_itself(place: Place) -> None:
    """What Prometheus reads is not for the world."""
    for path in ("/metrics", "/ingest/metrics"):
        assert place.client().get(path).status_code == 404, path
    assert httpx.get("http://127.0.0.1:8001/metrics").status_code == 200


CHECKS = (
    signs_in,
    stores_readings,
    streams_readings_live,
    keeps_a_websocket_open,
    uploads_100_megabytes,
    exports_it_all,
    describes_itself,
    keeps_figures_to_itself,
)

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
