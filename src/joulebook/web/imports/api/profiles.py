"""`/api/import-profiles`: reading settings for files of one kind, saved under names."""

from __future__ import annotations

from urllib.parse import quote

import msgspec
from django.core.exceptions import RequestDataTooBig
from django.http import HttpResponse
from ninja import Router
from ninja.errors import HttpError

from joulebook.telemetry.files.builtin import BUILTIN
from joulebook.telemetry.files.errors import UnusableProfile
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.web.accounts.authentication import SignedInRequest
from joulebook.web.api.answers import encode
from joulebook.web.api.parameters import check_names
from joulebook.web.imports.api.access import CHANGING
from joulebook.web.imports.api.answers import BuiltinAnswer, ProfileEntry, ProfilesAnswer, json_response
from joulebook.web.imports.api.problems import described_problems
from joulebook.web.imports.models import SavedProfile
from joulebook.web.imports.profiles import UnableToSaveProfile, remove_profile, save_profile

router = Router(tags=["import profiles"])

_PROFILE = {
    "application/json": {
        "schema": {"type": "object", "description": "in the format of `joulebook import --save-profile`"}
    }
}


@router.get(
    "",
    response=ProfilesAnswer,
    summary="List the profiles available to you",
    openapi_extra={"responses": described_problems(401)},
)
def list_profiles(request: SignedInRequest) -> HttpResponse:
    """Return the built-in profiles, and your saved ones."""
    check_names(request.GET)
    entries = [
        ProfileEntry(name=each.name, built_in=True, about=each.about, created_at=None, link=_link(each.name))
        for each in BUILTIN.values()
    ]
    entries += [
        ProfileEntry(
            name=each.name, built_in=False, about="", created_at=each.created_at, link=_link(each.name)
        )
        for each in SavedProfile.objects.filter(owner=request.user)
    ]
    return json_response(ProfilesAnswer(profiles=entries))


@router.get(
    "/{name}",
    summary="Look at a profile",
    openapi_extra={
        "responses": {
            200: {"description": "the profile; a built-in one as parameters", "content": _PROFILE},
            **described_problems(401, 404),
        }
    },
)
def get_profile(request: SignedInRequest, name: str) -> HttpResponse:
    """Return a saved profile unchanged, or a built-in one as parameters of an import."""
    check_names(request.GET)
    if name in BUILTIN:
        built_in = BUILTIN[name]
        parameters = built_in.given.texts()
        return json_response(
            BuiltinAnswer(name=name, built_in=True, about=built_in.about, parameters=parameters)
        )
    saved = SavedProfile.objects.filter(owner=request.user, name=name).first()
    if saved is None:
        raise _missing(name)
    return _json(saved.profile)


@router.put(
    "/{name}",
    auth=CHANGING,
    summary="Save a profile",
    openapi_extra={
        "requestBody": {"required": True, "content": _PROFILE},
        "responses": {
            200: {"description": "saved in place of an earlier one", "content": _PROFILE},
            201: {"description": "saved", "content": _PROFILE},
            **described_problems(400, 401, 403, 409, 413),
        },
    },
)
def put_profile(request: SignedInRequest, name: str) -> HttpResponse:
    """Save a profile, replacing an earlier one of this name. Imported readings stay."""
    check_names(request.GET)
    try:
        stored = msgspec.json.decode(request.body)
    except RequestDataTooBig:
        raise HttpError(413, "a profile has at most 2.5 MB; is it the file to be imported?") from None
    except (msgspec.DecodeError, RecursionError) as exc:
        raise HttpError(400, f"the body is no JSON: {exc}") from None
    try:
        profile = ImportProfile.from_json(stored)
    except RecursionError:
        raise UnusableProfile("the profile's entries are nested too deeply") from None
    is_new = save_profile(request.user, name, profile)
    saved = SavedProfile.objects.get(owner=request.user, name=name)
    return _json(saved.profile, status=201 if is_new else 200)


@router.delete(
    "/{name}",
    auth=CHANGING,
    response={204: None},
    summary="Remove a profile",
    openapi_extra={"responses": described_problems(401, 403, 404, 409)},
)
def delete_profile(request: SignedInRequest, name: str) -> HttpResponse:
    """Remove a profile; imported readings stay."""
    check_names(request.GET)
    if name in BUILTIN:
        raise UnableToSaveProfile(f"{name!r} is built in and stays")
    if not remove_profile(request.user, name):
        raise _missing(name)
    return HttpResponse(status=204)


def _json(profile: object, *, status: int = 200) -> HttpResponse:
    return HttpResponse(encode(profile), status=status, content_type="application/json")


def _link(name: str) -> str:
    return f"/api/import-profiles/{quote(name, safe='')}"


def _missing(name: str) -> HttpError:
    return HttpError(404, f"there is no profile {name[:80]!r} of yours")
