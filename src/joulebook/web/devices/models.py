"""Devices, who owns and who may see them, what their metrics mean, and their tokens."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from joulebook.telemetry.readings import METRIC_NAME_LENGTH, device_id_problem, metric_name_problem
from joulebook.web.time_zones import validate_time_zone
from joulebook.web.tokens import Token


def validate_device_id(device_id: str) -> None:
    """Raise Django's ValidationError unless the id may name a device."""
    if problem := device_id_problem(device_id):
        raise ValidationError(problem)


def validate_metric_name(metric: str) -> None:
    """Raise Django's ValidationError unless the name may name a metric."""
    if problem := metric_name_problem(metric):
        raise ValidationError(problem)


class Device(models.Model):
    """A sender of readings: a meter, an inverter, a battery, a sensor."""

    device_id = models.CharField(
        "device id",
        max_length=64,
        unique=True,
        validators=[validate_device_id],
        help_text="As it stands in addresses: letters, digits and . _ : - (cannot be changed later).",
    )
    name = models.CharField(max_length=150, blank=True, help_text="Shown to people; the id where empty.")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="devices")
    time_zone = models.CharField(
        max_length=64,
        default="UTC",
        validators=[validate_time_zone],
        help_text="Where the device stands: its days begin at this zone's midnight.",
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("name", "device_id")

    def __str__(self) -> str:
        return self.name or self.device_id


class DeviceShare(models.Model):
    """Lets a user who does not own a device see it."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="shares")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="device_shares")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("device", "user"), name="one_share_a_device_and_user"),
        )

    def __str__(self) -> str:
        return f"{self.device} to {self.user}"


class Metric(models.Model):
    """What a metric of a device means to its owner; readings themselves know nothing of it."""

    class Kind(models.TextChoices):
        GAUGE = "gauge", "gauge: a level, such as power or temperature"
        COUNTER = "counter", "counter: a register that only grows, such as energy"
        STATE = "state", "state: on or off, or a code"

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="metrics")
    name = models.CharField(max_length=METRIC_NAME_LENGTH, validators=[validate_metric_name])
    display_name = models.CharField(max_length=150, blank=True)
    unit = models.CharField(max_length=32, blank=True)
    kind = models.CharField(max_length=8, choices=Kind.choices, default=Kind.GAUGE)

    class Meta:
        ordering = ("name",)
        constraints = (models.UniqueConstraint(fields=("device", "name"), name="one_metric_a_name"),)

    def __str__(self) -> str:
        return self.display_name or self.name


class DeviceToken(Token):
    """Lets a device write its own readings, and nothing else."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="tokens")


class GatewayToken(Token):
    """Lets a gateway write for several devices of one owner, each named in its packets."""

    name = models.CharField(max_length=150, blank=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="gateway_tokens"
    )
    devices = models.ManyToManyField(Device, related_name="gateway_tokens", blank=True)
