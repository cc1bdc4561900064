"""What changes the meaning of a device's metrics, its silence, and with whom it is shared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction

from joulebook.telemetry.kinds.guesses import guess_kind
from joulebook.telemetry.kinds.kinds import KINDS
from joulebook.web.accounts.operations import lock_user
from joulebook.web.devices.models import Device, DeviceShare, MeterReplacement, Metric

CHANGEABLE = ("display_name", "unit", "kind", "factor", "dip_tolerance")
"""What an owner may say of a metric."""

MOST_SHARES = 200
MOST_REPLACEMENTS = 500

_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_CLOCKS_DIFFER = timedelta(minutes=10)


class NotACounter(Exception):
    """Only counters have meters that are replaced; the message says what the metric is."""


def change_metric(device: Device, name: str, changes: dict[str, Any]) -> Metric:
    """Store what the owner says of a metric; `changes` has some of `CHANGEABLE`.

    An empty text, or None for the dip tolerance, gives it back to be guessed. Raises Django's
    ValidationError by field, and stores nothing then.
    """
    with transaction.atomic():
        metric = Metric.objects.filter(device=device, name=name).first() or Metric(device=device, name=name)
        for field, value in changes.items():
            setattr(metric, field, value)
        metric.full_clean()
        metric.save()
    return metric


def add_replacement(
    device: Device, name: str, replacement: MeterReplacement, *, by: User, now: datetime
) -> MeterReplacement:
    """Note that another meter took over a counter.

    Raises `NotACounter`, and Django's ValidationError by field.
    """
    chosen = Metric.objects.filter(device=device, name=name).values_list("kind", flat=True).first()
    kind = KINDS[chosen] if chosen else guess_kind(name).kind
    if not kind.is_register:
        raise NotACounter(f"{name[:80]} is a {kind}; only a counter's meter is replaced: set its kind first")
    if not _EARLIEST <= replacement.replaced_at <= now + _CLOCKS_DIFFER:
        raise ValidationError({"replaced_at": "the replacement must lie between 1970 and now"})
    with transaction.atomic():
        replacement.metric, _ = Metric.objects.get_or_create(device=device, name=name)
        replacement.entered_by = by
        same = MeterReplacement.objects.filter(metric=replacement.metric, replaced_at=replacement.replaced_at)
        if same.exists():
            raise ValidationError({"replaced_at": "a replacement at this instant is entered already"})
        if MeterReplacement.objects.filter(metric=replacement.metric).count() >= MOST_REPLACEMENTS:
            raise ValidationError(
                {"replaced_at": f"the metric has {MOST_REPLACEMENTS} replacements already; remove one first"}
            )
        replacement.full_clean()
        replacement.save()
    return replacement


def remove_replacement(device: Device, name: str, number: int) -> bool:
    """Forget a replacement; False where the metric has none of this number."""
    mine = MeterReplacement.objects.filter(metric__device=device, metric__name=name, pk=number)
    return mine.delete()[0] > 0


def share_device(device: Device, user_name: str) -> User:
    """Let another user see the device. Raises Django's ValidationError that says why not."""
    user = User.objects.filter(username=user_name, is_active=True).first()
    if user is None:
        raise ValidationError(f"there is no user {user_name[:150]!r} here")
    if user.pk == device.owner_id:
        raise ValidationError("the device is yours: you see it anyway")
    with transaction.atomic():
        lock_user(device.owner)
        others = DeviceShare.objects.filter(device=device).exclude(user=user)
        if others.count() >= MOST_SHARES:
            raise ValidationError(
                f"the device is shared with {MOST_SHARES} users already; withdraw one first"
            )
        DeviceShare.objects.get_or_create(device=device, user=user)
    return user


def withdraw_share(device: Device, number: int) -> User | None:
    """End a share at once; None where the device has none of this number."""
    share = DeviceShare.objects.select_related("user").filter(device=device, pk=number).first()
    if share is None:
        return None
    share.delete()
    return share.user
