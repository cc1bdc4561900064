"""`/api/devices`: the visible devices, the meaning of their metrics, their meters' replacements and suspects.

A device is read by its owner and the users sharing it, and changed by its owner alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Literal

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from ninja import Path, Router, Schema
from ninja.errors import HttpError
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from joulebook.telemetry.kinds.kinds import STATE
from joulebook.telemetry.kinds.settings import MetricSettings
from joulebook.web.accounts.authentication import SignedInRequest, authentication
from joulebook.web.api.parameters import StrictBody, StrictQuery, check_names
from joulebook.web.api.problems import documented_problems
from joulebook.web.devices.gate import DeviceRequest, own_device, visible_device
from joulebook.web.devices.meanings import (
    Instant,
    MetricAnswer,
    MetricChange,
    Number,
    OneMetricAnswer,
    Text,
    current_state,
    metric_answer,
)
from joulebook.web.devices.models import Device, MeterReplacement
from joulebook.web.devices.operations import (
    NotACounter,
    add_replacement,
    change_metric,
    decide_suspect,
    remove_replacement,
)
from joulebook.web.devices.queries import metric_settings, silence_limit, visible_devices
from joulebook.web.devices.status import device_status, last_seen
from joulebook.web.devices.suspects import (
    SuspectDecision,
    SuspectsAnswer,
    SuspectsQuery,
    is_reading,
    read_time,
    suspects_answer,
    suspects_of,
    traps_of,
)
from joulebook.web.telemetry import device_series


class DeviceAnswer(Schema):
    """A visible device."""

    device: str = Field(description="its id")
    name: str = Field(description="its name for people; empty: its id")
    tz: str = Field(description="IANA time zone of its place")
    mine: bool = Field(description="false if its owner shares it with you")
    silence_limit: int | None = Field(
        description="seconds without a reading before it is silent, set by its owner; null: the default"
    )
    status: Literal["live", "silent", "waiting"] = Field(description="waiting: it never sent a reading")
    last_time: datetime | None = Field(description="time of the newest reading of any metric")


class DevicesAnswer(Schema):
    """The visible devices."""

    devices: list[DeviceAnswer]


class MetricsAnswer(Schema):
    """All metrics of a device."""

    device: str
    metrics: list[MetricAnswer]


class ReplacementAnswer(Schema):
    """A replacement of a counter's meter."""

    number: int = Field(description="for its removal")
    replaced_at: datetime
    final_register: float | None = Field(description="the old meter's last register; null: its last reading")
    start_register: float | None = Field(
        description="the new meter's first register; null: its first reading"
    )
    note: str
    entered_at: datetime


class ReplacementsAnswer(Schema):
    """The replacements of a metric's meter, in the order of time."""

    device: str
    metric: str
    unit: str = Field(description="of the registers")
    replacements: list[ReplacementAnswer]


class Units(BaseModel):
    """Units of metrics by name."""

    model_config = ConfigDict(extra="forbid")

    units: dict[str, Text] = Field(description='such as {"power": "kW"}', min_length=1, max_length=1000)


class NewReplacement(BaseModel):
    """A replacement of a counter's meter; registers are in the metric's unit, as shown."""

    model_config = ConfigDict(extra="forbid")

    replaced_at: Instant = Field(description="RFC 3339 with an offset")
    final_register: Number | None = None
    start_register: Number | None = None
    note: Text = Field("", max_length=200)


router = Router(tags=["devices"], auth=authentication(visible_device))
_CHANGE = authentication(own_device, changes=True)

# Any text here is only a number without a replacement: 404 behind the gate, not 400 before it.
_Number = Annotated[str, WithJsonSchema({"type": "integer"})]
_LONGEST_NUMBER = 18

_problems = partial(
    documented_problems,
    texts={
        400: "a field cannot be used; `parameter` names it",
        404: "the device has no such metric, or the metric no such replacement",
        409: "it contradicts stored data",
    },
)


@router.get(
    "",
    auth=authentication(),
    response=DevicesAnswer,
    summary="List the devices you may see",
    openapi_extra=_problems(401, 503),
)
def list_devices(request: SignedInRequest) -> DevicesAnswer:
    """Return your own devices and those shared with you, with the time of their newest reading."""
    check_names(request.GET)
    return DevicesAnswer(devices=_devices(list(visible_devices(request.user)), user=request.user))


@router.get(
    "/{device_id}", response=DeviceAnswer, summary="Look at a device", openapi_extra=_problems(401, 403, 503)
)
def get_device(request: DeviceRequest, device_id: str) -> DeviceAnswer:  # noqa: ARG001
    """Return one device."""
    check_names(request.GET)
    return _devices([request.auth], user=request.user)[0]


@router.get(
    "/{device_id}/metrics",
    response=MetricsAnswer,
    summary="What a device's metrics mean",
    openapi_extra=_problems(401, 403, 503),
)
def list_metrics(request: DeviceRequest, device_id: str) -> MetricsAnswer:
    """Return all metrics with readings or settings."""
    check_names(request.GET)
    series = device_series(device_id)
    settings = metric_settings(request.auth, series)
    names = sorted({*series, *settings})
    return MetricsAnswer(device=device_id, metrics=[metric_answer(settings[name]) for name in names])


@router.put(
    "/{device_id}/metrics",
    auth=_CHANGE,
    response=MetricsAnswer,
    summary="Set the units of metrics",
    openapi_extra=_problems(400, 401, 403, 404, 503),
)
def put_metrics(
    request: DeviceRequest, device_id: str, units: Annotated[Units, StrictBody(...)]
) -> MetricsAnswer:
    """Set the units of several metrics, all or none. An empty text restores the device's unit, or a guess."""
    series = device_series(device_id)
    settings = metric_settings(request.auth, series)
    for name in units.units:
        if name not in settings and name not in series:
            raise HttpError(404, f"device {device_id} has no metric {name[:80]!r}")
    with transaction.atomic():
        for name, unit in units.units.items():
            change_metric(request.auth, name, {"unit": unit}, settles=settings[name].unit_refused)
    changed = metric_settings(request.auth, series)
    return MetricsAnswer(device=device_id, metrics=[metric_answer(changed[name]) for name in units.units])


@router.get(
    "/{device_id}/metrics/{path:metric}/replacements",
    response=ReplacementsAnswer,
    summary="When a counter's meter was replaced",
    openapi_extra=_problems(401, 403, 404, 503),
)
def list_replacements(request: DeviceRequest, device_id: str, metric: Path[str]) -> ReplacementsAnswer:
    """Return the replacements of a metric's meter, in the order of time."""
    check_names(request.GET)
    settings = _known_metric(request.auth, metric)
    rows = MeterReplacement.objects.filter(metric__device=request.auth, metric__name=metric)
    return ReplacementsAnswer(
        device=device_id,
        metric=metric,
        unit=settings.unit,
        replacements=[_replacement(row) for row in rows],
    )


@router.post(
    "/{device_id}/metrics/{path:metric}/replacements",
    auth=_CHANGE,
    response={201: ReplacementAnswer},
    summary="Note that a counter's meter was replaced",
    openapi_extra=_problems(400, 401, 403, 404, 409, 503),
)
def post_replacement(
    request: DeviceRequest,
    device_id: str,  # noqa: ARG001
    metric: Path[str],
    replacement: Annotated[NewReplacement, StrictBody(...)],
) -> ReplacementAnswer:
    """Store a replacement; from the next answer on energy is right across it."""
    settings = _known_metric(request.auth, metric)
    if not settings.kind.is_register:
        raise HttpError(
            409, f"{metric[:80]} is a {settings.kind}; only counters have meters that are replaced"
        )
    row = MeterReplacement(**replacement.model_dump())
    row.replaced_at = row.replaced_at.astimezone(UTC)
    try:
        add_replacement(request.auth, metric, row, by=request.user, now=timezone.now())
    except NotACounter as exc:
        raise HttpError(409, str(exc)) from None
    return _replacement(row)


@router.delete(
    "/{device_id}/metrics/{path:metric}/replacements/{number}",
    auth=_CHANGE,
    response={204: None},
    summary="Forget a replacement",
    openapi_extra=_problems(401, 403, 404),
)
def delete_replacement(
    request: DeviceRequest,
    device_id: str,  # noqa: ARG001
    metric: Path[str],
    number: Path[_Number],
) -> None:
    """Delete a replacement; 404 if there is none with this number."""
    check_names(request.GET)
    is_number = number.isascii() and number.isdecimal() and len(number) <= _LONGEST_NUMBER
    if not is_number or not remove_replacement(request.auth, metric, int(number)):
        raise HttpError(404, f"{metric[:80]} has no replacement {number[:20]}")


@router.get(
    "/{device_id}/metrics/{path:metric}/suspects",
    response=SuspectsAnswer,
    summary="What is suspicious about a counter",
    openapi_extra=_problems(400, 401, 403, 404, 409, 503),
)
def list_suspects(
    request: DeviceRequest,
    device_id: str,  # noqa: ARG001
    metric: Path[str],
    asked: Annotated[SuspectsQuery, StrictQuery(...)],
) -> SuspectsAnswer:
    """Return glitches, resets and rises above the greatest believed one, the newest first."""
    settings = _known_counter(request.auth, metric)
    found = suspects_of(request.auth, metric, *asked.within(), most=asked.limit)
    return suspects_answer(request.auth, metric, settings.unit, found, traps_of(request.auth, metric))


@router.post(
    "/{device_id}/metrics/{path:metric}/suspects/{time}",
    auth=_CHANGE,
    response={204: None},
    summary="Ignore or confirm a suspicious reading of a counter",
    openapi_extra=_problems(400, 401, 403, 404, 409, 503),
)
def post_decision(
    request: DeviceRequest,
    device_id: str,
    metric: Path[str],
    time: Path[str],
    answer: Annotated[SuspectDecision, StrictBody(...)],
) -> None:
    """Store the decision about the reading at this time; 404 if the counter has none then.

    The next answer counts by it. Stored readings stay.
    """
    _known_counter(request.auth, metric)
    at, series = read_time(time), device_series(device_id).get(metric)
    if at is None or series is None or not is_reading(series, at):
        raise HttpError(404, f"{metric[:80]} has no reading at {time[:40]}")
    is_ignored = {"ignore": True, "confirm": False, "none": None}[answer.decision]
    decide_suspect(request.auth, metric, at, is_ignored=is_ignored, by=request.user, now=timezone.now())


@router.get(
    "/{device_id}/metrics/{path:metric}",
    response=OneMetricAnswer,
    summary="What a metric means, and the state now",
    openapi_extra=_problems(401, 403, 404, 503),
)
def get_metric(request: DeviceRequest, device_id: str, metric: Path[str]) -> OneMetricAnswer:
    """Return the settings of a metric; of a state also the newest value, and since when it holds."""
    check_names(request.GET)
    settings = _known_metric(request.auth, metric)
    state = current_state(device_id, settings) if settings.kind is STATE else None
    return OneMetricAnswer(**metric_answer(settings).dict(), state=state)


@router.patch(
    "/{device_id}/metrics/{path:metric}",
    auth=_CHANGE,
    response=MetricAnswer,
    summary="Say what a metric means",
    openapi_extra=_problems(400, 401, 403, 404, 503),
)
def patch_metric(
    request: DeviceRequest,
    device_id: str,  # noqa: ARG001
    metric: Path[str],
    change: Annotated[MetricChange, StrictBody(...)],
) -> MetricAnswer:
    """Change the given fields and leave the rest. Stored readings stay: each change can be undone."""
    settles = _known_metric(request.auth, metric).unit_refused
    change_metric(
        request.auth, metric, change.changes(), settles=settles, by=request.user, now=timezone.now()
    )
    return metric_answer(_known_metric(request.auth, metric))


def _known_counter(device: Device, name: str) -> MetricSettings:
    """Return the settings of a counter. Raises `HttpError` 409 for another kind."""
    settings = _known_metric(device, name)
    if not settings.kind.is_register:
        raise HttpError(409, f"{name[:80]} is of the kind {settings.kind}; only counters have suspects")
    return settings


def _known_metric(device: Device, name: str) -> MetricSettings:
    """Return the settings of a metric. Raises `HttpError` 404 without readings and settings."""
    series = device_series(device.device_id)
    settings = metric_settings(device, series)
    if name not in settings and name not in series:
        raise HttpError(404, f"device {device.device_id} has no metric {name[:80]!r}")
    return settings[name]


def _devices(devices: Sequence[Device], *, user: User) -> list[DeviceAnswer]:
    seen = last_seen([device.device_id for device in devices])
    now = timezone.now()
    answers = []
    for device in devices:
        newest = seen.get(device.device_id)
        time = newest.time.astimezone(UTC) if newest else None
        limit = silence_limit(device, usual=newest.usual if newest else None)
        answers.append(
            DeviceAnswer(
                device=device.device_id,
                name=device.name,
                tz=device.time_zone,
                mine=device.owner_id == user.pk,
                silence_limit=device.silence_limit,
                status=device_status(time, limit=limit, now=now).value,
                last_time=time,
            )
        )
    return answers


def _replacement(row: MeterReplacement) -> ReplacementAnswer:
    return ReplacementAnswer(
        number=row.pk,
        replaced_at=row.replaced_at,
        final_register=row.final_register,
        start_register=row.start_register,
        note=row.note,
        entered_at=row.entered_at,
    )
