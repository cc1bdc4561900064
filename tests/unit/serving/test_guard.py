"""Whose connection is kept, and whose ends for it."""

from __future__ import annotations

import random
from collections import Counter

from joulebook.config import Config
from joulebook.serving.guard import Guard

FLOOD = "127.0.0.2"


class Connection:
    """A connection that notes its end."""

    def __init__(self, peer: str, *, busy: bool = False) -> None:
        self.peer, self.busy, self.open = peer, busy, True

    def is_answering(self) -> bool:
        return self.busy

    def abort(self) -> None:
        assert self.open
        self.open = False


def enter(guard: Guard, peer: str, *, asks: bool = False, busy: bool = False) -> Connection | None:
    """Return a connection of an address that was admitted; `asks`: it sends a whole head at once."""
    connection = Connection(peer, busy=busy)
    if guard.admit(connection, peer) is not None:
        return None
    if asks:
        guard.note_head(connection)
    return connection


def pass_seconds(guard: Guard, seconds: int) -> None:
    for second in range(seconds + 1):
        guard.tick(float(second))
    guard._ticked_at = None


def test_a_lone_address_may_have_all_and_one_more_is_refused():
    guard = Guard(10)
    mine = [enter(guard, "10.0.0.1", asks=True) for _ in range(11)]
    assert all(each is not None and each.open for each in mine[:10])
    assert mine[10] is None


def test_an_address_that_has_all_gives_up_idle_connections_for_others_but_not_below_theirs():
    guard = Guard(10)
    flood = [enter(guard, FLOOD, asks=True, busy=number == 0) for number in range(10)]
    others = [enter(guard, f"10.0.0.{number}", asks=True) for number in range(7)]
    assert all(others)
    assert all(each.open for each in others)
    assert sum(each.open for each in flood) == 3
    assert flood[0].open  # it is being answered, others only wait
    # One address may not take what the other has left: both have the same then.
    second = [enter(guard, "10.0.1.1", asks=True) for _ in range(5)]
    assert sum(each is not None for each in second) == 1
    assert sum(each.open for each in flood) == 2


def test_equal_addresses_do_not_take_turns_at_pushing_each_other_out():
    guard = Guard(4)
    all_of_them = [enter(guard, f"10.0.0.{number % 2}", asks=True) for number in range(4)]
    for number in range(20):
        assert enter(guard, f"10.0.0.{number % 2}", asks=True) is None
    assert enter(guard, "10.0.0.7", asks=True) is not None
    assert sum(each.open for each in all_of_them) == 3


def test_where_each_has_one_connection_the_next_one_is_refused():
    guard = Guard(3)
    assert all(enter(guard, f"10.0.0.{number}", asks=True) for number in range(3))
    assert enter(guard, "10.0.0.9", asks=True) is None


def test_those_without_a_head_are_a_quarter_and_the_oldest_of_the_address_with_most_ends():
    guard = Guard(40)
    flood = [enter(guard, FLOOD) for _ in range(9)]
    honest = enter(guard, "10.0.0.1")
    pass_seconds(guard, 3)
    more = [enter(guard, FLOOD) for _ in range(5)]
    assert [each.open for each in flood] == [False] * 5 + [True] * 4
    assert honest.open
    assert all(each.open for each in more)


def test_thousands_that_connect_in_one_moment_are_given_time_to_ask():
    guard = Guard(40)
    herd = [enter(guard, f"10.0.0.{number}") for number in range(40)]
    assert all(each is not None and each.open for each in herd)


def test_a_flood_that_never_asks_leaves_others_in_even_in_its_first_moment():
    guard = Guard(40)
    flood = [enter(guard, FLOOD) for _ in range(200)]
    assert sum(each is not None and each.open for each in flood) == 40
    assert enter(guard, "10.0.0.1", asks=True) is not None


def test_behind_the_flooding_address_a_late_connection_ends_for_one_that_may_ask():
    guard = Guard(10)
    flood = [enter(guard, FLOOD) for _ in range(10)]
    assert enter(guard, FLOOD) is None
    pass_seconds(guard, 3)
    assert enter(guard, FLOOD, asks=True) is not None
    assert not flood[0].open


def test_an_address_may_be_given_a_bound_of_its_own():
    guard = Guard(100, per_address=3)
    assert all(enter(guard, "10.0.0.1", asks=True) for _ in range(3))
    assert enter(guard, "10.0.0.1", asks=True) is None
    assert enter(guard, "10.0.0.2", asks=True) is not None


def test_a_trusted_proxy_has_no_share_and_is_not_pushed_out():
    trusted = Config.from_environ({"JOULEBOOK_TRUSTED_PROXIES": "10.0.0.1"}).trusted_proxies
    guard = Guard(10, per_address=2, trusted=trusted)
    proxied = [enter(guard, "10.0.0.1", asks=True) for _ in range(8)]
    assert all(proxied)
    flood = [enter(guard, FLOOD, asks=True) for _ in range(2)]
    assert enter(guard, "10.0.0.1", asks=True) is not None
    assert sum(each.open for each in flood) == 1
    assert all(each.open for each in proxied)


def test_addresses_of_one_ipv6_network_are_one():
    guard = Guard(10)
    flood = [enter(guard, f"2001:db8:0:1::{number}", asks=True) for number in range(10)]
    assert enter(guard, "2001:db8:0:1::77", asks=True) is None
    assert enter(guard, "2001:db8:0:2::1", asks=True) is not None
    assert sum(each.open for each in flood) == 9


def test_only_some_are_told_that_they_are_one_too_many():
    guard = Guard(160)
    told = [Connection(FLOOD) for _ in range(100)]
    assert sum(guard.begin_refusal(each) for each in told) == 20
    guard.forget(told[0])
    assert guard.begin_refusal(Connection(FLOOD))


def test_a_process_that_was_stopped_does_not_find_its_clients_late():
    guard = Guard(10)
    guard.tick(0)
    began = guard.now
    guard.tick(3600)
    assert guard.now - began <= 2


def test_counts_stay_right_whatever_comes_and_goes():
    rng = random.Random(7)
    guard = Guard(50, per_address=20)
    present: set[Connection] = set()
    for _ in range(20_000):
        if rng.random() < 0.6:
            entered = enter(guard, f"10.0.0.{int(rng.paretovariate(1)) % 12}", asks=rng.random() < 0.7)
            if entered is not None:
                present.add(entered)
        elif present:
            leaving = rng.choice(sorted(present, key=id))
            guard.forget(leaving)
            present.discard(leaving)
        present = {each for each in present if each.open}
        assert set(guard._keys) == present
        counts = Counter(each.peer for each in present)
        assert len(present) <= 50
        assert all(guard._shares.size(peer) == count for peer, count in counts.items())
        largest = guard._shares.largest()
        assert (counts[largest] if largest else 0) == max(counts.values(), default=0)
