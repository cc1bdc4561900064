"""The web behind a proxy: whom it believes, under which addresses it answers, and what a refusal says."""

from __future__ import annotations

import dataclasses
import logging
import os
import re
import subprocess
import sys

import httpx
import pytest
from django.test import Client

from joulebook.config import Config
from joulebook.web.proxy import ProxyMiddleware

from ...conftest import REPOSITORY, Service, free_port

PASSWORD = "a long enough pass phrase"
PUBLIC = "https://energy.example:8443"
BEHIND_TLS = {"Host": "energy.example", "X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.1"}
"""What a proxy passes on that drops the port, as nginx does with `$host`."""


@pytest.fixture
def configured(settings):
    """Have the middleware find the settings of an environment."""

    def configure(**variables: str) -> None:
        found = Config.from_environ({f"JOULEBOOK_{name}": value for name, value in variables.items()})
        settings.CONFIG = dataclasses.replace(
            settings.CONFIG,
            web_url=found.web_url,
            secure=found.secure,
            trusted_proxies=found.trusted_proxies,
            names_proxies=found.names_proxies,
        )

    return configure


@pytest.fixture
def seen(rf):
    """Return what later middlewares see of a request: the client's address, whether it is over TLS, its host."""

    def ask(peer: str, **headers: str) -> tuple[str, bool, str]:
        found = []

        def note(request):
            found.append((request.META["REMOTE_ADDR"], request.is_secure(), request.get_host()))

        meta = {f"HTTP_{name}": value for name, value in headers.items()}
        ProxyMiddleware(note)(rf.get("/", REMOTE_ADDR=peer, **meta))
        return found[0]

    return ask


FORWARDED = {
    "X_FORWARDED_FOR": "1.1.1.1, 198.51.100.1",
    "X_FORWARDED_PROTO": "https",
    "X_FORWARDED_HOST": "localhost",
    "HOST": "127.0.0.1:8000",
}
NOT_BELIEVED = ("203.0.113.5", False, "127.0.0.1:8000")
BELIEVED = ("198.51.100.1", True, "localhost")


@pytest.mark.parametrize(
    ("variables", "peer", "expected"),
    [
        ({}, "127.0.0.1", ("127.0.0.1", False, "127.0.0.1:8000")),
        ({"TRUSTED_PROXIES": "10.0.0.0/8"}, "203.0.113.5", NOT_BELIEVED),
        ({"TRUSTED_PROXIES": "10.0.0.0/8", "SECURE": "1"}, "203.0.113.5", NOT_BELIEVED),
        (
            {"TRUSTED_PROXIES": "10.0.0.0/8", "SECURE": "1"},
            "127.0.0.1",
            ("127.0.0.1", False, "127.0.0.1:8000"),
        ),
        ({"TRUSTED_PROXIES": "10.0.0.0/8"}, "10.1.2.3", BELIEVED),
        ({"SECURE": "1"}, "127.0.0.1", BELIEVED),
        ({"WEB_URL": "https://energy.example"}, "::1", BELIEVED),
        ({"WEB_URL": "https://energy.example"}, "203.0.113.5", NOT_BELIEVED),
        ({"SECURE": "1"}, "172.17.0.1", ("172.17.0.1", True, "127.0.0.1:8000")),
    ],
)
def test_forwarded_headers_are_believed_of_trusted_proxies_only(configured, seen, variables, peer, expected):
    """With TLS and no proxy named, anybody may say that it is used: so it worked before proxies could be named."""
    configured(**variables)
    assert seen(peer, **FORWARDED) == expected


def test_a_proxy_that_is_not_named_is_told_to_the_log_once(configured, seen, caplog):
    configured(SECURE="1")
    middleware = ProxyMiddleware(lambda _: None)
    from django.test import RequestFactory

    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            middleware(
                RequestFactory().get("/", REMOTE_ADDR="172.17.0.1", HTTP_X_FORWARDED_FOR="198.51.100.1")
            )
    assert len(caplog.messages) == 1
    assert "172.17.0.1 sends X-Forwarded-For" in caplog.text
    assert "JOULEBOOK_TRUSTED_PROXIES" in caplog.text


def through(proxy: Service, *, address: str = "127.0.0.2", **headers: str) -> httpx.Client:
    """Return a browser whose requests a proxy passes on from its own address."""
    return httpx.Client(
        base_url=proxy.url,
        transport=httpx.HTTPTransport(local_address=address),
        headers={**BEHIND_TLS, **headers},
        timeout=60,
    )


@pytest.fixture(scope="module")
def behind_proxy(telemetry):
    """The web behind a proxy on 127.0.0.2 that offers it over TLS on another port."""
    service = Service(
        "web",
        free_port(),
        {
            "JOULEBOOK_WEB_URL": PUBLIC,
            "JOULEBOOK_SECURE": "1",
            "JOULEBOOK_TRUSTED_PROXIES": "127.0.0.2",
            "JOULEBOOK_INGEST_HOST": "0.0.0.0",  # noqa: S104 - not listened on
        },
    )
    service.start(path="/readyz")
    yield service
    service.stop()


def token_of(page: httpx.Response) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


def sign_in(browser: httpx.Client, *, origin: str, name: str = "alice") -> httpx.Response:
    """Send the form, with cookies as a browser would: httpx would keep those for TLS to itself."""
    page = browser.get("/sign-in/")
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies.jar)
    form = {"username": name, "password": PASSWORD, "csrfmiddlewaretoken": token_of(page)}
    return browser.post("/sign-in/", data=form, headers={"Origin": origin, "Cookie": cookies})


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
@pytest.mark.parametrize("host", ["10.1.2.3:8000", "web", "evil.example", "energy.example"])
def test_probes_are_answered_over_plain_http_and_for_any_host(behind_proxy, path, host):
    assert httpx.get(behind_proxy.url + path, headers={"Host": host}).status_code == 200


def test_plain_requests_are_sent_to_the_public_address(behind_proxy):
    answer = httpx.get(f"{behind_proxy.url}/profile/?x=1", headers={"Host": "energy.example"})
    assert (answer.status_code, answer.headers["Location"]) == (301, f"{PUBLIC}/profile/?x=1")
    assert "no-store" in answer.headers["Cache-Control"]


def test_a_stranger_who_claims_to_be_the_proxy_is_not_believed(behind_proxy):
    with through(behind_proxy, address="127.0.0.3") as stranger:
        assert stranger.get("/sign-in/").status_code == 301


def test_signing_in_works_though_the_host_comes_without_its_port(behind_proxy, transactional_db, alice):
    with through(behind_proxy) as browser:
        answer = sign_in(browser, origin=PUBLIC)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/"), answer.text
    cookies = answer.headers.get_list("Set-Cookie")
    assert len(cookies) == 3
    for cookie in cookies:
        assert "Secure" in cookie
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie


def test_a_form_of_another_origin_is_refused_with_the_cause_and_the_remedy(
    behind_proxy, transactional_db, alice
):
    for origin in ("https://energy.example:9000", "https://evil.example", "null"):
        with through(behind_proxy) as browser:
            answer = sign_in(browser, origin=origin)
        assert answer.status_code == 403
        text = re.sub(r"\s+", " ", answer.text)
        assert f"sent by a page of {origin}, and Joulebook is reached as {PUBLIC}" in text
        assert "JOULEBOOK_WEB_URL" in text
        assert "cookies" not in text


def test_pages_name_the_public_host_in_commands_and_policy(
    behind_proxy, transactional_db, alice, device, client_of
):
    key = client_of(alice).session.session_key
    with through(
        behind_proxy, Cookie=f"joulebook_session_{behind_proxy.url.rpartition(':')[2]}={key}"
    ) as browser:
        page = browser.get(f"/devices/{device.device_id}/")
        api = browser.patch(
            f"/api/devices/{device.device_id}/metrics/x", json={}, headers={"Origin": "https://evil.example"}
        )
    port = behind_proxy.environment["JOULEBOOK_INGEST_PORT"]
    assert page.status_code == 200
    assert f"https://energy.example:{port}/api/readings" in page.text
    assert f"https://energy.example:{port}" in page.headers["Content-Security-Policy"]
    assert api.status_code == 403
    assert "sent by a page of https://evil.example" in api.json()["detail"]


def test_the_live_feed_is_opened_for_the_public_origin(configured, device, alice, client_of, settings):
    """The browser's own origin has the port that the proxy has dropped."""
    from joulebook.live_ticket import open_ticket

    configured(WEB_URL=PUBLIC)
    settings.ALLOWED_HOSTS = ["energy.example", "localhost"]

    def origin_of_ticket(**headers: str) -> str:
        answer = client_of(alice).post(f"/api/live-ticket/{device.device_id}", headers=headers).json()
        ticket = answer["url"].rpartition("ticket=")[2]
        return open_ticket(settings.SECRET_KEY, device.device_id, ticket, now=0).origin

    assert origin_of_ticket(Host="energy.example", Origin=PUBLIC) == PUBLIC
    assert origin_of_ticket(Host="energy.example") == PUBLIC
    assert origin_of_ticket(Host="localhost:8000") == "http://localhost:8000"
    assert origin_of_ticket(Host="localhost:8000", Origin=PUBLIC) == PUBLIC
    assert origin_of_ticket(Host="localhost:8000", Origin="https://evil.example") == "http://localhost:8000"


def test_requests_for_foreign_hosts_are_told_in_one_line(behind_proxy):
    with httpx.Client(base_url=behind_proxy.url, timeout=60) as stranger:
        before = len(behind_proxy.log.read_text())
        for number in range(300):
            answer = stranger.get("/", headers={"Host": f"evil{number}.example"})
            assert answer.status_code == 400
            assert answer.headers["Content-Type"].startswith("text/plain")
            assert "JOULEBOOK_ALLOWED_HOSTS" in answer.text
    written = behind_proxy.log.read_text()[before:]
    assert len(written.splitlines()) <= 300 // 60
    assert "evil0.example" in behind_proxy.log.read_text()
    assert "Traceback" not in written


def test_each_line_on_foreign_hosts_counts_those_since_the_one_before(rf, caplog, monkeypatch):
    now = 1000.0
    monkeypatch.setattr("joulebook.web.proxy.time.monotonic", lambda: now)
    middleware = ProxyMiddleware(lambda _: None)
    for _ in range(10_000):
        assert middleware(rf.get("/", HTTP_HOST="evil.example")).status_code == 400
    now += 61
    middleware(rf.get("/", HTTP_HOST="last\nERROR forged.example"))
    assert len(caplog.messages) == 2
    assert caplog.messages[0].startswith("1 request(s)")
    assert caplog.messages[1].startswith("10000 request(s)")
    assert "\n" not in caplog.messages[1]


def test_a_wrong_or_missing_token_is_still_told_as_what_it_is(alice):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    same = client.post(
        "/profile/", {"theme": "dark"}, headers={"Origin": "http://testserver"}, HTTP_HOST="localhost"
    )
    assert "sent by a page of http://testserver" in same.content.decode()
    same = client.post(
        "/profile/", {"theme": "dark"}, headers={"Origin": "http://localhost"}, HTTP_HOST="localhost"
    )
    assert "no longer valid" in same.content.decode()


def test_the_settings_behind_tls_pass_djangos_own_check():
    # Set for browser tests of the same session, and refused in production.
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_ALLOW_ASYNC_UNSAFE"}
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=REPOSITORY,
        env={**environment, "JOULEBOOK_SECURE": "1", "JOULEBOOK_WEB_URL": PUBLIC},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout
