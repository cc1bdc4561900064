"""What the worker does, and how often."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from joulebook.config import Config
from joulebook.embedded import telemetry_url
from joulebook.worker.metrics import WorkerMetrics
from joulebook.worker.retaining import EVERY, RetentionKeeper
from joulebook.worker.rolling import RollupKeeper


@dataclass(frozen=True)
class Task:
    """One piece of work that comes round; `run` returns False where it could not be done."""

    name: str
    interval: timedelta
    run: Callable[[], bool | None]


def remove_expired_sessions() -> None:
    """Remove sessions that nobody can use any more from the accounts database."""
    from django.core.management import call_command

    call_command("clearsessions")


def forget_old_sign_in_failures() -> None:
    """Remove counts of wrong passwords that no longer count."""
    from joulebook.web.accounts.throttle import remove_forgotten

    remove_forgotten()


def forget_unwanted_uploads() -> None:
    """Remove drafts that nobody has queued for long, and files that no import needs."""
    from joulebook.web.imports.strays import remove_old_drafts, remove_unneeded_uploads

    remove_old_drafts()
    remove_unneeded_uploads()


def tasks(config: Config) -> tuple[Task, ...]:
    """Return everything that the worker does. Django is set up by the caller."""
    return (
        Task("roll readings up", timedelta(seconds=2), RollupKeeper(telemetry_url(config, "writer")).turn),
        Task(
            "drop what is too old", EVERY, RetentionKeeper(telemetry_url(config, "writer"), config.keep).turn
        ),
        Task("remove expired sessions", timedelta(hours=6), remove_expired_sessions),
        Task("forget old sign-in failures", timedelta(hours=1), forget_old_sign_in_failures),
        Task("forget unwanted uploads", timedelta(hours=1), forget_unwanted_uploads),
    )


def beside(
    config: Config, metrics: WorkerMetrics | None = None
) -> tuple[Callable[[threading.Event], None], ...]:
    """Return what the worker does all the time, in threads of its own. Django is set up by the caller."""
    from joulebook.worker.importing import ImportKeeper

    return (ImportKeeper(config, telemetry_url(config, "writer"), metrics=metrics).run,)
