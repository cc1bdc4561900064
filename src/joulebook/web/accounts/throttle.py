"""How many wrong passwords are allowed, and for how long sign-in is refused after them.

Failures are counted by name and address together, by address, and by name, so that neither one
machine can try many names nor many machines one name. Known and unknown names are treated alike.
Only the connection's own address counts: headers that a client can write are ignored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from django.core.cache import cache

WINDOW_SECONDS = 15 * 60
FAILURES_BY_NAME_AND_ADDRESS = 10
FAILURES_BY_ADDRESS = 100
FAILURES_BY_NAME = 100


def is_throttled(name: str, address: str) -> bool:
    """Return whether a further attempt for `name` from `address` is refused at present."""
    limits = dict(_limits(name, address))
    counts = cache.get_many(limits)
    return any(counts.get(key, 0) >= limit for key, limit in limits.items())


def count_failure(name: str, address: str) -> None:
    """Note a wrong password; it is forgotten after `WINDOW_SECONDS`."""
    for key, _ in _limits(name, address):
        if not cache.add(key, 1, WINDOW_SECONDS):
            try:
                cache.incr(key)
            except ValueError:  # it ran out between the two calls
                cache.add(key, 1, WINDOW_SECONDS)


def forget_failures(name: str, address: str) -> None:
    """Start counting anew for this name at this address, after a right password."""
    cache.delete(next(_limits(name, address))[0])


def _limits(name: str, address: str) -> Iterator[tuple[str, int]]:
    """Yield each counter's key and limit. Names are hashed: a cache key may not carry just any text."""
    who = hashlib.sha256(name.strip().casefold().encode("utf-8", "surrogatepass")).hexdigest()[:32]
    yield f"sign-in:{who}:{address}", FAILURES_BY_NAME_AND_ADDRESS
    yield f"sign-in:address:{address}", FAILURES_BY_ADDRESS
    yield f"sign-in:name:{who}", FAILURES_BY_NAME
