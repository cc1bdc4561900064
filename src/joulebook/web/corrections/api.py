"""`/api/corrections`: preview and make a correction, list and show corrections, undo one.

A device's corrections are seen by everybody who sees the device, and made and undone by its owner. Nothing
here writes readings; a worker does.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Literal, cast

from django.utils import timezone
from ninja import Path, Router, Schema, Status
from ninja.errors import HttpError
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from joulebook.telemetry.corrections.edits import MOST_POINTS, EditKind
from joulebook.telemetry.corrections.preview import ChangedReading, SeriesPreview
from joulebook.telemetry.kinds.settings import MetricSettings
from joulebook.telemetry.readings import from_microseconds
from joulebook.telemetry.series import series_by_metric
from joulebook.time_zones import ZoneInfo
from joulebook.web.accounts.authentication import SignedInRequest, authentication
from joulebook.web.api.parameters import BadField, StrictBody, StrictQuery, check_names, whole_number
from joulebook.web.api.problems import documented_problems, unavailable
from joulebook.web.corrections.models import MOST_REASON, Correction
from joulebook.web.corrections.operations import (
    MOST_METRICS,
    BadCorrection,
    CorrectionOrder,
    TooManyCorrections,
    UnableToCorrect,
    plan_correction,
    queue_correction,
    undo_correction,
)
from joulebook.web.corrections.previewing import CorrectionPreview, EnergyChange, preview_correction
from joulebook.web.corrections.queries import visible_corrections
from joulebook.web.devices.gate import NO_DEVICE
from joulebook.web.devices.meanings import Instant, Number, Text
from joulebook.web.devices.models import Device
from joulebook.web.devices.queries import find_visible_device, metric_settings
from joulebook.web.slots import NoSlot, Slots
from joulebook.web.telemetry import telemetry_connection

MOST_LISTED = 200
USUALLY_LISTED = 50
PREVIEWS_AT_ONCE = 4
_BUSY_RETRY_SECONDS = 5

_slots = Slots(PREVIEWS_AT_ONCE, per_person=2)

KindName = Literal["delete", "set", "scale", "shift", "fill"]
StateName = Literal["queued", "running", "done", "failed", "undoing", "undone"]

router = Router(tags=["corrections"], auth=authentication())
_CHANGE = authentication(changes=True)


class NewCorrection(BaseModel):
    """A correction of readings: those in [start, end), or at `times`. Numbers are in the units as shown."""

    model_config = ConfigDict(extra="forbid")

    device: Text
    kind: KindName
    metrics: list[Text] = Field(min_length=1, max_length=MOST_METRICS)
    start: Instant | None = Field(None, description="RFC 3339 with an offset; the range is half-open")
    end: Instant | None = None
    times: list[Instant] = Field([], max_length=MOST_POINTS, description="of single readings, instead")
    value: Number | None = Field(None, description="set: of all; fill: null is the line between neighbours")
    factor: Number | None = Field(None, description="scale: value × factor + offset")
    offset: Number | None = None
    seconds: Number | None = Field(None, description="shift: forward, or back if below 0")
    step: Number | None = Field(None, description="fill: seconds between two readings, the first at start")
    reason: Text = Field("", max_length=MOST_REASON)
    dry_run: bool = Field(False, description="only answer what would change", strict=True)

    def order(self) -> CorrectionOrder:
        """Return what is asked for."""
        return CorrectionOrder(
            kind=EditKind(self.kind),
            metrics=tuple(dict.fromkeys(self.metrics)),
            start=None if self.start is None else self.start.astimezone(UTC),
            end=None if self.end is None else self.end.astimezone(UTC),
            times=tuple(time.astimezone(UTC) for time in self.times),
            value=self.value,
            factor=self.factor,
            offset=self.offset,
            seconds=self.seconds,
            step=self.step,
            reason=self.reason,
        )


class CorrectedMetric(Schema):
    """What a correction has changed of one metric."""

    metric: str
    changed: int = Field(description="readings")
    conflicts: int = Field(description="readings that stay: a reading is stored at their new time")
    first: datetime | None = Field(description="first changed instant")
    last: datetime | None = Field(description="last changed instant")


class CorrectionAnswer(Schema):
    """A correction."""

    id: int = Field(description="its number")
    device: str
    kind: KindName
    metrics: list[CorrectedMetric]
    start: datetime
    end: datetime
    times: list[datetime] = Field(description="of single readings; none: all of the range")
    value: float | None
    factor: float | None
    offset: float | None
    seconds: float | None
    step: float | None
    reason: str
    state: StateName
    problem: str
    changed: int = Field(description="readings of all metrics")
    conflicts: int
    user: str | None
    created_at: datetime
    finished_at: datetime | None
    undone_by: str | None
    undone_at: datetime | None


class CorrectionsAnswer(Schema):
    """Corrections, the newest first."""

    corrections: list[CorrectionAnswer]


class ExampleAnswer(Schema):
    """A reading before and after; null where there is none."""

    time: datetime | None
    value: float | None
    new_time: datetime | None
    new_value: float | None


class PreviewedMetric(Schema):
    """What would change of one metric."""

    metric: str
    unit: str
    changed: int
    conflicts: int
    more: bool = Field(description="more would change than was looked at")
    examples: list[ExampleAnswer]


class PreviewedDay(Schema):
    """The energy of a local day."""

    date: str
    before: float
    after: float


class PreviewedEnergy(Schema):
    """What the energy of days would become: `days` are those that would change."""

    metric: str
    unit: str
    days: list[PreviewedDay]
    before: float = Field(description="sum of the days looked at")
    after: float


class PreviewAnswer(Schema):
    """What a correction would change."""

    dry_run: Literal[True] = True
    device: str
    kind: KindName
    metrics: list[PreviewedMetric]
    energy: list[PreviewedEnergy]
    no_energy: str = Field(description="why days were not summed; empty if they were")


_Limit = Annotated[
    int,
    whole_number(MOST_LISTED),
    WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MOST_LISTED, "default": USUALLY_LISTED}),
]


class CorrectionsQuery(BaseModel):
    """The query of the list."""

    device: str = Field(description="its id")
    limit: _Limit = Field(USUALLY_LISTED, description="the most corrections of an answer")


_problems = partial(
    documented_problems,
    texts={
        400: "a field or a parameter cannot be used; `parameter` names it",
        403: "no device or correction of yours is meant, or the device is only shared with you",
        409: "it is not possible now",
    },
)


@router.get(
    "",
    response=CorrectionsAnswer,
    summary="List a device's corrections",
    openapi_extra=_problems(400, 401, 403),
)
def list_corrections(
    request: SignedInRequest, asked: Annotated[CorrectionsQuery, StrictQuery(...)]
) -> CorrectionsAnswer:
    """Return the newest corrections of a device, with who made them, when and why."""
    device = find_visible_device(request.user, asked.device)
    if device is None:
        raise HttpError(403, NO_DEVICE)
    found = visible_corrections(request.user).filter(device=device)[: asked.limit]
    return CorrectionsAnswer(corrections=[correction_answer(each) for each in found])


@router.post(
    "",
    auth=_CHANGE,
    response={200: PreviewAnswer, 202: CorrectionAnswer},
    summary="Preview or make a correction",
    openapi_extra=_problems(400, 401, 403, 409, 503),
)
def post_correction(request: SignedInRequest, correction: Annotated[NewCorrection, StrictBody(...)]) -> Any:
    """Queue a correction for a worker; with `dry_run` return what it would change."""
    device = _own_device(request, correction.device)
    now = timezone.now()
    with telemetry_connection() as conn:
        series = series_by_metric(conn, device.device_id)
        settings = metric_settings(device, series)
        for name in correction.metrics:
            if name not in series:
                raise BadField("metrics", f"device {device.device_id} has no metric {name[:80]!r}")
        try:
            planned = plan_correction(correction.order(), device, settings, now=now)
        except BadCorrection as exc:
            raise BadField(exc.field, str(exc)) from None
        if correction.dry_run:
            try:
                _slots.take(request.user.pk or 0)
            except NoSlot as exc:
                detail = f"too many previews at a time: {exc}"
                return unavailable("Too many previews", detail, retry_seconds=_BUSY_RETRY_SECONDS)
            try:
                wanted = {name: series[name].id for name in planned.metrics}
                found = preview_correction(conn, planned, wanted, settings, now=now)
            finally:
                _slots.release(request.user.pk or 0)
            return Status(200, preview_answer(planned, found, settings))
    try:
        queue_correction(planned, user=request.user)
    except TooManyCorrections as exc:
        raise HttpError(409, str(exc)) from None
    return Status(202, correction_answer(planned))


# Any text here is only a number without a correction: 403 behind the gate, not 400 before it.
_Number = Annotated[str, WithJsonSchema({"type": "integer"})]
_LONGEST_NUMBER = 9


@router.get(
    "/{number}", response=CorrectionAnswer, summary="Look at a correction", openapi_extra=_problems(401, 403)
)
def get_correction(request: SignedInRequest, number: Path[_Number]) -> CorrectionAnswer:
    """Return one correction."""
    found = _visible(request, number)
    check_names(request.GET)
    return correction_answer(found)


@router.post(
    "/{number}/undo",
    auth=_CHANGE,
    response={202: CorrectionAnswer},
    summary="Undo a correction",
    openapi_extra=_problems(401, 403, 409),
)
def post_undo(request: SignedInRequest, number: Path[_Number]) -> CorrectionAnswer:
    """Queue the undo for a worker. Corrections may be undone in any order."""
    found = _visible(request, number)
    if found.device.owner_id != request.user.pk:
        raise HttpError(403, "this device is shared with you: only its owner can undo its corrections")
    check_names(request.GET)
    try:
        undo_correction(found, by=request.user)
    except UnableToCorrect as exc:
        raise HttpError(409, str(exc)) from None
    return correction_answer(found)


def _own_device(request: SignedInRequest, device_id: str) -> Device:
    device = find_visible_device(request.user, device_id)
    if device is None:
        raise HttpError(403, NO_DEVICE)
    if device.owner_id != request.user.pk:
        raise HttpError(403, "this device is shared with you: only its owner can correct its readings")
    return device


def _visible(request: SignedInRequest, number: str) -> Correction:
    is_number = number.isascii() and number.isdecimal() and len(number) <= _LONGEST_NUMBER
    found = visible_corrections(request.user).filter(pk=int(number)).first() if is_number else None
    if found is None:
        raise HttpError(403, "no correction of a device of yours has this number")
    return found


def correction_answer(correction: Correction) -> CorrectionAnswer:
    """Return a correction as the API and the command show it."""
    kind = EditKind(correction.kind)
    is_scale = kind is EditKind.SCALE
    return CorrectionAnswer(
        id=correction.pk,
        device=correction.device.device_id,
        kind=kind.value,
        metrics=[_metric(name, correction.report) for name in correction.metrics],
        start=correction.start,
        end=correction.end,
        times=[from_microseconds(time) for time in correction.times],
        value=correction.value,
        factor=correction.factor if is_scale else None,
        offset=correction.offset if is_scale else None,
        seconds=correction.by / 1_000_000 if kind is EditKind.SHIFT else None,
        step=correction.step / 1_000_000 if kind is EditKind.FILL else None,
        reason=correction.reason,
        state=cast("StateName", correction.state),
        problem=correction.problem,
        changed=correction.changed,
        conflicts=correction.conflicts,
        user=correction.user.get_username() if correction.user else None,
        created_at=correction.created_at,
        finished_at=correction.finished_at,
        undone_by=correction.undone_by.get_username() if correction.undone_by else None,
        undone_at=correction.undone_at,
    )


def _metric(name: str, report: Mapping[str, Any]) -> CorrectedMetric:
    counts = report.get(name, {"changed": 0, "conflicts": 0, "first": None, "last": None})
    return CorrectedMetric(
        metric=name,
        changed=counts["changed"],
        conflicts=counts["conflicts"],
        first=_instant(counts["first"]),
        last=_instant(counts["last"]),
    )


def _instant(time: int | None) -> datetime | None:
    return None if time is None else from_microseconds(time)


def preview_answer(
    correction: Correction, found: CorrectionPreview, settings: Mapping[str, MetricSettings]
) -> PreviewAnswer:
    """Return a preview as the API and the command show it."""
    zone = ZoneInfo(correction.device.time_zone)
    return PreviewAnswer(
        device=correction.device.device_id,
        kind=EditKind(correction.kind).value,
        metrics=[_previewed(settings[name], part) for name, part in found.metrics.items()],
        energy=[_energy(each, zone) for each in found.energy],
        no_energy=found.no_energy,
    )


def _previewed(settings: MetricSettings, part: SeriesPreview) -> PreviewedMetric:
    def shown(value: float | None) -> float | None:
        return None if value is None else value * settings.factor

    def example(each: ChangedReading) -> ExampleAnswer:
        return ExampleAnswer(
            time=_instant(each.time),
            value=shown(each.value),
            new_time=_instant(each.new_time),
            new_value=shown(each.new_value),
        )

    return PreviewedMetric(
        metric=settings.name,
        unit=settings.unit,
        changed=part.changed,
        conflicts=part.conflicts,
        more=part.is_cut,
        examples=[example(each) for each in part.examples],
    )


def _energy(change: EnergyChange, zone: ZoneInfo) -> PreviewedEnergy:
    return PreviewedEnergy(
        metric=change.metric,
        unit=change.unit,
        days=[
            PreviewedDay(
                date=f"{day.begin.astimezone(zone):%Y-%m-%d}",
                before=float(day.before),
                after=float(day.after),
            )
            for day in change.days
        ],
        before=float(change.before),
        after=float(change.after),
    )
