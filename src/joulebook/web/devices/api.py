"""`/api/devices`: which devices one may see, what their metrics mean, and when meters were replaced.

The gate is that of the history: another's device and none at all get the same 403, and no statement
reaches telemetry before it. Who is shared with may look; only the owner changes anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError as Invalid
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import NinjaAPI, Path, Router, Schema
from ninja.errors import HttpError
from ninja.security import SessionAuth
from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)

from joulebook.telemetry.kinds.kinds import KINDS
from joulebook.telemetry.kinds.settings import MetricSettings
from joulebook.web.accounts.authentication import UserTokenAuth
from joulebook.web.api.parameters import check_names
from joulebook.web.api.problems import problem
from joulebook.web.devices.last_seen import LastSeen, last_seen
from joulebook.web.devices.meaning import NotACounter, add_replacement, change_metric, remove_replacement
from joulebook.web.devices.metric_settings import metric_settings, silence_limit
from joulebook.web.devices.models import Device, MeterReplacement
from joulebook.web.devices.presentation import device_status
from joulebook.web.devices.queries import find_visible_device, visible_devices
from joulebook.web.origins import csrf_problem
from joulebook.web.telemetry import device_series

if TYPE_CHECKING:
    KindName = str
else:
    KindName = Literal[tuple(KINDS)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""Neither `true` nor `"1"`: what is meant by them is a guess."""


Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
"""No NUL: a database of accounts may not take one."""


def _check_instant(value: object) -> object:
    """Refuse a count of seconds, which pydantic takes for an instant."""
    if not isinstance(value, str) or "T" not in value.upper():
        raise ValueError("must be a time such as 2026-11-21T09:30:00Z")
    return value


Instant = Annotated[AwareDatetime, BeforeValidator(_check_instant)]


class DeviceAnswer(Schema):
    """A device that you may see."""

    device: str = Field(description="its id")
    name: str = Field(description="what people call it; empty: its id")
    tz: str = Field(description="IANA time zone where it stands")
    mine: bool = Field(description="false where its owner shares it with you")
    silence_limit: int | None = Field(
        description="seconds without a reading after which it is silent, as its owner said; null: by default"
    )
    status: Literal["live", "silent", "waiting"] = Field(description="waiting: it never sent a reading")
    last_time: datetime | None = Field(description="time of its newest reading, of whichever metric")


class DevicesAnswer(Schema):
    """The devices that you may see."""

    devices: list[DeviceAnswer]


class MetricAnswer(Schema):
    """What a metric means, as it is in force."""

    metric: str
    display_name: str
    unit: str = Field(description="of values as they are shown")
    kind: KindName
    factor: float = Field(description="a stored value times this is shown")
    dip_tolerance: float = Field(description="share by which a counter may go back without a reset")
    guessed: list[str] = Field(
        description="which of these nobody has said: guessed from the name, or default"
    )
    replacements: int = Field(description="how many times its meter was replaced")


class MetricsAnswer(Schema):
    """All metrics of a device."""

    device: str
    metrics: list[MetricAnswer]


class MetricChange(BaseModel):
    """What is to change of a metric; what is left out stays. Null or an empty text: guess it."""

    model_config = ConfigDict(extra="forbid")

    display_name: Text | None = None
    unit: Text | None = None
    kind: KindName | Literal[""] | None = None
    factor: Number | None = Field(None, description="null: 1")
    dip_tolerance: Number | None = Field(None, description="0 to 0.99; null: 0.1")

    def changes(self) -> dict[str, Any]:
        """Return what was given, as the table has it."""
        empty = {"factor": 1.0, "dip_tolerance": None}
        return {
            field: empty.get(field, "") if value is None else value
            for field, value in self.model_dump(exclude_unset=True).items()
        }


class ReplacementAnswer(Schema):
    """Another meter took over a counter."""

    number: int = Field(description="by which it is removed")
    replaced_at: datetime
    final_register: float | None = Field(description="where the old meter stood; null: its last reading")
    start_register: float | None = Field(description="where the new one began; null: its first reading")
    note: str
    entered_at: datetime


class ReplacementsAnswer(Schema):
    """The replacements of a metric's meter, in the order of time."""

    device: str
    metric: str
    unit: str = Field(description="of the registers")
    replacements: list[ReplacementAnswer]


class NewReplacement(BaseModel):
    """Another meter took over; registers in the metric's unit, as shown."""

    model_config = ConfigDict(extra="forbid")

    replaced_at: Instant = Field(description="RFC 3339 with an offset")
    final_register: Number | None = None
    start_register: Number | None = None
    note: Text = Field("", max_length=200)


router = Router(tags=["devices"])

# Anything else in its place is a number that no replacement has, and answered behind the gate as one.
_Number = Annotated[str, WithJsonSchema({"type": "integer"})]
_LONGEST_NUMBER = 18

_Shape = TypeVar("_Shape", bound=BaseModel)

_NO_DEVICE = "no device of yours has this id"
_CHANGING = [UserTokenAuth(), SessionAuth()]
"""A page of another origin can make a browser send its cookie, but not the CSRF token."""

_GUESSED = ("display_name", "unit", "kind", "dip_tolerance")
_PROBLEMS: dict[int, str] = {
    400: "a field cannot be used; `parameter` names it",
    401: "not signed in, and no token that is in force",
    403: _NO_DEVICE,
    404: "the device has no such metric, or it no such replacement",
    409: "it contradicts what is stored",
    503: "the readings' database is unavailable",
}


def install(api: NinjaAPI) -> None:
    """Add these addresses to the API, and let refusals of its own be problem details too."""
    api.add_router("/devices", router)
    api.exception_handler(HttpError)(_refused)
    api.exception_handler(BadBody)(_bad_body)


def _refused(request: HttpRequest, exc: HttpError) -> HttpResponse:
    detail = str(exc)
    if exc.status_code == 403 and "CSRF" in detail:
        detail = csrf_problem(request) or (
            "the CSRF token is missing or wrong: send it as X-CSRFToken, or use a user's token"
        )
    return problem(exc.status_code, HTTPStatus(exc.status_code).phrase, detail)


class BadBody(Exception):
    """What was sent cannot be used; `parameter` names the field."""

    def __init__(self, parameter: str, message: str) -> None:
        super().__init__(message)
        self.parameter = parameter


def _bad_body(request: HttpRequest, exc: BadBody) -> HttpResponse:  # noqa: ARG001
    return problem(400, "Bad field", f"{exc.parameter}: {exc}", parameter=exc.parameter)


def _body(request: HttpRequest, shape: type[_Shape]) -> _Shape:
    """Return what was sent. Called behind the gate, which a parameter of the function would not be."""
    try:
        return shape.model_validate_json(request.body)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False, include_context=False)[0]
        raise BadBody(str(first["loc"][0])[:40] if first["loc"] else "body", first["msg"]) from None


def _documented(*statuses: int, body: type[BaseModel] | None = None) -> dict[str, Any]:
    """Describe refusals, and what is sent, for the API's description."""
    schema = {"type": "object", "description": "RFC 9457 problem details"}
    content = {"application/problem+json": {"schema": schema}}
    described: dict[str, Any] = {
        "responses": {code: {"description": _PROBLEMS[code], "content": content} for code in statuses}
    }
    if body is not None:
        sent = {"application/json": {"schema": body.model_json_schema()}}
        described["requestBody"] = {"required": True, "content": sent}
    return described


@router.get(
    "", response=DevicesAnswer, summary="List the devices you may see", openapi_extra=_documented(401, 503)
)
def list_devices(request: HttpRequest) -> HttpResponse:
    """Return the devices that you own or that are shared with you, with their newest readings' times."""
    check_names(request.GET)
    devices = list(visible_devices(_user(request)))
    return _answer(DevicesAnswer(devices=_devices(devices, user=_user(request))))


@router.get(
    "/{device_id}",
    response=DeviceAnswer,
    summary="Look at a device",
    openapi_extra=_documented(401, 403, 503),
)
def get_device(request: HttpRequest, device_id: str) -> HttpResponse:
    """Return one device."""
    device = _visible(request, device_id)
    return _answer(_devices([device], user=_user(request))[0])


@router.get(
    "/{device_id}/metrics",
    response=MetricsAnswer,
    summary="What a device's metrics mean",
    openapi_extra=_documented(401, 403, 503),
)
def list_metrics(request: HttpRequest, device_id: str) -> HttpResponse:
    """Return all metrics that the device has sent or that its owner has configured."""
    device = _visible(request, device_id)
    settings = metric_settings(device)
    names = sorted({*device_series(device.device_id), *settings})
    metrics = [_metric(settings[name]) for name in names]
    return _answer(MetricsAnswer(device=device.device_id, metrics=metrics))


@router.get(
    "/{device_id}/metrics/{path:metric}/replacements",
    response=ReplacementsAnswer,
    summary="When a counter's meter was replaced",
    openapi_extra=_documented(401, 403, 404, 503),
)
def list_replacements(request: HttpRequest, device_id: str, metric: Path[str]) -> HttpResponse:
    """Return the replacements of a metric's meter, in the order of time."""
    device = _visible(request, device_id)
    settings = _known_metric(device, metric)
    rows = MeterReplacement.objects.filter(metric__device=device, metric__name=metric)
    answer = ReplacementsAnswer(
        device=device.device_id,
        metric=metric,
        unit=settings.unit,
        replacements=[_replacement(row) for row in rows],
    )
    return _answer(answer)


@router.post(
    "/{device_id}/metrics/{path:metric}/replacements",
    auth=_CHANGING,
    response={201: ReplacementAnswer},
    summary="Note that a counter's meter was replaced",
    openapi_extra=_documented(400, 401, 403, 404, 409, 503, body=NewReplacement),
)
def post_replacement(request: HttpRequest, device_id: str, metric: Path[str]) -> HttpResponse:
    """Note that another meter took over; energy is right across it from the next answer on."""
    device = _owned(request, device_id)
    settings = _known_metric(device, metric)
    if not settings.kind.is_register:
        raise HttpError(
            409, f"{metric[:80]} is a {settings.kind}; only counters have meters that are replaced"
        )
    row = MeterReplacement(**_body(request, NewReplacement).model_dump())
    row.replaced_at = row.replaced_at.astimezone(UTC)
    try:
        add_replacement(device, metric, row, by=_user(request), now=timezone.now())
    except NotACounter as exc:
        raise HttpError(409, str(exc)) from None
    except Invalid as exc:
        return _invalid(exc)
    return _answer(_replacement(row), status=201)


@router.delete(
    "/{device_id}/metrics/{path:metric}/replacements/{number}",
    auth=_CHANGING,
    response={204: None},
    summary="Forget a replacement",
    openapi_extra=_documented(401, 403, 404),
)
def delete_replacement(
    request: HttpRequest, device_id: str, metric: Path[str], number: Path[_Number]
) -> HttpResponse:
    """Forget that the meter was replaced; 404 where it was not noted."""
    device = _owned(request, device_id)
    is_number = number.isascii() and number.isdecimal() and len(number) <= _LONGEST_NUMBER
    if not is_number or not remove_replacement(device, metric, int(number)):
        raise HttpError(404, f"{metric[:80]} has no replacement {number[:20]}")
    return HttpResponse(status=204)


@router.patch(
    "/{device_id}/metrics/{path:metric}",
    auth=_CHANGING,
    response=MetricAnswer,
    summary="Say what a metric means",
    openapi_extra=_documented(400, 401, 403, 404, 503, body=MetricChange),
)
def patch_metric(request: HttpRequest, device_id: str, metric: Path[str]) -> HttpResponse:
    """Change what is given and leave the rest; readings are not rewritten, so it can be changed again."""
    device = _owned(request, device_id)
    _known_metric(device, metric)
    try:
        change_metric(device, metric, _body(request, MetricChange).changes())
    except Invalid as exc:
        return _invalid(exc)
    return _answer(_metric(metric_settings(device)[metric]))


def _answer(body: Schema, *, status: int = 200) -> HttpResponse:
    return HttpResponse(body.model_dump_json(), status=status, content_type="application/json")


def _invalid(exc: Invalid) -> HttpResponse:
    """Return what the models refuse as problem details with the field's name."""
    by_field = exc.message_dict if hasattr(exc, "error_dict") else {"body": exc.messages}
    parameter, messages = next(iter(by_field.items()))
    return problem(400, "Bad field", f"{parameter}: {' '.join(messages)}", parameter=parameter)


def _user(request: HttpRequest) -> User:
    return cast("User", request.user)


def _find(request: HttpRequest, device_id: str) -> Device:
    device = find_visible_device(_user(request), device_id)
    if device is None:
        raise HttpError(403, _NO_DEVICE)
    return device


def _visible(request: HttpRequest, device_id: str) -> Device:
    device = _find(request, device_id)
    check_names(request.GET)
    return device


def _owned(request: HttpRequest, device_id: str) -> Device:
    device = _find(request, device_id)
    if device.owner_id != _user(request).pk:
        raise HttpError(403, "this device is shared with you: only its owner can change it")
    check_names(request.GET)
    return device


def _known_metric(device: Device, name: str) -> MetricSettings:
    """Return the settings of a metric that was configured or has readings, else refuse with 404."""
    settings = metric_settings(device)
    if name not in settings and name not in device_series(device.device_id):
        raise HttpError(404, f"device {device.device_id} has no metric {name[:80]!r}")
    return settings[name]


def _devices(devices: Sequence[Device], *, user: User) -> list[DeviceAnswer]:
    seen = last_seen([device.device_id for device in devices])
    now = timezone.now()
    return [_device(device, seen.get(device.device_id), user=user, now=now) for device in devices]


def _device(device: Device, seen: LastSeen | None, *, user: User, now: datetime) -> DeviceAnswer:
    time = seen.time.astimezone(UTC) if seen else None
    limit = silence_limit(device, usual=seen.usual if seen else None)
    return DeviceAnswer(
        device=device.device_id,
        name=device.name,
        tz=device.time_zone,
        mine=device.owner_id == user.pk,
        silence_limit=device.silence_limit,
        status=device_status(time, limit=limit, now=now).value,
        last_time=time,
    )


def _metric(settings: MetricSettings) -> MetricAnswer:
    return MetricAnswer(
        metric=settings.name,
        display_name=settings.display_name,
        unit=settings.unit,
        kind=settings.kind.name,
        factor=settings.factor,
        dip_tolerance=settings.dip_tolerance,
        guessed=[field for field in _GUESSED if getattr(settings, f"{field}_guessed")],
        replacements=len(settings.replacements),
    )


def _replacement(row: MeterReplacement) -> ReplacementAnswer:
    return ReplacementAnswer(
        number=row.pk,
        replaced_at=row.replaced_at,
        final_register=row.final_register,
        start_register=row.start_register,
        note=row.note,
        entered_at=row.entered_at,
    )
