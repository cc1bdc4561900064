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
    """With whom the device is shared."""

    model = DeviceShare
    extra = 0


class MetricInline(admin.TabularInline[Metric, Device]):
    """What the device's metrics mean."""

    model = Metric
    extra = 0


@admin.register(Device)
class DeviceAdmin(admin.ModelAdmin[Device]):
    """A device, with whom it is shared and what its metrics mean."""

    list_display = ("device_id", "name", "owner", "time_zone", "created_at")
    list_select_related = ("owner",)
    search_fields = ("device_id", "name", "owner__username")
    inlines = (MetricInline, ShareInline)

    def get_readonly_fields(self, request: HttpRequest, obj: Device | None = None) -> tuple[str, ...]:  # noqa: ARG002
        """Keep the id of a device that exists: its readings are stored under it."""
        return ("device_id", "created_at") if obj else ("created_at",)

    def save_model(self, request: HttpRequest, obj: Device, form: Any, change: bool) -> None:
        """Store the device; another owner gets it without what the former one's tokens and shares allow."""
        if change and "owner" in form.changed_data:
            hand_over(Device.objects.get(pk=obj.pk), to=obj.owner)
        super().save_model(request, obj, form, change)

    def has_delete_permission(self, request: HttpRequest, obj: Device | None = None) -> bool:  # noqa: ARG002
        """Say no: its readings would stay, and belong to whoever takes the id next."""
        return False


@admin.register(MeterReplacement)
class MeterReplacementAdmin(admin.ModelAdmin[MeterReplacement]):
    """When meters were replaced; entered by owners on the pages of their devices."""

    list_display = ("metric", "device", "replaced_at", "final_register", "start_register", "entered_by")
    list_select_related = ("metric__device", "entered_by")
    search_fields = ("metric__name", "metric__device__device_id")
    readonly_fields = ("metric", "entered_by", "entered_at")

    @admin.display(ordering="metric__device__device_id")
    def device(self, replacement: MeterReplacement) -> str:
        """Return the device whose meter it was."""
        return replacement.metric.device.device_id

    def has_add_permission(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Say no: the page of the metric knows its unit and the clock where it stands."""
        return False


@admin.register(DeviceToken)
class DeviceTokenAdmin(TokenAdmin):
    """Tokens of devices: listed and revoked here, made by command."""

    list_display = ("prefix", "device", "created_at", "last_used_at", "revoked_at")
    list_select_related = ("device",)
    search_fields = ("prefix", "device__device_id")


@admin.register(GatewayToken)
class GatewayTokenAdmin(TokenAdmin):
    """Tokens of gateways: listed and revoked here, made by command."""

    list_display = ("prefix", "name", "owner", "created_at", "last_used_at", "revoked_at")
    list_select_related = ("owner",)
    search_fields = ("prefix", "name", "owner__username")
