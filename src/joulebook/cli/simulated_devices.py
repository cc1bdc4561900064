"""Creates the simulator's devices where the accounts are kept, and gives them tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from joulebook.cli.output import fail
from joulebook.simulator.devices import DeviceKind
from joulebook.simulator.tokens import DeviceToken

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from joulebook.web.devices.models import Device


def ensure_simulated_devices(
    owner: User, wanted: Iterable[tuple[str, str, DeviceKind]], *, time_zone: str
) -> list[DeviceToken]:
    """Make (device id, name, kind) the owner's devices and return a new token for each.

    Devices that the owner has already are kept as they are. Ends the command when an id is another's.
    To be called when Django is set up; everything happens in one transaction.
    """
    from django.db import transaction

    from joulebook.web.devices.operations import issue_device_token

    with transaction.atomic():
        return [
            DeviceToken(
                device_id, issue_device_token(_ensure_device(owner, device_id, name, kind, time_zone))
            )
            for device_id, name, kind in wanted
        ]


def _ensure_device(owner: User, device_id: str, name: str, kind: DeviceKind, time_zone: str) -> Device:
    from joulebook.web.devices.models import Device, Metric
    from joulebook.web.devices.operations import UnableToCreateDevice, create_device

    device = Device.objects.filter(device_id=device_id).first()
    if device is not None and device.owner_id != owner.pk:
        fail(f"device {device_id!r} belongs to another user: choose other ids, or remove it")
    if device is None:
        try:
            device = create_device(device_id, owner=owner, name=name, time_zone=time_zone)
        except UnableToCreateDevice as exc:
            fail(str(exc))
        Metric.objects.bulk_create(
            Metric(device=device, name=metric.name, unit=metric.unit, kind=metric.kind)
            for metric in kind.metrics
        )
    return device
