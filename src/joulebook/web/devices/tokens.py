"""The tokens that write for a device: its own, and those of its owner's gateways that may write for it."""

from __future__ import annotations

from dataclasses import dataclass

from joulebook.web.devices.models import Device, DeviceToken, GatewayToken


@dataclass(frozen=True)
class WritingToken:
    """A token that writes, or wrote, for a device."""

    token: DeviceToken | GatewayToken
    gateway: str | None
    """What people call the gateway; None for the device's own token."""

    @property
    def kind(self) -> str:
        """Return whose token it is, for people."""
        if self.gateway is None:
            return "device"
        return f"gateway “{self.gateway}”" if self.gateway else "gateway"

    @property
    def devices(self) -> list[Device]:
        """Return the devices that the token writes for."""
        token = self.token
        if isinstance(token, DeviceToken):
            return [token.device]
        return list(token.devices.filter(owner_id=token.owner_id).order_by("device_id"))


def tokens_of(device: Device) -> list[WritingToken]:
    """Return the tokens that write for a device, those in force first, and the newest first of these."""
    gateways = GatewayToken.objects.filter(devices=device, owner_id=device.owner_id)
    found = [WritingToken(token, None) for token in DeviceToken.objects.filter(device=device)]
    found += [WritingToken(token, token.name) for token in gateways]
    return sorted(
        found,
        key=lambda one: (one.token.revoked_at is None, one.token.revoked_at or one.token.created_at),
        reverse=True,
    )


def find_token(device: Device, prefix: str) -> WritingToken | None:
    """Return the token of the device that begins with `prefix`."""
    return next((one for one in tokens_of(device) if one.token.prefix == prefix), None)
