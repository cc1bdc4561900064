"""`/api/imports`: upload a file, list and show imports, stop and undo them, fetch their rejected rows.

Imports have the gate of devices: a user owning not all devices of an import gets the same 403 as for a
missing import. Nothing here writes readings; a worker does.
"""

from __future__ import annotations

from django.db.models import Q
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from ninja import NinjaAPI, Router

from joulebook.web.accounts.authentication import SignedInRequest
from joulebook.web.imports.api import profiles
from joulebook.web.imports.api.access import (
    CHANGING,
    get_import_or_403,
    get_owned_device_or_403,
)
from joulebook.web.imports.api.answers import (
    DryRunAnswer,
    ImportAnswer,
    ImportsAnswer,
    QueuedAnswer,
    WholeImportAnswer,
    has_begun,
    import_answer,
    import_link,
    json_response,
    read_run_details,
    whole_import,
)
from joulebook.web.imports.api.parameters import IMPORT_PARAMETERS, LIST_PARAMETERS, read_import, read_list
from joulebook.web.imports.api.problems import described_problems, install_problems
from joulebook.web.imports.api.receiving import PART, is_form, queue_or_count, received_upload
from joulebook.web.imports.models import Import
from joulebook.web.imports.operations import cancel_import, discard_draft, undo_import
from joulebook.web.imports.queries import visible_imports
from joulebook.web.imports.rejected import rejected_csv
from joulebook.web.telemetry import telemetry_connection

router = Router(tags=["imports"])

_BINARY = {"type": "string", "format": "binary"}
_FILES = {"type": "array", "items": _BINARY}
_FORM = {"type": "object", "properties": {PART: _FILES}, "required": [PART]}


def install(api: NinjaAPI) -> None:
    """Add the addresses of imports and profiles, and their errors, to the API."""
    api.add_router("/imports", router)
    api.add_router("/import-profiles", profiles.router)
    install_problems(api)


@router.post(
    "",
    auth=CHANGING,
    response={200: DryRunAnswer, 202: QueuedAnswer},
    summary="Import a file, or several as one",
    openapi_extra={
        "parameters": IMPORT_PARAMETERS,
        "requestBody": {
            "required": True,
            "description": f"the file itself, of any type; or a form with one or more parts `{PART}`, and "
            "parameters as fields",
            "content": {
                "application/octet-stream": {"schema": _BINARY},
                "multipart/form-data": {"schema": _FORM},
            },
        },
        "responses": described_problems(400, 401, 403, 409, 413, 422, 503, 507),
    },
)
def post_import(request: SignedInRequest) -> HttpResponse:
    """Receive a file and queue its import for a worker; with dry_run=1, only return its report."""
    if not is_form(request):
        # Check all parameters before a byte of the file is written.
        get_owned_device_or_403(request, read_import(request.GET).device)
    elif "device" in request.GET:
        get_owned_device_or_403(request, request.GET["device"])
    with received_upload(request) as (upload, name, fields):
        parameters = read_import(request.GET, also=fields)
        device = get_owned_device_or_403(request, parameters.device)
        answer = queue_or_count(request.user, parameters, upload, device=device, name=parameters.name or name)
    if isinstance(answer, DryRunAnswer):
        return json_response(answer)
    response = json_response(answer, status=202)
    response["Location"] = answer.links.self
    return response


@router.get(
    "",
    response=ImportsAnswer,
    summary="List your imports",
    openapi_extra={"parameters": LIST_PARAMETERS, "responses": described_problems(400, 401, 403)},
)
def list_imports(request: SignedInRequest) -> HttpResponse:
    """Return the imports for your devices, the newest first."""
    parameters = read_list(request.GET)
    imports = visible_imports(request.user).order_by("-pk").prefetch_related("devices")
    if parameters.device:
        device = get_owned_device_or_403(request, parameters.device)
        imports = imports.filter(Q(device=device) | Q(devices=device))
    if parameters.states:
        imports = imports.filter(state__in=parameters.states)
    if parameters.before is not None:
        imports = imports.filter(pk__lt=parameters.before)
    found = list(imports.distinct()[: parameters.limit + 1])
    page = found[: parameters.limit]
    following = None
    if len(found) > len(page):
        query = request.GET.copy()
        query["before"] = str(page[-1].pk)
        following = f"{import_link()}?{query.urlencode()}"
    return json_response(ImportsAnswer(imports=[import_answer(each) for each in page], next=following))


@router.get(
    "/{int:number}",
    response=WholeImportAnswer,
    summary="Look at an import",
    openapi_extra={"responses": described_problems(401, 403, 404, 503)},
)
def get_import(request: SignedInRequest, number: int) -> HttpResponse:
    """Return an import with its report, its first problems, and its progress while it runs."""
    import_ = get_import_or_403(request, number)
    if not has_begun(import_):
        return json_response(whole_import(import_))
    with telemetry_connection() as conn:
        details = read_run_details(conn, import_)
    return json_response(whole_import(import_, details))


@router.delete(
    "/{int:number}",
    auth=CHANGING,
    response={202: ImportAnswer, 204: None},
    summary="Undo an import",
    openapi_extra={"responses": described_problems(401, 403, 404, 409)},
)
def delete_import(request: SignedInRequest, number: int) -> HttpResponse:
    """Undo an import by a worker; a draft is discarded."""
    import_ = get_import_or_403(request, number)
    if import_.state == Import.State.DRAFT:
        discard_draft(import_)
        return HttpResponse(status=204)
    undo_import(import_, by=request.user)
    return json_response(import_answer(import_), status=202)


@router.post(
    "/{int:number}/cancel",
    auth=CHANGING,
    response={202: ImportAnswer},
    summary="Stop an import",
    openapi_extra={"responses": described_problems(401, 403, 404, 409)},
)
def post_cancel(request: SignedInRequest, number: int) -> HttpResponse:
    """Stop an import; readings stored until then stay, and can be undone."""
    import_ = get_import_or_403(request, number)
    cancel_import(import_)
    return json_response(import_answer(import_), status=202)


@router.get(
    "/{int:number}/rejected.csv",
    summary="Every row and cell not stored",
    openapi_extra={
        "responses": {
            200: {"description": "the list", "content": {"text/csv": {"schema": {"type": "string"}}}},
            **described_problems(401, 403, 404, 503),
        }
    },
)
def get_rejected(request: SignedInRequest, number: int) -> HttpResponseBase:
    """Return the rows and cells not stored as CSV, in the order of lines: line, column, code, text, row."""
    return rejected_csv(get_import_or_403(request, number), person=request.user.pk)
