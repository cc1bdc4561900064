"""`/live/{device_id}`: the web's tickets, and committed readings as server-sent events over real HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from joulebook.live_ticket import issue_ticket

from ...conftest import Service, free_port

Stream = Iterator[dict[str, list[list[float]]]]
ORIGIN = "http://testserver"


def iso(seconds_ago: float = 0) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds_ago)).isoformat()


@pytest.fixture
def ask_ticket(client_of) -> Callable[..., httpx.Response]:
    """Ask the web for a ticket as a user."""
    return lambda user, device_id: client_of(user).post(f"/api/live-ticket/{device_id}")


@pytest.fixture
def post(ingest: Service, device_token: str) -> Callable[..., None]:
    """Send a packet as Alice's device."""

    def send(packet: dict[str, object], *, to: Service = ingest, query: str = "") -> None:
        headers = {"Authorization": f"Bearer {device_token}"}
        answer = httpx.post(f"{to.url}/api/readings{query}", json=packet, headers=headers)
        assert answer.status_code == 200, answer.text

    return send


@pytest.fixture
def watch(ask_ticket, alice, device) -> Iterator[Callable[..., Stream]]:
    """Open a stream of Alice's device; gives the readings of each event once the first look was had."""
    with ExitStack() as opened:
        http = opened.enter_context(httpx.Client(timeout=20))

        def open_stream(service: Service | None = None) -> Stream:
            url = ask_ticket(alice, device.device_id).json()["url"]
            if service is not None:
                url = service.url + url[url.index("/live/") :]
            response = opened.enter_context(http.stream("GET", url))
            assert response.status_code == 200, response.read()
            assert response.headers["Content-Type"].startswith("text/event-stream")
            assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
            lines = response.iter_lines()
            assert next(lines) == ": open"
            time.sleep(0.6)
            return events(lines)

        yield open_stream


def events(lines: Iterator[str]) -> Stream:
    """Give the readings of each event until the stream ends."""
    for line in lines:
        if line.startswith("data: ") and "readings" in line:
            yield json.loads(line.removeprefix("data: "))["readings"]


def test_the_owner_and_those_shared_with_get_a_ticket_and_nobody_else(
    ask_ticket, device, alice, bob, charlie, client, ingest
):
    for user in (alice, bob):
        answer = ask_ticket(user, device.device_id)
        assert answer.status_code == 200
        assert answer.json()["url"].startswith(f"{ingest.url}/live/{device.device_id}?ticket=")
        left = datetime.fromisoformat(answer.json()["expires_at"]) - datetime.now(UTC)
        assert timedelta(0) < left < timedelta(minutes=1)
    refused = ask_ticket(charlie, device.device_id)
    nobodys = ask_ticket(charlie, "no_such_device")
    assert (refused.status_code, refused.content) == (403, nobodys.content)
    assert client.post(f"/api/live-ticket/{device.device_id}").status_code == 401
    assert client.get(f"/api/live-ticket/{device.device_id}").status_code in {401, 405}


def test_a_device_that_was_handed_over_gives_its_former_owner_no_ticket(ask_ticket, device, alice, charlie):
    device.owner = charlie
    device.save()
    assert ask_ticket(alice, device.device_id).status_code == 403


def test_text_reaches_the_viewer_as_text(watch, post):
    post({"timestamp": iso(5), "mode": "AUTO"})
    stream = watch()
    stamp = datetime.now(UTC)
    post({"timestamp": stamp.isoformat(), "mode": "ECO", "flags": ["B", "A"], "power": 1})
    readings = next(stream)
    assert readings["mode"] == [[pytest.approx(stamp.timestamp(), abs=1e-6), "ECO"]]
    assert readings["flags"][0][1] == '["A","B"]'
    assert readings["power"][0][1] == 1


def test_a_committed_reading_reaches_the_viewer_in_less_than_a_second(watch, post):
    post({"timestamp": iso(5), "power": 1})
    stream = watch()
    delays = []
    for number in range(10):
        stamp = datetime.now(UTC)
        began = time.monotonic()
        post({"timestamp": stamp.isoformat(), "power": number, "battery": {"voltage": 53.5}})
        readings = next(stream)
        delays.append(time.monotonic() - began)
        assert readings["power"] == [[pytest.approx(stamp.timestamp(), abs=1e-6), number]]
        assert readings["battery.voltage"][0][1] == 53.5
    assert sorted(delays)[5] < 1, delays


def test_what_another_ingest_process_commits_is_seen_too(watch, post, telemetry):
    other = Service("ingest", free_port())
    other.start(path="/readyz")
    try:
        stream = watch()
        delays = []
        for number in range(5):
            post({"timestamp": iso(), "power": number}, to=other)
            began = time.monotonic()
            assert next(stream)["power"][0][1] == number
            delays.append(time.monotonic() - began)
        assert sorted(delays)[2] < 1, delays
    finally:
        other.stop()


def test_late_backlogged_replaced_and_future_readings_are_seen_once_each(watch, post):
    post({"timestamp": iso(3600), "power": 1})
    stream = watch()
    post([{"timestamp": iso(1800), "power": 2}, {"timestamp": iso(60), "power": 3}])
    assert [value for _, value in next(stream)["power"]] == [2, 3]
    post({"timestamp": iso(-300), "power": 4})
    assert [value for _, value in next(stream)["power"]] == [4]
    now = iso()
    post({"timestamp": now, "power": 5})
    assert [value for _, value in next(stream)["power"]] == [5]
    post({"timestamp": now, "power": 6}, query="?on_conflict=replace")
    assert [value for _, value in next(stream)["power"]] == [6]
    post({"timestamp": iso(), "voltage": 230})
    assert set(next(stream)) == {"voltage"}


def test_a_viewer_sees_its_own_device_only(watch, post, writer, charlie):
    import numpy as np

    from joulebook.telemetry.batch import Batch
    from joulebook.telemetry.series import ensure_series
    from joulebook.telemetry.writer import write_batch

    stream = watch()
    number = ensure_series(writer, [("device_of_charlie", "power")])["device_of_charlie", "power"]
    moment = np.array([time.time_ns() // 1000], np.int64)
    write_batch(writer, Batch(np.array([number], np.int32), moment, np.array([666.0])))
    time.sleep(0.5)
    post({"timestamp": iso(), "power": 1})
    assert [value for _, value in next(stream)["power"]] == [1]


@pytest.mark.parametrize("spoil", ["", "x", "1.aHR0cA.x", "é"])
def test_without_a_valid_ticket_nothing_is_streamed(ingest, device_id, spoil):
    answer = httpx.get(f"{ingest.url}/live/{device_id}", params={"ticket": spoil})
    assert (answer.status_code, answer.json()["code"]) == (403, "ticket")
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_a_ticket_opens_no_other_device_is_no_device_token_and_serves_no_other_origin(
    ingest, ask_ticket, alice, device, device_token
):
    url = ask_ticket(alice, device.device_id).json()["url"]
    other = url.replace(device.device_id, "other_device")
    assert httpx.get(other).status_code == 403
    assert httpx.get(url, headers={"Origin": "http://elsewhere.example"}).status_code == 403
    assert httpx.get(f"{ingest.url}/live/{device.device_id}?ticket={device_token}").status_code == 403


def test_who_asks_for_the_head_alone_is_answered_at_once(ingest, ask_ticket, alice, device):
    url = ask_ticket(alice, device.device_id).json()["url"]
    answer = httpx.head(url, timeout=5)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert httpx.head(url[:-3], timeout=5).status_code == 403


def test_the_stream_ends_when_its_ticket_expires_and_says_so(ingest, device_id):
    from django.conf import settings

    from joulebook.live_ticket import TICKET_SECONDS

    ticket, expires_at = issue_ticket(
        settings.SECRET_KEY, device_id, user=1, origin=ORIGIN, now=time.time() - TICKET_SECONDS + 3
    )
    url = f"{ingest.url}/live/{device_id}?ticket={ticket}"
    answer = httpx.get(url, timeout=20)
    assert answer.text.endswith("event: end\ndata: {}\n\n")
    assert expires_at <= time.time() < expires_at + 10
    assert httpx.get(url).status_code == 403


def test_tickets_are_in_no_log(watch, ingest, web, post):
    stream = watch()
    post({"timestamp": iso(), "power": 1})
    next(stream)
    for service in (ingest, web):
        assert "ticket=" not in service.log.read_text()


def test_an_ingest_that_stops_ends_its_streams_and_does_not_wait_for_viewers(watch, telemetry):
    own = Service("ingest", free_port())
    own.start(path="/readyz")
    try:
        stream = watch(own)
        own.process.terminate()
        assert own.process.wait(timeout=10) in {0, -15}
        assert list(stream) == []
    finally:
        own.stop()


def test_a_viewer_that_does_not_keep_up_is_dropped_and_more_than_may_watch_are_refused(telemetry):
    from joulebook.ingest.live.feed import LiveFeed, TooManyViewers, Watcher

    async def run() -> list[object]:
        feed = LiveFeed(telemetry["writer"], most_viewers=2)
        alice, bob, charlie = (Watcher(name, name, name) for name in ("alice", "bob", "charlie"))
        with feed.watch("slow", alice) as slow, feed.watch("other", bob):
            with pytest.raises(TooManyViewers):
                with feed.watch("one_more", charlie):
                    pass
            for number in range(1_000):
                slow.offer({"power": [(number, number)]})
            got = []
            while (fresh := await slow.next(seconds=5)) is not None:
                got.append(fresh)
        with feed.watch("one_more", charlie):
            pass
        await feed.close()
        return got

    got = asyncio.run(run())
    assert got == [{"power": [(number, number)]} for number in range(64)]


def test_a_ticket_a_user_and_an_address_have_their_shares_and_others_keep_theirs(
    ingest, device, alice, bob, client_of, transactional_db
):
    """Five hundred streams with one ticket, as a script opens them that was handed it."""
    hoarded: list[httpx.Response] = []
    with httpx.Client(timeout=60, limits=httpx.Limits(max_connections=None)) as http:

        def opened(url: str) -> int:
            answer = http.send(http.build_request("GET", url), stream=True)
            hoarded.append(answer)
            if answer.status_code != 200:
                assert answer.status_code == 503
                assert "its share" in answer.read().decode()
                assert int(answer.headers["Retry-After"]) > 0
            return answer.status_code

        def ticket(user: object) -> str:
            path = f"/api/live-ticket/{device.device_id}"
            return str(client_of(user).post(path).json()["url"])

        one = ticket(alice)
        statuses = [opened(one) for _ in range(500)]
        assert statuses.count(200) == 4
        assert statuses[:4] == [200] * 4
        # Further tickets of hers end at her own share, those of another user do not.
        while opened(ticket(alice)) == 200:
            assert len([each for each in hoarded if each.status_code == 200]) <= 50
        assert len([each for each in hoarded if each.status_code == 200]) == 50
        assert opened(ticket(bob)) == 200
        for each in hoarded:
            each.close()
        deadline = time.monotonic() + 60
        while opened(ticket(alice)) != 200:
            assert time.monotonic() < deadline, "streams that were closed still count"


def test_an_address_has_a_share_of_the_streams_and_ipv6_by_its_64_bits(telemetry):
    from joulebook.ingest.live.feed import LiveFeed, TooManyViewers, Viewer, Watcher
    from joulebook.serving.addresses import share_key

    async def run() -> None:
        feed = LiveFeed(telemetry["writer"], of_an_address=2)

        def watching(number: int, address: str) -> AbstractContextManager[Viewer]:
            return feed.watch("a", Watcher(f"ticket {number}", f"user {number}", share_key(address)))

        with watching(1, "2001:db8::1"), watching(2, "2001:db8::2"):
            with pytest.raises(TooManyViewers, match="this address has 2"):
                with watching(3, "2001:db8::3"):
                    pass
            with watching(4, "2001:db8:0:1::1"), watching(5, "10.0.0.1"), watching(6, "10.0.0.2"):
                pass
        with watching(7, "2001:db8::3"):
            pass
        await feed.close()

    asyncio.run(run())
