"""Removes what nobody will import any more: drafts that were left, and files that no import needs."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from django.utils import timezone

from joulebook.web.imports.models import DRAFTS_STAY, Import
from joulebook.web.imports.operations import UnableToImport, discard_draft
from joulebook.web.imports.uploads.files import remove_strays

log = logging.getLogger(__name__)

UPLOADS_STAY = timedelta(days=1)
"""How long a file lies among the uploads that no import knows: it may be on its way to one."""

_State = Import.State


def remove_old_drafts() -> int:
    """Remove drafts that nobody has queued in `DRAFTS_STAY`, with their uploads; return how many."""
    removed = 0
    for draft in Import.objects.filter(state=_State.DRAFT, created_at__lt=timezone.now() - DRAFTS_STAY):
        try:
            discard_draft(draft)
        except UnableToImport:
            continue  # Somebody has just queued it.
        removed += 1
    if removed:
        log.info("%d draft(s) of imports removed that nobody has queued in %s", removed, DRAFTS_STAY)
    return removed


def remove_unneeded_uploads() -> int:
    """Remove files among the uploads that no import needs any more; return how many."""
    needed = Import.objects.filter(state__in=(_State.DRAFT, _State.QUEUED, _State.RUNNING)).exclude(upload="")
    before = time.time() - UPLOADS_STAY.total_seconds()
    removed = remove_strays(set(needed.values_list("upload", flat=True)), before=before)
    if removed:
        log.info("%d file(s) removed from the uploads that no import needs", removed)
    return removed
