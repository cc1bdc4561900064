"""How many wrong passwords are allowed, and for how long further attempts are refused after them.

At sign-in failures are counted by name and address together, by address, and by name, so that neither one
machine can try many names nor many machines one name. Known and unknown names are treated alike. The
address is the client's as trusted proxies name it (`web.proxy`); of IPv6 the /64, which one household has.

A browser in which a user has signed in before is counted on its own, by a signed cookie for that name. So
nobody can keep users out of their own browsers by failing in their names, or from behind their router.
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
from django.db.models import F, QuerySet
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
"""Counters that an attempt adds to when it fails, each with its limit; a success clears the first."""


def sign_in_limits(request: HttpRequest | None, name: str) -> Limits:
    """Return the limits for signing in by a name, which is hashed."""
    who = _hash_name(name)
    browser = _known_browser(request, who) if request is not None else None
    if browser is not None:
        return [(f"sign-in:browser:{browser}", FAILURES_BY_KNOWN_BROWSER)]
    address = share_key(request.META.get("REMOTE_ADDR", "")) if request is not None else ""
    return [
        (f"sign-in:{who}:{address}", FAILURES_BY_NAME_AND_ADDRESS),
        (f"sign-in:address:{address}", FAILURES_BY_ADDRESS),
        (f"sign-in:name:{who}", FAILURES_BY_NAME),
    ]


def old_password_limits(user: User) -> Limits:
    """Return the limit for the old password that a change of the password asks for."""
    return [(f"old-password:{user.pk}", FAILURES_OF_OLD_PASSWORD)]


def is_throttled(limits: Limits) -> bool:
    """Return whether a further attempt is refused at present."""
    most = dict(limits)
    counts = _current().filter(key__in=most).values_list("key", "count")
    return any(count >= most[key] for key, count in counts)


def count_failure(limits: Limits) -> None:
    """Note a wrong password; it is forgotten `WINDOW_SECONDS` after the first of its kind."""
    with transaction.atomic():
        for key, _ in limits:
            # Only what is old is removed: a count that another process has just begun must stay.
            SignInFailures.objects.filter(key=key, since__lte=timezone.now() - _WINDOW).delete()
            SignInFailures.objects.get_or_create(key=key, defaults={"count": 0, "since": timezone.now()})
            SignInFailures.objects.filter(key=key).update(count=F("count") + 1)


def forget_failures(limits: Limits) -> None:
    """Start the first of the counters anew, after a right password."""
    SignInFailures.objects.filter(key=limits[0][0]).delete()


def remove_forgotten() -> None:
    """Remove counts that no longer count."""
    SignInFailures.objects.filter(since__lte=timezone.now() - _WINDOW).delete()


def remember_browser(request: HttpRequest, response: HttpResponse, user: User) -> None:
    """Let the browser carry the cookie by which it is counted on its own for this user's name."""
    who = _hash_name(user.get_username())
    browser = _known_browser(request, who) or secrets.token_hex(16)
    response.set_cookie(
        _cookie_name(who),
        signing.dumps([who, browser], salt=_SALT),
        max_age=KNOWN_BROWSER_SECONDS,
        path=settings.SESSION_COOKIE_PATH,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


def _known_browser(request: HttpRequest, who: str) -> str | None:
    """Return the id of a browser in which the user of this name has signed in before."""
    try:
        signed = signing.loads(
            request.COOKIES.get(_cookie_name(who), ""), salt=_SALT, max_age=KNOWN_BROWSER_SECONDS
        )
    except signing.BadSignature:
        return None
    return str(signed[1]) if signed[0] == who else None


def _cookie_name(who: str) -> str:
    return f"joulebook_known_{settings.CONFIG.web_port}_{who[:8]}"


def _hash_name(name: str) -> str:
    return hashlib.sha256(name.strip().casefold().encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _current() -> QuerySet[SignInFailures]:
    return SignInFailures.objects.filter(since__gt=timezone.now() - _WINDOW)
