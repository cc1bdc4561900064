"""The page of a draft: how its file would be read, redrawn as somebody corrects it, until it is imported."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from joulebook.telemetry.files.budget import Stopwatch
from joulebook.telemetry.files.builtin import BUILTIN
from joulebook.telemetry.files.errors import UnusableProfile
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.web.accounts.forms import time_zone_choices
from joulebook.web.accounts.operations import profile_of
from joulebook.web.devices.operations import UnableToCreateDevice, create_device
from joulebook.web.imports.models import Import, SavedProfile
from joulebook.web.imports.operations import (
    AlreadyImported,
    ImportOrder,
    UnableToImport,
    discard_draft,
    queue_import,
)
from joulebook.web.imports.pages.entry import BadEntry, DraftEntry
from joulebook.web.imports.pages.htmx import HTMX, part_login_required
from joulebook.web.imports.pages.reading import DraftReading, read_draft
from joulebook.web.imports.pages.settings import setting_groups, suggestions
from joulebook.web.imports.profiles import UnableToSaveProfile, save_profile
from joulebook.web.imports.queries import find_visible_import
from joulebook.web.imports.reading import TooManyFiles
from joulebook.web.imports.uploads.quotas import QuotaReached

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


_KEPT = "draft-"
_MOST_KEPT = 200_000
"""Characters of a form that are kept in a session."""

_MOST_KEPT_TOGETHER = 1_000_000
"""The same of all drafts' forms: a session is read with every request."""


def visible_import(request: HttpRequest, number: int) -> Import:
    """Return the import if the user may see it; raises `Http404` for another's and for none alike."""
    import_ = find_visible_import(cast("User", request.user), number)
    if import_ is None:
        raise Http404("There is no such import, or it is not yours to see.")
    return import_


def draft_page(request: HttpRequest, import_: Import) -> HttpResponse:
    """Show a draft as its file is guessed to be, or as somebody has corrected it before."""
    kept = request.session.get(_kept_name(import_))
    entry = DraftEntry.of_draft(import_) if kept is None else DraftEntry.of_form(QueryDict(kept))
    return _shown(request, import_, entry)


@part_login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def preview(request: HttpRequest, number: int) -> HttpResponse:
    """Show the draft again by what is entered; for htmx only what changes of the page.

    With `do` a device is created or a profile saved first.
    """
    import_ = visible_import(request, number)
    if request.method != "POST" or import_.state != Import.State.DRAFT:
        return _away(request, import_)
    try:
        entry = DraftEntry.of_form(request.POST)
    except BadEntry as exc:
        return _shown(request, import_, DraftEntry.of_draft(import_), problem=str(exc), status=400)
    _keep_form(request, import_)
    match request.POST.get("do"):
        case "create-device":
            return _create_device(request, import_, entry)
        case "save-profile":
            return _save_profile(request, import_, entry)
    return _shown(request, import_, entry)


@login_required
@require_POST
def queue(request: HttpRequest, number: int) -> HttpResponse:
    """Have a draft imported as it is read by what is entered, unless something keeps it."""
    import_ = visible_import(request, number)
    if import_.state != Import.State.DRAFT:
        return _away(request, import_)
    try:
        entry = DraftEntry.of_form(request.POST)
        reading = read_draft(import_, entry, user=cast("User", request.user))
    except BadEntry as exc:
        return _shown(request, import_, DraftEntry.of_draft(import_), problem=str(exc), status=400)
    except TooManyFiles as exc:
        return _shown(request, import_, entry, problem=str(exc), status=503)
    order = reading.order()
    if order is None:
        return _page(request, import_, reading, status=400, is_refused=True)
    try:
        queue_import(import_, order, force="force" in request.POST)
    except AlreadyImported as exc:
        return _page(request, import_, reading, status=409, earlier=exc.earlier)
    except (UnableToImport, QuotaReached) as exc:
        return _page(request, import_, reading, status=409, problem=str(exc))
    request.session.pop(_kept_name(import_), None)
    if "alike" in request.POST:
        _import_alike(request, import_, entry, order)
    return redirect("import", number)


@login_required
@require_POST
def discard(request: HttpRequest, number: int) -> HttpResponse:
    """Throw a draft and its file away."""
    import_ = visible_import(request, number)
    try:
        discard_draft(import_)
    except UnableToImport as exc:
        messages.error(request, f"{import_.file_name} stays: {exc}.")
        return redirect("import", number)
    request.session.pop(_kept_name(import_), None)
    messages.success(request, f"{import_.file_name} is discarded; nothing of it was stored.")
    return redirect("imports")


def _import_alike(request: HttpRequest, import_: Import, entry: DraftEntry, order: ImportOrder) -> None:
    """Import the user's other drafts by the same settings, and tell which of them still wait."""
    done = queue_alike(cast("User", request.user), entry, order)
    for each in done.queued:
        request.session.pop(_kept_name(each), None)
    if done.queued:
        names = ", ".join(each.file_name for each in done.queued)
        messages.success(request, f"Imported alike: {names}.")
    if done.waiting:
        names = ", ".join(each.file_name for each in done.waiting)
        messages.warning(request, f"Not quite like {import_.file_name}, and so waiting for you: {names}.")


def _keep_form(request: HttpRequest, import_: Import, **changed: str) -> None:
    """Keep what is entered for when the page is loaded again, as long as the session lasts."""
    form = request.POST.copy()
    for name in changed:
        form[name] = changed[name]
    for name in ("csrfmiddlewaretoken", "do"):
        form.pop(name, None)
    text = form.urlencode()
    session, name = request.session, _kept_name(import_)
    if len(text) > _MOST_KEPT:
        return
    session.pop(name, None)
    session[name] = text
    kept = [each for each in session.keys() if each.startswith(_KEPT)]  # noqa: SIM118 - a session has no iterator
    size = sum(len(session[each]) for each in kept)
    for oldest in kept:
        if size <= _MOST_KEPT_TOGETHER:
            break
        size -= len(session.pop(oldest))


def _kept_name(import_: Import) -> str:
    return f"{_KEPT}{import_.pk}"


def _away(request: HttpRequest, import_: Import) -> HttpResponse:
    """Send to the page of an import that is a draft no more."""
    response = redirect("import", import_.pk)
    if HTMX in request.headers:
        return HttpResponse(headers={"HX-Redirect": response["Location"]})
    return response


def _create_device(request: HttpRequest, import_: Import, entry: DraftEntry) -> HttpResponse:
    form = request.POST
    try:
        device = create_device(
            form.get("new-id", "").strip(),
            owner=cast("User", request.user),
            name=form.get("new-name", "").strip(),
            time_zone=form.get("new-zone", "UTC"),
            most=settings.CONFIG.user_devices,
        )
    except UnableToCreateDevice as exc:
        return _shown(request, import_, entry, problem=str(exc), status=400)
    _keep_form(request, import_, device=device.device_id)
    entry = replace(entry, device=device.device_id)
    return _shown(request, import_, entry, done=f"The device {device} is created, and chosen for this file.")


def _save_profile(request: HttpRequest, import_: Import, entry: DraftEntry) -> HttpResponse:
    user = cast("User", request.user)
    name = request.POST.get("profile-name", "").strip()
    try:
        reading = read_draft(import_, entry, user=user)
        if reading.profile is None or not reading.profile.values:
            return _page(request, import_, reading, status=400, problem="There is nothing to save yet.")
        save_profile(user, name, reading.profile)
    except (TooManyFiles, UnableToSaveProfile, UnusableProfile) as exc:
        return _shown(request, import_, entry, problem=str(exc), status=400)
    return _page(request, import_, reading, done=f"Saved as the profile “{name}”, for other files like this.")


def _shown(request: HttpRequest, import_: Import, entry: DraftEntry, **more: Any) -> HttpResponse:
    user = cast("User", request.user)
    try:
        reading = read_draft(import_, entry, user=user)
    except TooManyFiles as exc:
        reading = DraftReading(entry, [], None, profile_of(user).time_zone, problem=f"{exc}.")
        more = {**more, "status": 503}
    return _page(request, import_, reading, **more)


def _page(
    request: HttpRequest, import_: Import, reading: DraftReading, *, status: int = 200, **more: Any
) -> HttpResponse:
    user = cast("User", request.user)
    context = {
        "import": import_,
        "reading": reading,
        "entry": reading.entry,
        "groups": setting_groups(reading),
        "suggestions": suggestions(reading),
        "builtin": list(BUILTIN.values()),
        "saved": SavedProfile.objects.filter(owner=user).values_list("name", flat=True),
        "zones": time_zone_choices(reading.tz),
        "form": request.POST,
        "others": other_drafts(user).exclude(pk=import_.pk),
        **more,
    }
    is_part = HTMX in request.headers
    return render(request, "imports/_draft.html" if is_part else "imports/draft.html", context, status=status)
