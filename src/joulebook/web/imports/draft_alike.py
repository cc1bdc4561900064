"""Several files of a kind: what was settled for one draft imports the others, where they are read just so."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from django.contrib.auth.models import User
from django.db.models import QuerySet

from joulebook.telemetry.files.budget import Stopwatch
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.web.imports.draft_entry import DraftEntry
from joulebook.web.imports.draft_reading import read_draft
from joulebook.web.imports.models import Import
from joulebook.web.imports.operations import ImportOrder, UnableToImport, queue_import
from joulebook.web.imports.quotas import QuotaReached
from joulebook.web.imports.reading import TooManyFiles

MOST_ALIKE = 50
"""Drafts that are looked at in one request."""

MOST_SECONDS = 20
"""Processor time for looking at them; those that are left wait for the user."""


@dataclass
class Alike:
    """What became of a user's other drafts: imported by the same settings, or still waiting for the user."""

    queued: list[Import] = field(default_factory=list)
    waiting: list[Import] = field(default_factory=list)


def other_drafts(user: User) -> QuerySet[Import]:
    """Return the user's drafts."""
    return Import.objects.filter(user=user, state=Import.State.DRAFT).select_related("device")


def queue_alike(user: User, entry: DraftEntry, order: ImportOrder) -> Alike:
    """Queue each draft of the user that `entry` reads by the same profile as the file of `order`.

    Only its encoding, and the lines at which header and data begin, may differ. What was imported before
    is among those that wait.
    """
    done = Alike()
    stopwatch = Stopwatch()
    for import_ in other_drafts(user)[:MOST_ALIKE]:
        if stopwatch.seconds > MOST_SECONDS:
            done.waiting.append(import_)
            continue
        try:
            found = read_draft(import_, entry, user=user).order()
        except TooManyFiles:
            found = None
        if found is None or found.columns != order.columns or _shape(found.profile) != _shape(order.profile):
            done.waiting.append(import_)
            continue
        try:
            queue_import(import_, found)
        except (UnableToImport, QuotaReached):
            done.waiting.append(import_)
        else:
            done.queued.append(import_)
    return done


def _shape(profile: ImportProfile) -> ImportProfile:
    """Return what has to be the same for files of a kind."""
    header = None if profile.header_line is None else 0
    return replace(profile, encoding="", header_line=header, first_data_line=0)
