"""Devices in the admin."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from joulebook.web.devices.models import (
    Device,
    DeviceShare,
    DeviceToken,
    GatewayToken,
    MeterReplacement,
    Metric,
)
from joulebook.web.devices.operations import hand_over
from joulebook.web.tokens import TokenAdmin


class ShareInline(admin.TabularInline[DeviceShare, Device]):
    """The users sharing the device."""

    model = DeviceShare
    extra = 0


class MetricInline(admin.TabularInline[Metric, Device]):
    """The meaning of the device's metrics."""

    model = Metric
    extra = 0


@admin.register(Device)
class DeviceAdmin(admin.ModelAdmin[Device]):
    """A device, with its shares and the meaning of its metrics."""

    list_display = ("device_id", "name", "owner", "time_zone", "created_at")
    list_select_related = ("owner",)
    search_fields = ("device_id", "name", "owner__username")
    inlines = (MetricInline, ShareInline)

    def get_readonly_fields(self, request: HttpRequest, obj: Device | None = None) -> tuple[str, ...]:  # noqa: ARG002
        """Protect the id of an existing device: its readings are stored under it."""
        return ("device_id", "created_at") if obj else ("created_at",)

    def save_model(self, request: HttpRequest, obj: Device, form: Any, change: bool) -> None:
        """Store the device. A new owner gets it without the former one's tokens and shares."""
        if change and "owner" in form.changed_data:
            hand_over(Device.objects.get(pk=obj.pk), to=obj.owner)
        super().save_model(request, obj, form, change)

    def has_delete_permission(self, request: HttpRequest, obj: Device | None = None) -> bool:  # noqa: ARG002
        """Return False: its readings would stay, and belong to the next device with this id."""
        return False


@admin.register(MeterReplacement)
class MeterReplacementAdmin(admin.ModelAdmin[MeterReplacement]):
    """Replacements of meters; entered by owners on the pages of their devices."""

    list_display = ("metric", "device", "replaced_at", "final_register", "start_register", "entered_by")
    list_select_related = ("metric__device", "entered_by")
    search_fields = ("metric__name", "metric__device__device_id")
    readonly_fields = ("metric", "entered_by", "entered_at")

    @admin.display(ordering="metric__device__device_id")
    def device(self, replacement: MeterReplacement) -> str:
        """Return the meter's device."""
        return replacement.metric.device.device_id

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Return False: only the page of the metric knows its unit and the device's time zone."""
        return False


@admin.register(DeviceToken)
class DeviceTokenAdmin(TokenAdmin):
    """Tokens of devices: listed and revoked here, created by command."""

    list_display = ("prefix", "device", "created_at", "last_used_at", "revoked_at")
    list_select_related = ("device",)
    search_fields = ("prefix", "device__device_id")


@admin.register(GatewayToken)
class GatewayTokenAdmin(TokenAdmin):
    """Tokens of gateways: listed and revoked here, created by command."""

    list_display = ("prefix", "name", "owner", "created_at", "last_used_at", "revoked_at")
    list_select_related = ("owner",)
    search_fields = ("prefix", "name", "owner__username")
