"""How many files one user may have waiting here, and how large they may be together."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import Count, Q, Sum

from joulebook.web.imports.models import Import

_State = Import.State
_WAITING = (_State.QUEUED, _State.RUNNING)
_ON_DISK = (_State.DRAFT, *_WAITING)


class QuotaReached(Exception):
    """The user has as much waiting here as one may have; `code` names the limit, the message the remedy."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def check_uploads(user: User, *, size: int) -> None:
    """Raise `QuotaReached` where a file of so many bytes would be more than the user may have waiting.

    It holds only inside a transaction that has locked the user.
    """
    most = settings.CONFIG.user_upload_bytes
    waiting = Import.objects.filter(user=user, state__in=_ON_DISK).exclude(upload="")
    used = waiting.aggregate(bytes=Sum("file_size"))["bytes"] or 0
    if used + size > most:
        raise QuotaReached(
            "user_upload_bytes",
            f"your files that wait to be imported have {used:,} bytes, and this one {size:,}; together they "
            f"may have {most:,}: import or discard some first",
        )


def check_drafts(user: User) -> None:
    """Raise `QuotaReached` where the user has as many drafts as one may have."""
    if _counts(user)["drafts"] >= settings.CONFIG.user_drafts:
        most = settings.CONFIG.user_drafts
        raise QuotaReached("user_drafts", f"you have {most:,} drafts already; import or discard some first")


def check_queued(user: User) -> None:
    """Raise `QuotaReached` where as many imports of the user wait or run as may."""
    if _counts(user)["queued"] >= settings.CONFIG.user_queued:
        most = settings.CONFIG.user_queued
        raise QuotaReached(
            "user_queued", f"{most:,} of your imports wait already; try again when some are done"
        )


def _counts(user: User) -> dict[str, int]:
    return Import.objects.filter(user=user).aggregate(
        drafts=Count("pk", filter=Q(state=_State.DRAFT)), queued=Count("pk", filter=Q(state__in=_WAITING))
    )
