"""`/api/imports`: bring a file, look what became of it, stop it, undo it, and fetch what was not stored.

The gate is that of the devices: who does not own each device that an import is for gets the same 403 as
for none at all. Nothing here writes readings; a worker does what is asked for.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import cast

from django.contrib.auth.models import User
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from ninja import NinjaAPI, Router, Schema
from ninja.errors import HttpError

from joulebook.web.accounts.authentication import UserTokenAuth
from joulebook.web.api.parameters import check_names
from joulebook.web.devices.models import Device
from joulebook.web.devices.queries import find_visible_device
from joulebook.web.imports.api import openapi as described
from joulebook.web.imports.api import problems
from joulebook.web.imports.api.answers import (
    DryRunAnswer,
    ImportAnswer,
    ImportsAnswer,
    QueuedAnswer,
    WholeImportAnswer,
    import_answer,
    is_begun,
    link,
    read_kept,
    whole_import,
)
from joulebook.web.imports.api.parameters import read_import, read_list
from joulebook.web.imports.api.receiving import SessionOfAPage, bring, is_form, received
from joulebook.web.imports.api.rejected import rejected_rows
from joulebook.web.imports.models import Import
from joulebook.web.imports.operations import cancel_import, discard_draft, undo_import
from joulebook.web.imports.queries import find_visible_import, visible_imports
from joulebook.web.telemetry import telemetry_connection

router = Router(tags=["imports"])

CHANGING = [UserTokenAuth(), SessionOfAPage()]
_NO_DEVICE = "no device of yours has this id"
_NO_IMPORT = "no import of yours has this number"


def install(api: NinjaAPI) -> None:
    """Add these addresses to the API, and let what keeps a file out be problem details."""
    # Only here, for the addresses of profiles import what is above.
    from joulebook.web.imports.api import profiles as profiles_api

    api.add_router("/imports", router)
    api.add_router("/import-profiles", profiles_api.router)
    problems.install(api)


@router.post(
    "",
    auth=CHANGING,
    response={200: DryRunAnswer, 202: QueuedAnswer},
    summary="Import a file",
    openapi_extra=described.POST,
)
def post_import(request: HttpRequest) -> HttpResponse:
    """Take in a file and have it imported by a worker; with dry_run=1, say what that would do."""
    if not is_form(request):
        # What can be refused without the file is, before a byte of it is written.
        owned_device(request, read_import(request.GET).device)
    elif "device" in request.GET:
        owned_device(request, request.GET["device"])
    with received(request) as (upload, name, fields):
        asked = read_import(request.GET, also=fields)
        device = owned_device(request, asked.device)
        answer = bring(user_of(request), asked, upload, device=device, name=asked.name or name)
    if isinstance(answer, DryRunAnswer):
        return answered(answer)
    response = answered(answer, status=202)
    response["Location"] = answer.links.self
    return response


@router.get("", response=ImportsAnswer, summary="List your imports", openapi_extra=described.LIST)
def list_imports(request: HttpRequest) -> HttpResponse:
    """Return the imports for your devices, the newest first."""
    asked = read_list(request.GET)
    imports = visible_imports(request.user).order_by("-pk").prefetch_related("devices")
    if asked.device:
        device = owned_device(request, asked.device)
        imports = imports.filter(Q(device=device) | Q(devices=device))
    if asked.states:
        imports = imports.filter(state__in=asked.states)
    if asked.before is not None:
        imports = imports.filter(pk__lt=asked.before)
    found = list(imports.distinct()[: asked.limit + 1])
    shown = found[: asked.limit]
    following = None
    if len(found) > len(shown):
        query = request.GET.copy()
        query["before"] = str(shown[-1].pk)
        following = f"{link()}?{query.urlencode()}"
    return answered(ImportsAnswer(imports=[import_answer(each) for each in shown], next=following))


@router.get(
    "/{int:number}",
    response=WholeImportAnswer,
    summary="Look at an import",
    openapi_extra=described.GET,
)
def get_import(request: HttpRequest, number: int) -> HttpResponse:
    """Return an import with its progress while it runs, its account, and the first problems."""
    import_ = _visible(request, number)
    if not is_begun(import_):
        return answered(whole_import(import_))
    with telemetry_connection() as conn:
        kept = read_kept(conn, import_)
    return answered(whole_import(import_, kept))


@router.delete(
    "/{int:number}",
    auth=CHANGING,
    response={202: ImportAnswer, 204: None},
    summary="Undo an import",
    openapi_extra=described.DELETE,
)
def delete_import(request: HttpRequest, number: int) -> HttpResponse:
    """Have what an import has stored taken back; a draft is discarded."""
    import_ = _visible(request, number)
    if import_.state == Import.State.DRAFT:
        discard_draft(import_)
        return HttpResponse(status=204)
    undo_import(import_, by=user_of(request))
    return answered(import_answer(import_), status=202)


@router.post(
    "/{int:number}/cancel",
    auth=CHANGING,
    response={202: ImportAnswer},
    summary="Stop an import",
    openapi_extra=described.CANCEL,
)
def post_cancel(request: HttpRequest, number: int) -> HttpResponse:
    """Have an import stop; what it has stored until then stays, and can be undone."""
    import_ = _visible(request, number)
    cancel_import(import_)
    return answered(import_answer(import_), status=202)


@router.get(
    "/{int:number}/rejected.csv",
    summary="Every row and cell that was not stored",
    openapi_extra=described.REJECTED,
)
def get_rejected(request: HttpRequest, number: int) -> HttpResponseBase:
    """Return what was not stored as CSV, in the order of lines: line, column, code, text, row."""
    return rejected_rows(_visible(request, number), person=user_of(request).pk)


def answered(body: Schema, *, status: int = HTTPStatus.OK) -> HttpResponse:
    """Return an answer of the API."""
    return HttpResponse(body.model_dump_json(), status=status, content_type="application/json")


def user_of(request: HttpRequest) -> User:
    """Return who asks; they are known here."""
    return cast("User", request.user)


def owned_device(request: HttpRequest, device_id: str) -> Device:
    """Return a device of the user's; refuse with 403 another's and none at all."""
    device = find_visible_device(request.user, device_id)
    if device is None:
        raise HttpError(403, _NO_DEVICE)
    if device.owner_id != user_of(request).pk:
        raise HttpError(403, "this device is shared with you: only its owner can import files for it")
    return device


def _visible(request: HttpRequest, number: int) -> Import:
    import_ = find_visible_import(request.user, number)
    if import_ is None:
        raise HttpError(403, _NO_IMPORT)
    check_names(request.GET)
    return import_
