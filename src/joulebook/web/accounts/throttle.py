"""How many wrong passwords are allowed, and for how long sign-in is refused after them.

Failures are counted by name and address together, by address, and by name, so that neither one
machine can try many names nor many machines one name. Known and unknown names are treated alike.
Only the connection's own address counts: headers that a client can write are ignored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from joulebook.web.accounts.models import SignInFailures

WINDOW_SECONDS = 15 * 60
_WINDOW = timedelta(seconds=WINDOW_SECONDS)
FAILURES_BY_NAME_AND_ADDRESS = 10
FAILURES_BY_ADDRESS = 100
FAILURES_BY_NAME = 100


def is_throttled(name: str, address: str) -> bool:
    """Return whether a further attempt for `name` from `address` is refused at present."""
    limits = dict(_limits(name, address))
    counts = _current().filter(key__in=limits).values_list("key", "count")
    return any(count >= limits[key] for key, count in counts)


def count_failure(name: str, address: str) -> None:
    """Note a wrong password; it is forgotten `WINDOW_SECONDS` after the first of its kind."""
    with transaction.atomic():
        for key, _ in _limits(name, address):
            # Only what is old is removed: a count that another process has just begun must stay.
            SignInFailures.objects.filter(key=key, since__lte=timezone.now() - _WINDOW).delete()
            SignInFailures.objects.get_or_create(key=key, defaults={"count": 0, "since": timezone.now()})
            SignInFailures.objects.filter(key=key).update(count=F("count") + 1)


def forget_failures(name: str, address: str) -> None:
    """Start counting anew for this name at this address, after a right password."""
    SignInFailures.objects.filter(key=next(_limits(name, address))[0]).delete()


def remove_forgotten() -> None:
    """Remove counts that no longer count."""
    SignInFailures.objects.filter(since__lte=timezone.now() - _WINDOW).delete()


def _current() -> QuerySet[SignInFailures]:
    return SignInFailures.objects.filter(since__gt=timezone.now() - _WINDOW)


def _limits(name: str, address: str) -> Iterator[tuple[str, int]]:
    """Yield each counter's key and limit. Names are hashed."""
    who = hashlib.sha256(name.strip().casefold().encode("utf-8", "surrogatepass")).hexdigest()[:32]
    yield f"sign-in:{who}:{address}", FAILURES_BY_NAME_AND_ADDRESS
    yield f"sign-in:address:{address}", FAILURES_BY_ADDRESS
    yield f"sign-in:name:{who}", FAILURES_BY_NAME
