"""Slots have shares, and no request waits for another one's share."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from joulebook.serving.slots import Keys, SharedSlots


class Crowd:
    """Holders of slots, who keep them until they are let go."""

    def __init__(self, slots: SharedSlots) -> None:
        self.slots = slots
        self.holding: list[Keys] = []

    async def come(self, keys: Keys) -> tuple[asyncio.Task[None], asyncio.Event]:
        leave = asyncio.Event()

        async def hold() -> None:
            async with self.slots.slot(keys):
                self.holding.append(keys)
                try:
                    await leave.wait()
                finally:
                    self.holding.remove(keys)

        task = asyncio.create_task(hold())
        await asyncio.sleep(0)
        return task, leave


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_one_person_has_a_share_and_others_have_their_turn_at_once():
    async def run() -> None:
        crowd = Crowd(SharedSlots(8, (4, 6)))
        alice = [await crowd.come(("alice", "a")) for _ in range(20)]
        assert len(crowd.holding) == 4
        bob = [await crowd.come(("bob", "a")) for _ in range(20)]
        assert Counter(crowd.holding) == {("alice", "a"): 4, ("bob", "a"): 2}
        charlie = [await crowd.come(("charlie", "c"))]
        assert ("charlie", "c") in crowd.holding
        for _, leave in alice + bob + charlie:
            leave.set()
            await settle()
        await asyncio.gather(*(task for task, _ in alice + bob + charlie))
        assert crowd.holding == []

    asyncio.run(run())


def test_who_waits_comes_in_order():
    async def run() -> None:
        crowd = Crowd(SharedSlots(1, (1,)))
        first, leave = await crowd.come(("a",))
        waiting = [await crowd.come((name,)) for name in "bcd"]
        leave.set()
        order = []
        for _ in range(3):
            await settle()
            (holder,) = crowd.holding
            order.append(holder[0])
            waiting["bcd".index(holder[0])][1].set()
        await asyncio.gather(first, *(task for task, _ in waiting))
        assert order == ["b", "c", "d"]

    asyncio.run(run())


def test_one_that_gives_up_waiting_leaves_no_turn_taken():
    async def run() -> None:
        slots = SharedSlots(1, (1,))
        crowd = Crowd(slots)
        first, leave = await crowd.come(("a",))
        given_up, _ = await crowd.come(("b",))
        given_up.cancel()
        leave.set()
        await settle()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        late, leave = await crowd.come(("c",))
        assert crowd.holding == [("c",)]
        leave.set()
        await asyncio.gather(first, late)

    asyncio.run(run())


def test_one_that_is_cancelled_in_the_moment_of_its_turn_gives_it_back():
    async def run() -> None:
        crowd = Crowd(SharedSlots(1, (1,)))
        first, leave = await crowd.come(("a",))
        second, _ = await crowd.come(("b",))
        leave.set()
        await asyncio.wait({first})
        second.cancel()
        await settle()
        third, leave = await crowd.come(("c",))
        assert crowd.holding == [("c",)]
        leave.set()
        await third

    asyncio.run(run())


def test_whatever_comes_and_goes_the_bounds_hold_and_nobody_waits_without_need():
    async def run() -> None:
        rng = random.Random(11)
        slots = SharedSlots(6, (3, 4))
        crowd = Crowd(slots)
        present = []
        for _ in range(3_000):
            if rng.random() < 0.55 or not present:
                keys = (rng.choice("abc"), rng.choice("xy"))
                present.append(await crowd.come(keys))
            else:
                task, leave = present.pop(rng.randrange(len(present)))
                leave.set() if rng.random() < 0.7 else task.cancel()
            for _ in range(200):  # one that leaves may let one in that leaves at once, and so on
                await settle()
                if slots._taken == len(crowd.holding):
                    break
            people, addresses = Counter(k[0] for k in crowd.holding), Counter(k[1] for k in crowd.holding)
            assert len(crowd.holding) <= 6
            assert max(people.values(), default=0) <= 3
            assert max(addresses.values(), default=0) <= 4
            if len(crowd.holding) < 6:
                for person, address in slots._waiting.values():
                    assert people[person] == 3 or addresses[address] == 4
        for task, _ in present:
            task.cancel()
        await asyncio.gather(*(task for task, _ in present), return_exceptions=True)
        while slots._waiting:
            await settle()
        await settle()
        assert slots._taken == 0

    asyncio.run(run())
