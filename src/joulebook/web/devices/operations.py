"""Changes of devices: creation, owners, tokens, the meaning of metrics, replaced meters, shares."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.dispatch import Signal
from django.utils import timezone

from joulebook.telemetry.kinds.guesses import guess_kind
from joulebook.telemetry.kinds.kinds import KINDS
from joulebook.web.accounts.operations import lock_user
from joulebook.web.devices.models import (
    Device,
    DeviceShare,
    DeviceToken,
    GatewayToken,
    MeterReplacement,
    Metric,
    MetricDecision,
)
from joulebook.web.tokens import make_token

MOST_SHARES = 200
MOST_REPLACEMENTS = 500
MOST_DECISIONS = 500

_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_CLOCKS_DIFFER = timedelta(minutes=10)

handed_over = Signal()
"""Sent with `device` inside the transaction of a new owner: apps end the work of the former owner."""


class UnableToCreateDevice(Exception):
    """The id is taken or not allowed, the zone unknown or the limit reached; the message has the reason."""


class NotACounter(Exception):
    """Only a counter has a replaceable meter; the message names the metric's kind."""


def create_device(
    device_id: str, *, owner: User, name: str = "", time_zone: str = "UTC", most: int | None = None
) -> Device:
    """Create a device of `owner`, up to `most` of them; None for no limit.

    Raises `UnableToCreateDevice`.
    """
    device = Device(device_id=device_id, owner=owner, name=name, time_zone=time_zone)
    try:
        device.full_clean()
    except ValidationError as exc:
        raise UnableToCreateDevice(f"device {device_id!r} not created: {' '.join(exc.messages)}") from exc
    with transaction.atomic():
        if most is not None:
            lock_user(owner)
            if Device.objects.filter(owner=owner).count() >= most:
                raise UnableToCreateDevice(
                    f"device {device_id!r} not created: you have {most:,} already, which is the most"
                )
        device.save()
    return device


class PacketFields(NamedTuple):
    """The fields of packets with their time, device and readings; empty ones leave it to the packet.

    `line_unit` is where lines name their unit.
    """

    time_field: str = ""
    device_field: str = ""
    values_field: str = ""
    line_unit: str = ""


NO_FIELDS = PacketFields()


def issue_device_token(device: Device, *, fields: PacketFields = NO_FIELDS) -> str:
    """Create a token for the device and return its text; only its hash is stored."""
    token = make_token("jbd")
    DeviceToken.objects.create(
        device=device, prefix=token.prefix, token_hash=token.token_hash, **fields._asdict()
    )
    return token.text


def issue_gateway_token(
    devices: Sequence[Device], *, name: str = "", fields: PacketFields = NO_FIELDS
) -> str:
    """Create a token writing for several devices of one owner and return its text; only its hash is stored.

    Raises ValueError for no device, or devices of more than one owner.
    """
    owners = {device.owner_id for device in devices}
    if len(owners) != 1:
        raise ValueError(f"a gateway's devices have one owner, these have {len(owners)}")
    token = make_token("jbg")
    gateway = GatewayToken.objects.create(
        owner=devices[0].owner,
        name=name,
        prefix=token.prefix,
        token_hash=token.token_hash,
        **fields._asdict(),
    )
    gateway.devices.set(devices)
    return token.text


def hand_over(device: Device, *, to: User) -> None:
    """Make `to` the device's owner, and end every right given by the former one.

    Its tokens are revoked, gateways no longer write for it, shares end, and imports into it are cancelled.
    Live streams end with their tickets, within a minute. Its readings and its metrics' meaning stay.
    """
    with transaction.atomic():
        Device.objects.select_for_update().get(pk=device.pk)
        Device.objects.filter(pk=device.pk).update(owner=to)
        DeviceToken.objects.filter(device=device, revoked_at=None).update(revoked_at=timezone.now())
        device.gateway_tokens.clear()
        device.shares.all().delete()
        device.owner = to
        handed_over.send(Device, device=device)


def set_first_meaning(device: Device, metric: str, *, unit: str, kind: str) -> None:
    """Set the unit and the kind of a metric, each only where it was not set before; "" sets none."""
    Metric.objects.get_or_create(device=device, name=metric)
    mine = Metric.objects.filter(device=device, name=metric)
    mine.filter(unit="").update(unit=unit)
    mine.filter(kind="").update(kind=kind)


def change_metric(
    device: Device,
    name: str,
    changes: dict[str, Any],
    *,
    settles: str = "",
    by: User | None = None,
    now: datetime | None = None,
) -> Metric:
    """Store the owner's settings of a metric. `changes` holds fields of `Metric` with their new values.

    An empty text, or None for a number, restores the guess or the default. A new `unit` settles a conflict
    with the sender's unit `settles`. `decisions`, {time: is ignored},
    are stored in place of all former ones, as made `by` a user `now`. Raises Django's ValidationError by
    field, and stores nothing then.
    """
    decisions: dict[datetime, bool] | None = changes.get("decisions")
    with transaction.atomic():
        metric = Metric.objects.filter(device=device, name=name).first() or Metric(device=device, name=name)
        if settles and "unit" in changes:
            metric.settled_unit = settles
        for field, value in changes.items():
            if field != "decisions":
                setattr(metric, field, value)
        metric.full_clean()
        metric.save()
        if decisions is not None:
            _replace_decisions(metric, decisions, by=by, now=now or timezone.now())
    return metric


def decide_suspect(
    device: Device, name: str, time: datetime, *, is_ignored: bool | None, by: User, now: datetime
) -> None:
    """Store the owner's answer to a suspicious reading of a counter; None withdraws it.

    Raises Django's ValidationError if the metric has too many answers.
    """
    with transaction.atomic():
        metric, _ = Metric.objects.get_or_create(device=device, name=name)
        if is_ignored is None:
            metric.decisions.filter(time=time).delete()
            return
        MetricDecision.objects.update_or_create(
            metric=metric, time=time, defaults={"is_ignored": is_ignored, "by": by, "at": now}
        )
        _check_number(metric.decisions.count())


def _replace_decisions(
    metric: Metric, decisions: dict[datetime, bool], *, by: User | None, now: datetime
) -> None:
    """Store the decisions of a metric in place of the former ones; those made already keep who and when."""
    _check_number(len(decisions))
    former = {each.time: each.is_ignored for each in metric.decisions.all()}
    gone = [time for time, is_ignored in former.items() if decisions.get(time) is not is_ignored]
    metric.decisions.filter(time__in=gone).delete()
    MetricDecision.objects.bulk_create(
        MetricDecision(metric=metric, time=time, is_ignored=is_ignored, by=by, at=now)
        for time, is_ignored in decisions.items()
        if former.get(time) is not is_ignored
    )


def _check_number(decisions: int) -> None:
    if decisions > MOST_DECISIONS:
        message = f"{decisions} are too many, the most are {MOST_DECISIONS}: correct the readings instead"
        raise ValidationError({"decisions": message})


def add_replacement(
    device: Device, name: str, replacement: MeterReplacement, *, by: User, now: datetime
) -> MeterReplacement:
    """Store that another meter replaced the one of a counter.

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
    """Delete a replacement; return False if the metric has none with this number."""
    own = MeterReplacement.objects.filter(metric__device=device, metric__name=name, pk=number)
    return own.delete()[0] > 0


def share_device(device: Device, user_name: str) -> User:
    """Let another user see the device. Raises Django's ValidationError with the reason."""
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
    """End a share at once; return its user, or None if the device has no share with this number."""
    share = DeviceShare.objects.select_related("user").filter(device=device, pk=number).first()
    if share is None:
        return None
    share.delete()
    return share.user
