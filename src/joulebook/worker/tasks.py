"""What the worker does, and how often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Task:
    """One piece of work that comes round."""

    name: str
    interval: timedelta
    run: Callable[[], None]


def remove_expired_sessions() -> None:
    """Remove sessions that nobody can use any more from the accounts database."""
    from django.core.management import call_command

    call_command("clearsessions")


TASKS = (Task("remove expired sessions", timedelta(hours=6), remove_expired_sessions),)
