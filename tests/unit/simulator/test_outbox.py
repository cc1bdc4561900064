"""The outbox: bounded, in order, and the same batch until it is settled."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from joulebook.simulator.outbox import Outbox


def outbox(room: int = 100, largest: int = 10) -> Outbox:
    return Outbox("device_001", "secret", room=room, largest=largest)


def packets(*numbers: int) -> list[bytes]:
    return [str(number).encode() for number in numbers]


def filled(count: int, **options: int) -> Outbox:
    box = outbox(**options)
    for packet in packets(*range(count)):
        box.add(packet)
    return box


def test_a_batch_is_the_oldest_packets_and_stays_the_same_until_it_is_settled() -> None:
    box = filled(15)
    first = list(box.batch())
    box.add(b"new")
    assert box.batch() == first == packets(*range(10))
    box.settle()
    assert box.batch() == [*packets(*range(10, 15)), b"new"]


def test_the_oldest_packet_is_given_up_when_there_is_no_room() -> None:
    box = filled(7, room=5, largest=2)
    assert box.given_up == 2
    assert box.batch() == packets(2, 3)


def test_a_batch_on_its_way_is_not_touched_by_a_full_outbox() -> None:
    box = filled(5, room=5, largest=2)
    on_its_way = list(box.batch())
    box.add(b"new")
    assert box.batch() == on_its_way
    box.settle()
    assert box.batch() == packets(3, 4), "packet 2 made room"


def test_splitting_halves_the_batch_and_keeps_the_order() -> None:
    box = filled(12)
    box.batch()
    assert box.split()
    assert box.batch() == packets(*range(5))
    box.settle()
    assert box.batch() == packets(*range(5, 10)), "later batches are small from the start"


def test_a_single_packet_cannot_be_split() -> None:
    box = filled(1)
    box.batch()
    assert not box.split()


def test_the_token_is_not_shown() -> None:
    assert "secret" not in repr(outbox())


@given(st.lists(st.sampled_from(["add", "batch", "settle", "split"]), max_size=60), st.integers(1, 8))
def test_packets_leave_in_order_and_only_the_room_limits_them(steps: list[str], largest: int) -> None:
    box, left, number = outbox(room=20, largest=largest), [], 0
    for step in steps:
        match step:
            case "add":
                box.add(str(number).encode())
                number += 1
            case "batch":
                box.batch()
            case "settle":
                left += box.sending
                box.settle()
            case "split":
                box.split()
        assert len(box) <= 20
    left += [*box.sending, *box.waiting]
    assert [int(packet) for packet in left] == sorted({int(packet) for packet in left})
    assert len(left) + box.given_up == number
