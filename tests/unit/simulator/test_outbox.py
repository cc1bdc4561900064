"""The outbox: bounded, in order, and the same batch until it is settled."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from joulebook.simulator.run import Outbox

BATCH = 10


def packets(*numbers: int) -> list[bytes]:
    return [str(number).encode() for number in numbers]


def filled(count: int, *, room: int = 100) -> Outbox:
    box = Outbox(room=room)
    for packet in packets(*range(count)):
        box.add(packet)
    return box


def batch(box: Outbox, most: int = BATCH) -> list[bytes]:
    waiting = box.oldest(most=most, most_bytes=1_000_000)
    return waiting.bodies if waiting else []


def settle(box: Outbox) -> list[bytes]:
    """Settle the batch on its way; return it."""
    waiting = box.oldest(most=1_000_000, most_bytes=1_000_000)
    if waiting is None:
        return []
    box.settle(waiting)
    return waiting.bodies


def test_a_batch_is_the_oldest_packets_and_stays_the_same_until_it_is_settled() -> None:
    box = filled(15)
    first = batch(box)
    box.add(b"new")
    assert batch(box) == first == packets(*range(10))
    settle(box)
    assert batch(box) == [*packets(*range(10, 15)), b"new"]


def test_the_oldest_packet_is_given_up_when_there_is_no_room() -> None:
    box = filled(7, room=5)
    assert box.given_up == 2
    assert batch(box, 2) == packets(2, 3)


def test_a_batch_on_its_way_is_not_touched_by_a_full_outbox() -> None:
    box = filled(5, room=5)
    on_its_way = batch(box, 2)
    box.add(b"new")
    assert batch(box, 2) == on_its_way
    settle(box)
    assert batch(box, 2) == packets(3, 4), "packet 2 made room"


def test_a_smaller_batch_keeps_the_order() -> None:
    box = filled(12)
    batch(box)
    assert batch(box, 5) == packets(*range(5))
    settle(box)
    assert batch(box, 5) == packets(*range(5, 10))


def test_a_batch_is_bounded_in_bytes_but_holds_at_least_one_packet() -> None:
    box = Outbox(room=10)
    for size in (30, 60, 60):
        box.add(b"x" * size)
    for sizes in ([30], [60], [60]):
        waiting = box.oldest(most=10, most_bytes=50)
        assert waiting is not None
        assert list(map(len, waiting.bodies)) == sizes
        box.settle(waiting)


@given(st.lists(st.sampled_from(["add", "batch", "settle", "split"]), max_size=60), st.integers(1, 8))
def test_packets_leave_in_order_and_only_the_room_limits_them(steps: list[str], largest: int) -> None:
    box, left, number = Outbox(room=20), [], 0
    for step in steps:
        match step:
            case "add":
                box.add(str(number).encode())
                number += 1
            case "batch":
                batch(box, largest)
            case "settle" if box.is_sending:
                left += settle(box)
            case "split":
                batch(box, max(1, largest // 2))
        assert len(box) <= 20
    while len(box):
        batch(box)
        left += settle(box)
    assert [int(packet) for packet in left] == sorted({int(packet) for packet in left})
    assert len(left) + box.given_up == number
