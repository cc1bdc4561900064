"""Limits for wrong passwords: their number, and the time without further attempts after them.

At sign-in failures are counted by name and address together, by address, and by name: against one machine
trying many names, and many machines trying one name. Known and unknown names are treated alike. The address
is the client's, reported by trusted proxies (`web.proxy`); of IPv6 the /64, the network of one household.

A browser with an earlier sign-in of a user has a counter of its own, by a signed cookie for that name. An
attacker cannot lock users out of their own browsers by failing in their names, or from behind their router.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.core import signing
from django.db import transaction
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from joulebook.serving.addresses import share_key
from joulebook.web.accounts.models import SignInFailures

WINDOW_SECONDS = 15 * 60
_WINDOW = timedelta(seconds=WINDOW_SECONDS)
FAILURES_BY_NAME_AND_ADDRESS = 10
FAILURES_BY_ADDRESS = 100
FAILURES_BY_NAME = 100
FAILURES_BY_KNOWN_BROWSER = 10
FAILURES_OF_OLD_PASSWORD = 10

KNOWN_BROWSER_SECONDS = 366 * 86_400
_SALT = "joulebook.known-browser"

Limits = Sequence[tuple[str, int]]
"""The counters of a failed attempt, each with its limit; a success clears the first."""


def sign_in_limits(request: HttpRequest | None, name: str) -> Limits:
    """Return the limits for signing in by a name. The counters hold its hash."""
    name_hash = _hash_name(name)
    browser = _known_browser(request, name_hash) if request is not None else None
    if browser is not None:
        return [(f"sign-in:browser:{browser}", FAILURES_BY_KNOWN_BROWSER)]
    address = share_key(request.META.get("REMOTE_ADDR", "")) if request is not None else ""
    return [
        (f"sign-in:{name_hash}:{address}", FAILURES_BY_NAME_AND_ADDRESS),
        (f"sign-in:address:{address}", FAILURES_BY_ADDRESS),
        (f"sign-in:name:{name_hash}", FAILURES_BY_NAME),
    ]


def old_password_limits(user: User) -> Limits:
    """Return the limit for the old password in a change of the password."""
    return [(f"old-password:{user.pk}", FAILURES_OF_OLD_PASSWORD)]


def is_throttled(limits: Limits) -> bool:
    """Return whether a further attempt is refused at present."""
    most = dict(limits)
    current = SignInFailures.objects.filter(since__gt=timezone.now() - _WINDOW, key__in=most)
    return any(count >= most[key] for key, count in current.values_list("key", "count"))


def count_failure(limits: Limits) -> None:
    """Count a wrong password, until `WINDOW_SECONDS` after the first one of its counter."""
    with transaction.atomic():
        for key, _ in limits:
            # The condition is in the statement: another process may have just started a new count.
            SignInFailures.objects.filter(key=key, since__lte=timezone.now() - _WINDOW).delete()
            SignInFailures.objects.get_or_create(key=key, defaults={"count": 0, "since": timezone.now()})
            SignInFailures.objects.filter(key=key).update(count=F("count") + 1)


def forget_failures(limits: Limits) -> None:
    """Clear the first of the counters, after a right password."""
    SignInFailures.objects.filter(key=limits[0][0]).delete()


def remove_forgotten() -> None:
    """Delete expired counts."""
    SignInFailures.objects.filter(since__lte=timezone.now() - _WINDOW).delete()


def remember_browser(request: HttpRequest, response: HttpResponse, user: User) -> None:
    """Set the cookie giving the browser a counter of its own for this user's name."""
    name_hash = _hash_name(user.get_username())
    browser = _known_browser(request, name_hash) or secrets.token_hex(16)
    response.set_cookie(
        _cookie_name(name_hash),
        signing.dumps([name_hash, browser], salt=_SALT),
        max_age=KNOWN_BROWSER_SECONDS,
        path=settings.SESSION_COOKIE_PATH,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _known_browser(request: HttpRequest, name_hash: str) -> str | None:
    """Return the id of a browser with an earlier sign-in by this name."""
    try:
        signed = signing.loads(
            request.COOKIES.get(_cookie_name(name_hash), ""), salt=_SALT, max_age=KNOWN_BROWSER_SECONDS
        )
    except signing.BadSignature:
        return None
    return str(signed[1]) if signed[0] == name_hash else None


def _cookie_name(name_hash: str) -> str:
    return f"joulebook_known_{settings.CONFIG.web_port}_{name_hash[:8]}"


def _hash_name(name: str) -> str:
    return hashlib.sha256(name.strip().casefold().encode("utf-8", "surrogatepass")).hexdigest()[:32]
