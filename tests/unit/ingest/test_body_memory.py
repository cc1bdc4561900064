"""Bodies of all requests together: bounded, fair to those who send fast, and given back whatever happens."""

from __future__ import annotations

import asyncio

import pytest

from joulebook.ingest.requests.bodies import SMALL_BODY, BodyMemory, BodyMemoryFull, BodyTooLarge, read_body

PART = SMALL_BODY
SCOPE = {"type": "http", "headers": []}


class Sender:
    """A client that sends a body in parts; those that are not there yet are waited for."""

    def __init__(self, *parts: bytes) -> None:
        self.messages: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        for part in parts:
            self.send(part)

    def send(self, part: bytes, *, last: bool = False) -> None:
        self.messages.put_nowait({"type": "http.request", "body": part, "more_body": not last})


async def read(memory: BodyMemory, sender: Sender, *, most_bytes: int = 100 * PART) -> bytes:
    with memory.hold() as held:
        return await read_body(SCOPE, sender.messages.get, most_bytes=most_bytes, held=held)


def test_small_bodies_are_not_counted_and_large_ones_until_they_are_done_with():
    async def run() -> None:
        memory = BodyMemory(10 * PART)
        small, large = Sender(bytes(100)), Sender(bytes(PART), bytes(PART), bytes(5))
        reading = [asyncio.ensure_future(read(memory, one)) for one in (small, large)]
        await asyncio.sleep(0.01)
        assert memory.bytes == 2 * PART + 5
        large.send(b"end", last=True)
        small.send(b"", last=True)
        assert [len(body) for body in await asyncio.gather(*reading)] == [100, 2 * PART + 8]
        assert memory.bytes == 0

    asyncio.run(run())


def test_where_there_is_no_room_the_slower_sender_stands_back_for_the_faster_one():
    async def run() -> None:
        memory = BodyMemory(4 * PART)
        slow = Sender(bytes(PART), bytes(PART))
        waiting = asyncio.ensure_future(read(memory, slow))
        await asyncio.sleep(0.2)
        fast = Sender(*[bytes(PART)] * 3)
        fast.send(bytes(10), last=True)
        assert len(await read(memory, fast)) == 3 * PART + 10
        with pytest.raises(BodyMemoryFull, match="no room for all"):
            await waiting
        assert memory.bytes == 0

    asyncio.run(run())


def test_of_many_slow_senders_no_more_are_sent_away_than_the_room_that_is_needed():
    async def run() -> None:
        memory = BodyMemory(40 * PART)
        reading = [asyncio.ensure_future(read(memory, Sender(bytes(2 * PART)))) for _ in range(20)]
        await asyncio.sleep(0.2)
        fast = Sender(bytes(3 * PART))
        fast.send(b"", last=True)
        assert len(await read(memory, fast)) == 3 * PART
        await asyncio.sleep(0.01)
        assert sum(one.done() for one in reading) == 2
        for one in reading:
            one.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        assert memory.bytes == 0

    asyncio.run(run())


def test_the_slowest_itself_is_sent_away_and_a_body_that_has_come_is_never():
    async def run() -> None:
        memory = BodyMemory(4 * PART)
        with memory.hold() as arrived:
            arrived.grow_to(3 * PART)
            await asyncio.sleep(0.05)
            with pytest.raises(BodyMemoryFull, match="196608 bytes of requests are held already"):
                await read(memory, Sender(bytes(2 * PART)))
            assert memory.bytes == 3 * PART
        assert memory.bytes == 0

    asyncio.run(run())


def test_a_body_that_is_refused_gives_its_room_back():
    async def run() -> None:
        memory = BodyMemory(10 * PART)
        with pytest.raises(BodyTooLarge):
            await read(memory, Sender(bytes(2 * PART), bytes(2 * PART)), most_bytes=3 * PART)
        assert memory.bytes == 0

    asyncio.run(run())


def test_a_sender_of_many_bodies_gives_way_to_one_that_sends_little_also_when_its_own_have_arrived():
    """Its bodies came faster, and only wait to be taken apart."""

    async def run() -> None:
        memory = BodyMemory(8 * PART)

        async def arrived(sender: str) -> None:
            with memory.hold(sender) as held:
                held.grow_to(2 * PART)
                async with asyncio.timeout(None) as waiting:
                    with held.may_give_way(waiting):
                        await asyncio.Event().wait()

        greedy = [asyncio.ensure_future(arrived("greedy")) for _ in range(4)]
        await asyncio.sleep(0.01)
        assert memory.bytes == 8 * PART
        with memory.hold("modest") as held:
            await asyncio.sleep(0.05)
            held.grow_to(3 * PART)
            await asyncio.sleep(0.01)
            assert sum(one.done() for one in greedy) == 2
            assert memory.bytes == 7 * PART
        for one in greedy:
            one.cancel()
        await asyncio.gather(*greedy, return_exceptions=True)
        assert memory.bytes == 0

    asyncio.run(run())


def test_slow_bodies_do_not_give_way_to_the_many_of_one_sender():
    async def run() -> None:
        memory = BodyMemory(8 * PART)
        slow = asyncio.ensure_future(read(memory, Sender(bytes(2 * PART))))
        await asyncio.sleep(0.2)
        with memory.hold("greedy") as first, memory.hold("greedy") as second:
            first.grow_to(4 * PART)
            with pytest.raises(BodyMemoryFull):
                second.grow_to(4 * PART)
            assert not slow.done()
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)

    asyncio.run(run())
