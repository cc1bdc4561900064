"""What changes devices: creating them, handing them over, giving them tokens, naming their metrics' units."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.dispatch import Signal
from django.utils import timezone

from joulebook.web.devices.models import Device, DeviceToken, GatewayToken, Metric
from joulebook.web.tokens import make_token

handed_over = Signal()
"""Sent with `device` in the transaction that gives it another owner: apps end what the former one began."""


class UnableToCreateDevice(Exception):
    """The id is taken or not allowed, or the time zone is none; the message says which."""


def create_device(device_id: str, *, owner: User, name: str = "", time_zone: str = "UTC") -> Device:
    """Create a device that belongs to `owner`. Raises `UnableToCreateDevice`."""
    device = Device(device_id=device_id, owner=owner, name=name, time_zone=time_zone)
    try:
        device.full_clean()
    except ValidationError as exc:
        raise UnableToCreateDevice(f"device {device_id!r} not created: {' '.join(exc.messages)}") from exc
    device.save()
    return device


def issue_device_token(device: Device) -> str:
    """Give the device a new token and return its text, which is not kept."""
    token = make_token("jbd")
    DeviceToken.objects.create(device=device, prefix=token.prefix, token_hash=token.token_hash)
    return token.text


def issue_gateway_token(devices: Sequence[Device], *, name: str = "") -> str:
    """Make a token that writes for several devices of one owner; return its text, which is not kept.

    Raises ValueError for no device, or devices of more than one owner.
    """
    owners = {device.owner_id for device in devices}
    if len(owners) != 1:
        raise ValueError(f"a gateway's devices have one owner, these have {len(owners)}")
    token = make_token("jbg")
    gateway = GatewayToken.objects.create(
        owner=devices[0].owner, name=name, prefix=token.prefix, token_hash=token.token_hash
    )
    gateway.devices.set(devices)
    return token.text


def hand_over(device: Device, *, to: User) -> None:
    """Give the device to another owner, and end every right that the former one has or has given to others.

    Its tokens are revoked, gateways no longer write for it, shares end, and imports into it are cancelled.
    Live streams end with their tickets, within a minute. Its readings and what its metrics mean stay.
    """
    with transaction.atomic():
        Device.objects.select_for_update().get(pk=device.pk)
        Device.objects.filter(pk=device.pk).update(owner=to)
        DeviceToken.objects.filter(device=device, revoked_at=None).update(revoked_at=timezone.now())
        device.gateway_tokens.clear()
        device.shares.all().delete()
        device.owner = to
        handed_over.send(Device, device=device)


def set_metric_unit(device: Device, metric: str, unit: str) -> None:
    """Say in which unit a metric of the device is reported."""
    Metric.objects.update_or_create(device=device, name=metric, defaults={"unit": unit})
