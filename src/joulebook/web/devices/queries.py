"""Reads devices from the accounts database: who may see them, the settings of their metrics, their tokens.

Nothing here queries the telemetry database.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Exists, OuterRef, Q, QuerySet

from joulebook.telemetry.kinds.guesses import guess_kind, guess_unit
from joulebook.telemetry.kinds.kinds import KINDS
from joulebook.telemetry.kinds.settings import (
    DIP_TOLERANCE,
    Decision,
    MetricSettings,
    Replacement,
    SettingsByMetric,
    StateWord,
    metric_label,
    silence_rule,
)
from joulebook.telemetry.readings import device_id_problem
from joulebook.telemetry.series import SeriesRow
from joulebook.web.devices.models import (
    Device,
    DeviceShare,
    DeviceToken,
    GatewayToken,
    MeterReplacement,
    Metric,
    MetricDecision,
)


def visible_devices(user: User | AnonymousUser) -> QuerySet[Device]:
    """Return the user's own devices and those shared with them.

    A superuser manages all devices in the admin, and sees readings only of their own like any other user.
    """
    if not user.is_authenticated or not user.is_active:
        return Device.objects.none()
    shared = DeviceShare.objects.filter(device=OuterRef("pk"), user=user)
    return Device.objects.filter(Q(owner=user) | Exists(shared))


def find_visible_device(user: User | AnonymousUser, device_id: str) -> Device | None:
    """Return the device if the user may see it, by the rule of `visible_devices`; else None.

    This runs for every request: two simple statements take half the processor time of a combined one.
    """
    if device_id_problem(device_id):
        return None  # PostgreSQL would refuse some of these as text
    if not user.is_authenticated or not user.is_active:
        return None
    device = Device.objects.filter(device_id=device_id).order_by("pk").first()
    if device is not None and device.owner_id == user.pk:
        return device
    # Also for a missing device: the duration of the answer must not show whether the id exists.
    is_shared = DeviceShare.objects.filter(user=user, device__device_id=device_id).exists()
    return device if is_shared else None


def metric_settings(device: Device, series: Mapping[str, SeriesRow]) -> SettingsByMetric:
    """Return the settings of the device's metrics: those set by the owner, and guesses for the rest.

    `series` are the device's, by metric: they hold the units that senders name. Every name can be looked up
    in the settings, also that of an unknown metric. Runs at most three statements.
    """
    return settings_by_device([device], {device.device_id: series})[device.device_id]


def settings_by_device(
    devices: Iterable[Device], series: Mapping[str, Mapping[str, SeriesRow]] | None = None
) -> Mapping[str, SettingsByMetric]:
    """Return for each device id what `metric_settings` returns, with at most three statements for all."""
    said = series or {}
    zones: dict[int, str] = {}
    found: dict[int, tuple[str, SettingsByMetric]] = {}
    for device in devices:
        zones[device.pk] = device.time_zone
        found[device.pk] = device.device_id, SettingsByMetric(said.get(device.device_id))
    replaced = MeterReplacement.objects.filter(metric=OuterRef("pk"))
    decided = MetricDecision.objects.filter(metric=OuterRef("pk"))
    metrics = list(
        Metric.objects.filter(device__in=list(found))
        .order_by()
        .annotate(is_replaced=Exists(replaced), is_decided=Exists(decided))
    )
    # Few metrics have either: a statement runs only for those.
    replacements: dict[int, list[Replacement]] = {}
    if with_replacements := [metric.pk for metric in metrics if metric.is_replaced]:
        for row in MeterReplacement.objects.filter(metric__in=with_replacements).order_by("replaced_at"):
            replacement = Replacement(row.replaced_at, row.final_register, row.start_register)
            replacements.setdefault(row.metric_id, []).append(replacement)
    decisions: dict[int, list[Decision]] = {}
    if with_decisions := [metric.pk for metric in metrics if metric.is_decided]:
        for answer in MetricDecision.objects.filter(metric__in=with_decisions).order_by("time"):
            decision = Decision(answer.time, answer.is_ignored)
            decisions.setdefault(answer.metric_id, []).append(decision)
    for metric in metrics:
        found[metric.device_id][1][metric.name] = settings_of(
            metric,
            time_zone=zones[metric.device_id],
            replacements=tuple(replacements.get(metric.pk, ())),
            decisions=tuple(decisions.get(metric.pk, ())),
        )
    return dict(found.values())


def settings_of(
    metric: Metric,
    *,
    time_zone: str,
    replacements: tuple[Replacement, ...] = (),
    decisions: tuple[Decision, ...] = (),
) -> MetricSettings:
    """Return the settings of a metric stored by its owner; a guess fills each field left empty."""
    given_dip = metric.dip_tolerance
    return MetricSettings(
        name=metric.name,
        kind=KINDS[metric.kind] if metric.kind else guess_kind(metric.name).kind,
        unit=metric.unit or guess_unit(metric.name),
        display_name=metric_label(metric.name, metric.display_name),
        factor=metric.factor,
        dip_tolerance=DIP_TOLERANCE if given_dip is None else given_dip,
        replacements=replacements,
        kind_guessed=not metric.kind,
        unit_guessed=not metric.unit,
        unit_settled=metric.settled_unit,
        display_name_guessed=not metric.display_name,
        dip_tolerance_guessed=given_dip is None,
        silence_limit=None if metric.silence_limit is None else timedelta(seconds=metric.silence_limit),
        holds_until_next=metric.holds_until_next,
        covers_before=metric.covers_before,
        resets_daily=metric.resets_daily,
        time_zone=time_zone,
        rolls_over_at=metric.rolls_over_at,
        runs_both_ways=metric.runs_both_ways,
        greatest_rise=metric.greatest_rise,
        spreads=metric.spreads,
        decisions=decisions,
        words=tuple(StateWord(**each) for each in metric.words),
    )


def silence_limit(device: Device, *, usual: timedelta | None = None) -> timedelta:
    """Return the time without a reading after which the device counts as silent.

    `usual` is the usual distance between its readings; see `silence_rule`.
    """
    return silence_rule(own_silence_limit(device), usual=usual or timedelta())


def own_silence_limit(device: Device) -> timedelta | None:
    """Return the owner's silence limit, None for the default."""
    return None if device.silence_limit is None else timedelta(seconds=device.silence_limit)


@dataclass(frozen=True)
class WritingToken:
    """A token with which readings of a device are written, active or revoked."""

    token: DeviceToken | GatewayToken
    gateway: str | None
    """The gateway's name; None for the device's own token."""

    @property
    def kind(self) -> str:
        """The kind of its holder, for people: `device`, `gateway`, or with its name `gateway “Cellar”`."""
        if self.gateway is None:
            return "device"
        return f"gateway “{self.gateway}”" if self.gateway else "gateway"

    @property
    def devices(self) -> list[Device]:
        """The devices of the token; for a gateway only those of its owner."""
        token = self.token
        if isinstance(token, DeviceToken):
            return [token.device]
        return list(token.devices.filter(owner_id=token.owner_id).order_by("device_id"))


def tokens_of(device: Device) -> list[WritingToken]:
    """Return the device's own tokens and those of its owner's gateways.

    Active tokens come first, the newest before the others; then revoked ones, the last revoked first.
    """
    gateways = GatewayToken.objects.filter(devices=device, owner_id=device.owner_id)
    found = [WritingToken(token, None) for token in DeviceToken.objects.filter(device=device)]
    found += [WritingToken(token, token.name) for token in gateways]
    return sorted(
        found,
        key=lambda each: (each.token.revoked_at is None, each.token.revoked_at or each.token.created_at),
        reverse=True,
    )


def find_token(device: Device, prefix: str) -> WritingToken | None:
    """Return the token of `tokens_of` with this prefix; None if there is none."""
    return next((each for each in tokens_of(device) if each.token.prefix == prefix), None)
