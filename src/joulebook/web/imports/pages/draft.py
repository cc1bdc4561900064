"""The page of a draft: preview and settings, redrawn after each entry until it is queued or discarded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import wraps
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
from joulebook.telemetry.kinds.kinds import KINDS
from joulebook.web.accounts.authentication import SignedInRequest
from joulebook.web.accounts.forms import time_zone_choices
from joulebook.web.accounts.operations import profile_of
from joulebook.web.devices.operations import UnableToCreateDevice, create_device
from joulebook.web.imports.models import Import, SavedProfile
from joulebook.web.imports.operations import (
    AlreadyImported,
    ImportOrder,
    QuotaReached,
    UnableToImport,
    discard_draft,
    queue_import,
)
from joulebook.web.imports.pages.entry import BadEntry, DraftEntry
from joulebook.web.imports.pages.preview import DraftReading, read_draft
from joulebook.web.imports.pages.settings import setting_groups, suggestions
from joulebook.web.imports.profiles import UnableToSaveProfile, save_profile
from joulebook.web.imports.queries import find_visible_import
from joulebook.web.imports.uploads.reading import TooManyFiles

HTMX = "HX-Request"
"""The header of htmx's requests: they ask for a part of the page."""

MOST_ALIKE = 50
"""Other drafts read in one request."""

MOST_SECONDS = 20
"""Processor time for reading other drafts; the rest keeps waiting for the user."""

_SESSION_PREFIX = "draft-"
_MOST_SAVED = 200_000
"""Characters of a form saved in a session."""

_MOST_SAVED_TOGETHER = 1_000_000
"""Characters of all forms saved in a session: every request reads the session."""

_View = Callable[[SignedInRequest, int], HttpResponse]


def part_login_required(view: _View) -> _View:
    """Require sign-in; a request for a part of the page reloads the whole page for that."""
    guarded = login_required(view)

    @wraps(view)
    def wrapped(request: HttpRequest, number: int) -> HttpResponse:
        if HTMX in request.headers and not request.user.is_authenticated:
            return HttpResponse(headers={"HX-Refresh": "true"})
        return guarded(cast("SignedInRequest", request), number)

    return wrapped


@dataclass
class OtherDrafts:
    """A user's other drafts: queued with the same settings, or still waiting for the user."""

    queued: list[Import] = field(default_factory=list)
    waiting: list[Import] = field(default_factory=list)


def other_drafts(user: User) -> QuerySet[Import]:
    """Return the user's drafts."""
    return Import.objects.filter(user=user, state=Import.State.DRAFT).select_related("device")


def queue_alike(user: User, entry: DraftEntry, order: ImportOrder) -> OtherDrafts:
    """Queue each draft of the user with the profile of `order`, when read by `entry`.

    Only the encoding, and the first lines of header and data, may differ. Files imported before stay
    waiting.
    """
    done = OtherDrafts()
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
    """Return the profile without the settings that may differ between similar files."""
    header = None if profile.header_line is None else 0
    return replace(profile, encoding="", header_line=header, first_data_line=0)


def get_import_or_404(request: SignedInRequest, number: int) -> Import:
    """Return the import if the user may see it; raises `Http404` for another user's and for a missing one."""
    import_ = find_visible_import(request.user, number)
    if import_ is None:
        raise Http404("There is no such import, or you may not see it.")
    return import_


def draft_page(request: SignedInRequest, import_: Import) -> HttpResponse:
    """Show a draft with the entry saved in the session, or with the guess."""
    saved = request.session.get(_session_key(import_))
    entry = DraftEntry.of_draft(import_) if saved is None else DraftEntry.of_form(QueryDict(saved))
    return _shown(request, import_, entry)


@part_login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def preview(request: SignedInRequest, number: int) -> HttpResponse:
    """Show the draft read by the sent entry; htmx gets only the changing part of the page.

    The field `do` first creates a device or saves a profile.
    """
    import_ = get_import_or_404(request, number)
    if request.method != "POST" or import_.state != Import.State.DRAFT:
        return _redirect(request, import_)
    try:
        entry = DraftEntry.of_form(request.POST)
    except BadEntry as exc:
        return _shown(request, import_, DraftEntry.of_draft(import_), problem=str(exc), status=400)
    _save_form(request, import_)
    match request.POST.get("do"):
        case "create-device":
            return _create_device(request, import_, entry)
        case "save-profile":
            return _save_profile(request, import_, entry)
    return _shown(request, import_, entry)


@login_required
@require_POST
def queue(request: SignedInRequest, number: int) -> HttpResponse:
    """Queue a draft as read by the sent entry; show the page again with obstacles."""
    import_ = get_import_or_404(request, number)
    if import_.state != Import.State.DRAFT:
        return _redirect(request, import_)
    try:
        entry = DraftEntry.of_form(request.POST)
        reading = read_draft(import_, entry, user=request.user)
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
    request.session.pop(_session_key(import_), None)
    if "alike" in request.POST:
        _import_alike(request, import_, entry, order)
    return redirect("import", number)


@login_required
@require_POST
def discard(request: SignedInRequest, number: int) -> HttpResponse:
    """Discard a draft and its file."""
    import_ = get_import_or_404(request, number)
    try:
        discard_draft(import_)
    except UnableToImport as exc:
        messages.error(request, f"{import_.file_name} stays: {exc}.")
        return redirect("import", number)
    request.session.pop(_session_key(import_), None)
    messages.success(request, f"{import_.file_name} is discarded; nothing was stored.")
    return redirect("imports")


def _import_alike(request: SignedInRequest, import_: Import, entry: DraftEntry, order: ImportOrder) -> None:
    """Queue the user's other drafts with the same settings, and name those still waiting."""
    done = queue_alike(request.user, entry, order)
    for each in done.queued:
        request.session.pop(_session_key(each), None)
    if done.queued:
        names = ", ".join(each.file_name for each in done.queued)
        messages.success(request, f"Imported with the same settings: {names}.")
    if done.waiting:
        names = ", ".join(each.file_name for each in done.waiting)
        messages.warning(
            request, f"Read differently from {import_.file_name}, and so waiting for you: {names}."
        )


def _save_form(request: SignedInRequest, import_: Import, **changed: str) -> None:
    """Save the form in the session, for loading the page again."""
    form = request.POST.copy()
    for name in changed:
        form[name] = changed[name]
    for name in ("csrfmiddlewaretoken", "do"):
        form.pop(name, None)
    text = form.urlencode()
    session, name = request.session, _session_key(import_)
    if len(text) > _MOST_SAVED:
        return
    session.pop(name, None)
    session[name] = text
    saved = [each for each in session.keys() if each.startswith(_SESSION_PREFIX)]  # noqa: SIM118 - a session has no iterator
    size = sum(len(session[each]) for each in saved)
    for oldest in saved:
        if size <= _MOST_SAVED_TOGETHER:
            break
        size -= len(session.pop(oldest))


def _session_key(import_: Import) -> str:
    return f"{_SESSION_PREFIX}{import_.pk}"


def _redirect(request: SignedInRequest, import_: Import) -> HttpResponse:
    """Redirect to the page of the import: it is not a draft any more."""
    response = redirect("import", import_.pk)
    if HTMX in request.headers:
        return HttpResponse(headers={"HX-Redirect": response["Location"]})
    return response


def _create_device(request: SignedInRequest, import_: Import, entry: DraftEntry) -> HttpResponse:
    form = request.POST
    try:
        device = create_device(
            form.get("new-id", "").strip(),
            owner=request.user,
            name=form.get("new-name", "").strip(),
            time_zone=form.get("new-zone", "UTC"),
            most=settings.CONFIG.user_devices,
        )
    except UnableToCreateDevice as exc:
        return _shown(request, import_, entry, problem=str(exc), status=400)
    _save_form(request, import_, device=device.device_id)
    entry = replace(entry, device=device.device_id)
    return _shown(request, import_, entry, done=f"The device {device} is created and chosen for this file.")


def _save_profile(request: SignedInRequest, import_: Import, entry: DraftEntry) -> HttpResponse:
    user = request.user
    name = request.POST.get("profile-name", "").strip()
    try:
        reading = read_draft(import_, entry, user=user)
        if reading.profile is None or not reading.profile.values:
            return _page(request, import_, reading, status=400, problem="There is nothing to save yet.")
        save_profile(user, name, reading.profile)
    except (TooManyFiles, UnableToSaveProfile, UnusableProfile) as exc:
        return _shown(request, import_, entry, problem=str(exc), status=400)
    return _page(request, import_, reading, done=f"Saved as the profile “{name}”, for similar files.")


def _shown(request: SignedInRequest, import_: Import, entry: DraftEntry, **more: Any) -> HttpResponse:
    user = request.user
    try:
        reading = read_draft(import_, entry, user=user)
    except TooManyFiles as exc:
        reading = DraftReading(entry, [], None, profile_of(user).time_zone, problem=f"{exc}.")
        more = {**more, "status": 503}
    return _page(request, import_, reading, **more)


def _page(
    request: SignedInRequest, import_: Import, reading: DraftReading, *, status: int = 200, **more: Any
) -> HttpResponse:
    user = request.user
    context = {
        "import": import_,
        "reading": reading,
        "entry": reading.entry,
        "groups": setting_groups(reading),
        "suggestions": suggestions(reading),
        "kinds": list(KINDS),
        "builtin": list(BUILTIN.values()),
        "saved": SavedProfile.objects.filter(owner=user).values_list("name", flat=True),
        "zones": time_zone_choices(reading.tz),
        "form": request.POST,
        "others": other_drafts(user).exclude(pk=import_.pk),
        **more,
    }
    is_part = HTMX in request.headers
    return render(request, "imports/_draft.html" if is_part else "imports/draft.html", context, status=status)
