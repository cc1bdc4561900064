"""What the metrics of devices mean: what their owners said of them, and guesses for the rest.

Nothing here asks telemetry: a metric that nobody said anything of is known by its name alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

from joulebook.telemetry.kinds.guesses import guess_kind, guess_unit
from joulebook.telemetry.kinds.kinds import KINDS
from joulebook.telemetry.kinds.settings import (
    DIP_TOLERANCE,
    MetricSettings,
    Replacement,
    SettingsByMetric,
    metric_label,
    silence_rule,
)
from joulebook.web.devices.models import Device, MeterReplacement, Metric


def metric_settings(device: Device) -> SettingsByMetric:
    """Return what each metric of the device means; `settings[name]` works for every name.

    Two statements to `default`, none to telemetry.
    """
    return settings_by_device([device.device_id])[device.device_id]


def settings_by_device(device_ids: Iterable[str]) -> Mapping[str, SettingsByMetric]:
    """Return the settings of several devices' metrics by device id, in the same two statements."""
    found = {device_id: SettingsByMetric() for device_id in device_ids}
    metrics = Metric.objects.filter(device__device_id__in=found)
    replacements: dict[int, list[Replacement]] = {}
    for replacement in MeterReplacement.objects.filter(metric__in=metrics).order_by("replaced_at"):
        replacements.setdefault(replacement.metric_id, []).append(_replacement(replacement))
    for metric in metrics.select_related("device"):
        mine = tuple(replacements.get(metric.pk, ()))
        found[metric.device.device_id][metric.name] = settings_of(metric, mine)
    return found


def settings_of(metric: Metric, replacements: tuple[Replacement, ...] = ()) -> MetricSettings:
    """Return the settings in force of a configured metric."""
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
        display_name_guessed=not metric.display_name,
        dip_tolerance_guessed=given_dip is None,
    )


def silence_limit(device: Device, *, usual: timedelta | None = None) -> timedelta:
    """Return how long the device may send nothing before it counts as silent; see `silence_rule`."""
    return silence_rule(own_silence_limit(device), usual=usual or timedelta())


def own_silence_limit(device: Device) -> timedelta | None:
    """Return the silence limit that the device's owner has set, None where that is left to us."""
    return None if device.silence_limit is None else timedelta(seconds=device.silence_limit)


def _replacement(row: MeterReplacement) -> Replacement:
    return Replacement(row.replaced_at, row.final_register, row.start_register)
