"""`/api/import-profiles`: how files of a kind are read, saved under names of one's own."""

from __future__ import annotations

from urllib.parse import quote

import msgspec
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from ninja import Router
from ninja.errors import HttpError

from joulebook.telemetry.files.builtin import BUILTIN
from joulebook.telemetry.files.errors import UnusableProfile
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.web.api.answers import encode
from joulebook.web.api.parameters import check_names
from joulebook.web.imports.api import openapi as described
from joulebook.web.imports.api.answers import BuiltinAnswer, ProfileEntry, ProfilesAnswer
from joulebook.web.imports.api.parameters import given_parameters
from joulebook.web.imports.api.routes import CHANGING, answered, user_of
from joulebook.web.imports.models import SavedProfile
from joulebook.web.imports.profiles import UnableToSaveProfile, remove_profile, save_profile

router = Router(tags=["import profiles"])


@router.get(
    "",
    response=ProfilesAnswer,
    summary="List the profiles that you may name",
    openapi_extra=described.LIST_PROFILES,
)
def list_profiles(request: HttpRequest) -> HttpResponse:
    """Return the built-in profiles, and those that you have saved."""
    check_names(request.GET)
    entries = [
        ProfileEntry(name=each.name, built_in=True, about=each.about, created_at=None, link=_link(each.name))
        for each in BUILTIN.values()
    ]
    entries += [
        ProfileEntry(
            name=each.name, built_in=False, about="", created_at=each.created_at, link=_link(each.name)
        )
        for each in SavedProfile.objects.filter(owner=user_of(request))
    ]
    return answered(ProfilesAnswer(profiles=entries))


@router.get("/{name}", summary="Look at a profile", openapi_extra=described.GET_PROFILE)
def get_profile(request: HttpRequest, name: str) -> HttpResponse:
    """Return a saved profile as it was saved, or what a built-in one answers as parameters of an import."""
    check_names(request.GET)
    if name in BUILTIN:
        built_in = BUILTIN[name]
        parameters = given_parameters(built_in.given)
        return answered(BuiltinAnswer(name=name, built_in=True, about=built_in.about, parameters=parameters))
    saved = SavedProfile.objects.filter(owner=user_of(request), name=name).first()
    if saved is None:
        raise _not_there(name)
    return _json(saved.profile)


@router.put("/{name}", auth=CHANGING, summary="Save a profile", openapi_extra=described.PUT_PROFILE)
def put_profile(request: HttpRequest, name: str) -> HttpResponse:
    """Save a profile under a name, in place of the one that has it. What was imported by that stays."""
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
        raise UnusableProfile("the profile's entries lie too deep in each other") from None
    is_new = save_profile(user_of(request), name, profile)
    saved = SavedProfile.objects.get(owner=user_of(request), name=name)
    return _json(saved.profile, status=201 if is_new else 200)


@router.delete(
    "/{name}",
    auth=CHANGING,
    response={204: None},
    summary="Remove a profile",
    openapi_extra=described.DELETE_PROFILE,
)
def delete_profile(request: HttpRequest, name: str) -> HttpResponse:
    """Remove a profile; what was imported by it stays."""
    check_names(request.GET)
    if name in BUILTIN:
        raise UnableToSaveProfile(f"{name!r} is built in and stays")
    if not remove_profile(user_of(request), name):
        raise _not_there(name)
    return HttpResponse(status=204)


def _json(profile: object, *, status: int = 200) -> HttpResponse:
    return HttpResponse(encode(profile), status=status, content_type="application/json")


def _link(name: str) -> str:
    return f"/api/import-profiles/{quote(name, safe='')}"


def _not_there(name: str) -> HttpError:
    return HttpError(404, f"there is no profile {name[:80]!r} of yours")
