"""`joulebook device`: devices and their tokens.

Models are imported inside functions: Django has to be set up first.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

import typer
from rich.table import Table

from joulebook.cli.django_setup import accounts_database
from joulebook.cli.output import AsJson, fail, json_result, print_table, print_tokens, result, say, token_json
from joulebook.cli.user import find_user

app = typer.Typer(no_args_is_help=True, help="Create devices, give them tokens, list them.")

_DeviceId = Annotated[str, typer.Argument(metavar="ID", help="the device's id", show_default=False)]

_TimeField = Annotated[
    str, typer.Option(metavar="FIELD", help="field of packets with their time, such as payload.measured")
]
_DeviceField = Annotated[str, typer.Option(metavar="FIELD", help="field of packets with their device's id")]
_ValuesField = Annotated[
    str, typer.Option("--values", metavar="FIELD", help="field of packets with the object of their readings")
]
_LineUnit = Annotated[
    str,
    typer.Option(metavar="RULE", help="where lines name their unit: auto, none, measurement or tag:NAME"),
]


def checked_line_unit(rule: str) -> str:
    """Return a rule for units of lines; end the command if it is none."""
    if rule and rule not in {"auto", "none", "measurement"} and not re.fullmatch("tag:.+", rule):
        fail(f"--line-unit {rule!r} is none of auto, none, measurement and tag:NAME")
    return rule


@app.command()
def add(
    device_id: _DeviceId,
    *,
    owner: Annotated[str, typer.Option(help="the owner's name", show_default=False)],
    name: Annotated[str, typer.Option(help="its name on the pages; empty: the id")] = "",
    tz: Annotated[str, typer.Option(help="time zone where it stands, such as Europe/Berlin")] = "UTC",
) -> None:
    """Create a device and print its token, only this once."""
    with accounts_database():
        from joulebook.web.devices.operations import (
            UnableToCreateDevice,
            create_device,
            issue_device_token,
        )

        try:
            device = create_device(device_id, owner=find_user(owner), name=name, time_zone=tz)
        except UnableToCreateDevice as exc:
            fail(str(exc))
        result(issue_device_token(device))
        say(f"device {device_id} created; this token writes for it and is not shown again")


@app.command()
def token(
    device_id: _DeviceId,
    *,
    time_field: _TimeField = "",
    device_field: _DeviceField = "",
    values: _ValuesField = "",
    line_unit: _LineUnit = "",
) -> None:
    """Give a device a further token and print it, only this once."""
    with accounts_database():
        from joulebook.web.devices.models import Device
        from joulebook.web.devices.operations import PacketFields, issue_device_token

        device = Device.objects.filter(device_id=device_id).first()
        if device is None:
            fail(
                f"there is no device {device_id!r}; create it with: "
                f"joulebook device add {device_id} --owner NAME"
            )
        result(
            issue_device_token(
                device, fields=PacketFields(time_field, device_field, values, checked_line_unit(line_unit))
            )
        )
        say(f"this token writes for {device_id} and is not shown again")


@app.command("gateway-token")
def gateway_token(
    device_ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="the devices' ids", show_default=False)
    ],
    *,
    name: Annotated[str, typer.Option(help="the gateway's name on the pages")] = "",
    time_field: _TimeField = "",
    device_field: _DeviceField = "",
    values: _ValuesField = "",
    line_unit: _LineUnit = "",
) -> None:
    """Make a token for writing to several devices of one owner and print it, only this once."""
    with accounts_database():
        from joulebook.web.devices.models import Device
        from joulebook.web.devices.operations import PacketFields, issue_gateway_token

        found = {device.device_id: device for device in Device.objects.filter(device_id__in=device_ids)}
        for device_id in device_ids:
            if device_id not in found:
                fail(f"there is no device {device_id!r}; see them with: joulebook device list")
        try:
            fields = PacketFields(time_field, device_field, values, checked_line_unit(line_unit))
            result(issue_gateway_token(list(found.values()), name=name, fields=fields))
        except ValueError as exc:
            fail(f"{exc}; make a token for each owner's devices")
        say(f"this token writes for {len(found)} device(s) and is not shown again")


@app.command("hand-over")
def hand_over(
    device_id: _DeviceId,
    *,
    to: Annotated[str, typer.Option(metavar="NAME", help="the new owner's name", show_default=False)],
) -> None:
    """Give a device to another owner; tokens, shares and waiting imports of the former one end."""
    with accounts_database():
        from joulebook.web.devices import operations
        from joulebook.web.devices.models import Device

        device = Device.objects.select_related("owner").filter(device_id=device_id).first()
        if device is None:
            fail(f"there is no device {device_id!r}; see them with: joulebook device list")
        owner = find_user(to)
        if owner == device.owner:
            fail(f"device {device_id} belongs to {to} already")
        operations.hand_over(device, to=owner)
        say(
            f"device {device_id} belongs to {to} now; its tokens and shares are gone, "
            f"make a token with: joulebook device token {device_id}"
        )


class TimeRule(StrEnum):
    """The meanings of times without an offset, as words of the command line."""

    REFUSE = "refuse"
    UTC = "utc"
    DEVICE_ZONE = "device-zone"


@app.command()
def times(
    device_id: _DeviceId,
    without_offset: Annotated[
        TimeRule, typer.Argument(help="what such a time means; refuse: it is rejected", show_default=False)
    ],
) -> None:
    """Say what times without an offset mean in a device's packets."""
    with accounts_database():
        from joulebook.web.devices.models import Device

        rule = without_offset.value.replace("-", "_")
        if not Device.objects.filter(device_id=device_id).update(time_without_offset=rule):
            fail(f"there is no device {device_id!r}; see them with: joulebook device list")
        say(f"times without an offset of {device_id}: {without_offset.value}; ingest knows within 10 seconds")


@app.command()
def tokens(device_id: _DeviceId, *, as_json: AsJson = False) -> None:
    """List a device's tokens for writing, and the last use of each."""
    with accounts_database():
        from joulebook.web.devices.models import Device
        from joulebook.web.devices.queries import tokens_of

        device = Device.objects.filter(device_id=device_id).first()
        if device is None:
            fail(f"there is no device {device_id!r}; see them with: joulebook device list")
        found = tokens_of(device)
        if as_json:
            json_result(
                [
                    {
                        **token_json(one.token),
                        "gateway": one.gateway,
                        "devices": [d.device_id for d in one.devices],
                    }
                    for one in found
                ]
            )
            return
        if not found:
            say(f"no tokens yet; make one with: joulebook device token {device_id}")
            return
        print_tokens((one.token, one.kind) for one in found)


@app.command("list")
def list_devices(*, as_json: AsJson = False) -> None:
    """List all devices."""
    with accounts_database():
        from joulebook.web.devices.models import Device

        devices = Device.objects.select_related("owner").order_by("device_id")
        if as_json:
            json_result(
                [
                    {
                        "id": device.device_id,
                        "name": device.name,
                        "owner": device.owner.get_username(),
                        "time_zone": device.time_zone,
                        "created_at": device.created_at,
                    }
                    for device in devices
                ]
            )
            return
        if not devices:
            say("no devices yet; create one with: joulebook device add ID --owner NAME")
            return
        table = Table("ID", "Name", "Owner", "Time zone", box=None, pad_edge=False)
        for device in devices:
            table.add_row(device.device_id, device.name, device.owner.get_username(), device.time_zone)
        print_table(table)
