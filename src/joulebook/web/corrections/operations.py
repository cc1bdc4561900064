"""Making corrections and undoing them, within a person's limits. A worker does the requested work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from joulebook.telemetry.corrections.edits import MOST_FILLED, MOST_POINTS, EditKind
from joulebook.telemetry.kinds.settings import MetricSettings
from joulebook.telemetry.readings import FUTURE_ALLOWANCE, LARGEST_VALUE, from_microseconds, to_microseconds
from joulebook.web.accounts.operations import lock_user
from joulebook.web.corrections.models import MOST_REASON, Correction
from joulebook.web.devices.models import Device

State = Correction.State

MOST_WAITING = 50
"""Corrections and undos of one person that may wait for a worker."""

MOST_METRICS = 100

_MICROSECOND = timedelta(microseconds=1)
# The forms of text in `kinds.settings`: values that only stand for words.
_TEXT_FORMS = (2, 3)


class BadCorrection(Exception):
    """A field of a correction cannot be used: `field` is its name, the message gives the reason."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class UnableToCorrect(Exception):
    """The request is not possible now; the message gives the reason."""


class TooManyCorrections(UnableToCorrect):
    """The person's limit of waiting corrections is reached."""


@dataclass(frozen=True)
class CorrectionOrder:
    """A correction as a person asks for it: numbers are in the units of shown values, lengths in seconds.

    `times` are single readings; without them the readings in [start, end) are meant. Missing numbers are
    None.
    """

    kind: EditKind
    metrics: tuple[str, ...]
    start: datetime | None = None
    end: datetime | None = None
    times: tuple[datetime, ...] = ()
    value: float | None = None
    factor: float | None = None
    offset: float | None = None
    seconds: float | None = None
    step: float | None = None
    reason: str = ""


def plan_correction(
    order: CorrectionOrder, device: Device, settings: Mapping[str, MetricSettings], *, now: datetime
) -> Correction:
    """Return the correction of an order, not saved. Raises `BadCorrection`.

    `settings` are those of the ordered metrics, which all exist.
    """
    _check_fields(order)
    start, end, times = _range(order, now=now)
    if order.kind is EditKind.FILL and (end - start) / _length("step", order.step) > MOST_FILLED:
        raise BadCorrection(
            "step", f"a correction fills in {MOST_FILLED:,} readings at most; take a longer step"
        )
    by = 0
    if order.kind is EditKind.SHIFT:
        by = round((order.seconds or 0.0) * 1_000_000)
        if not by:
            raise BadCorrection("seconds", "readings move by at least a microsecond, forward or back")
        first, last = to_microseconds(start) + by, to_microseconds(end) + by - 1
        if first < 0 or (by > 0 and last > to_microseconds(now) + FUTURE_ALLOWANCE):
            raise BadCorrection("seconds", "readings would move before 1970, or into the future")
    numbers: dict[str, dict[str, float | None]] = {}
    for name in order.metrics:
        meaning = settings[name]
        if meaning.form in _TEXT_FORMS and order.kind not in (EditKind.DELETE, EditKind.SHIFT):
            raise BadCorrection(
                "metrics", f"metric {name[:80]} is text, which can only be deleted or shifted"
            )
        value = None if order.value is None else order.value / meaning.factor
        offset = (order.offset or 0.0) / meaning.factor
        for field, number in (("value", value), ("offset", offset)):
            if number is not None and not abs(number) <= LARGEST_VALUE:
                raise BadCorrection(
                    field, f"{field} is beyond {LARGEST_VALUE:g}, the largest value of a reading"
                )
        numbers[name] = {"value": value, "offset": offset}
    step = _length("step", order.step) if order.kind is EditKind.FILL else timedelta()
    return Correction(
        device=device,
        kind=order.kind.value,
        reason=order.reason.strip(),
        metrics=numbers,
        start=start,
        end=end,
        times=times,
        value=order.value,
        factor=1.0 if order.factor is None else order.factor,
        offset=order.offset or 0.0,
        by=by,
        step=step // _MICROSECOND,
    )


_FIELDS = {
    EditKind.DELETE: set[str](),
    EditKind.SET: {"value"},
    EditKind.SCALE: {"factor", "offset"},
    EditKind.SHIFT: {"seconds"},
    EditKind.FILL: {"value", "step"},
}
_NEEDED = {
    EditKind.DELETE: set[str](),
    EditKind.SET: {"value"},
    EditKind.SCALE: set[str](),
    EditKind.SHIFT: {"seconds"},
    EditKind.FILL: {"step"},
}


def _check_fields(order: CorrectionOrder) -> None:
    """Raise `BadCorrection` for a number the kind does not take, or lacks."""
    for field in ("value", "factor", "offset", "seconds", "step"):
        number = getattr(order, field)
        if number is None:
            if field in _NEEDED[order.kind]:
                raise BadCorrection(field, f"{order.kind} needs {field}")
        elif field not in _FIELDS[order.kind]:
            raise BadCorrection(field, f"{order.kind} takes no {field}")
        elif not math.isfinite(number):
            raise BadCorrection(field, f"{field} is not a finite number")
    if order.kind is EditKind.SCALE and order.factor is None and order.offset is None:
        raise BadCorrection("factor", "scale needs factor, offset, or both")
    if order.factor is not None and not 1e-100 <= abs(order.factor) <= 1e100:
        raise BadCorrection("factor", "factor must not be 0, and its size be from 1e-100 to 1e100")
    if not order.metrics:
        raise BadCorrection("metrics", "name at least one metric")
    if len(order.metrics) > MOST_METRICS:
        raise BadCorrection("metrics", f"a correction is of {MOST_METRICS} metrics at most")
    if len(order.reason.strip()) > MOST_REASON:
        raise BadCorrection("reason", f"a reason has {MOST_REASON} characters at most")


def _range(order: CorrectionOrder, *, now: datetime) -> tuple[datetime, datetime, list[int]]:
    """Return the half-open range of an order, and its single instants in microseconds since 1970 UTC."""
    if order.times:
        if order.start is not None or order.end is not None:
            raise BadCorrection("times", "give times, or start and end")
        if order.kind is EditKind.FILL:
            raise BadCorrection("times", "a gap to be filled has a start and an end")
        times = sorted({to_microseconds(time) for time in order.times})
        if len(times) > MOST_POINTS:
            raise BadCorrection("times", f"a correction has {MOST_POINTS:,} times at most; give a range")
        start, end = from_microseconds(times[0]), from_microseconds(times[-1]) + _MICROSECOND
    else:
        if order.start is None or order.end is None:
            raise BadCorrection("start", "give start and end, or the times of single readings")
        times = []
        start, end = order.start, order.end
    if not start < end:
        raise BadCorrection("start", "start must be before end")
    if to_microseconds(start) < 0:
        raise BadCorrection("start", "no reading is older than 1970")
    if order.kind is EditKind.FILL and end > now:
        raise BadCorrection("end", "a gap to be filled ends in the past")
    return start, end, times


def _length(field: str, seconds: float | None) -> timedelta:
    length = timedelta(seconds=min(seconds or 0.0, 1e9))
    if length < timedelta(milliseconds=1):
        raise BadCorrection(field, f"{field} is a number of seconds, at least 0.001")
    return length


def queue_correction(correction: Correction, *, user: User | None) -> None:
    """Save a planned correction for the next free worker. Raises `TooManyCorrections`."""
    with transaction.atomic():
        _check_waiting(user)
        correction.user = user
        correction.requested_at = timezone.now()
        correction.save(force_insert=True)


def undo_correction(correction: Correction, *, by: User | None) -> None:
    """Request the undo of a correction, by the next free worker; one that has not begun is not made at all.

    Raises `UnableToCorrect`, and `TooManyCorrections`.
    """
    now = timezone.now()
    with transaction.atomic():
        _check_waiting(by)
        own = Correction.objects.filter(pk=correction.pk)
        changed = own.filter(state=State.QUEUED, lease=0).update(
            state=State.UNDONE, undone_by=by, undone_at=now
        ) or own.filter(state__in=(State.DONE, State.FAILED)).update(
            state=State.UNDOING, undone_by=by, attempts=0, requested_at=now, leased_by="", problem=""
        )
    correction.refresh_from_db()
    if not changed:
        raise UnableToCorrect(
            f"correction {correction.pk} is {correction.state}: only one that has ended, and is not undone "
            "yet, can be undone"
        )


def _check_waiting(user: User | None) -> None:
    if user is None:
        return
    lock_user(user)
    waiting = Correction.objects.filter(user=user, state__in=(State.QUEUED, State.RUNNING, State.UNDOING))
    if waiting.count() >= MOST_WAITING:
        raise TooManyCorrections(
            f"{MOST_WAITING} of your corrections wait already; try again when some are done"
        )


def end_corrections_of_former_owner(device: Device, **_: object) -> None:
    """End the corrections of a device that wait for a worker, after its owner has changed."""
    Correction.objects.filter(device=device, state=State.QUEUED).update(
        state=State.FAILED, problem="the device has another owner now", finished_at=timezone.now()
    )
