"""The plan of a move: the device, metric and unit of each series, by tags or by a file of the user."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from rich.table import Table

from joulebook.cli.moves.server import Listed, UnableToMove
from joulebook.cli.output import minute, print_table
from joulebook.telemetry.files.formats.named_series import NamedSeries, Origin, home_assistant_pattern
from joulebook.telemetry.imports.totals import SeriesTotals
from joulebook.telemetry.kinds.units import unit_problem
from joulebook.telemetry.line_protocol.naming import METRIC, VALUE_FIELD, Pattern
from joulebook.telemetry.readings import device_id_problem, from_microseconds, metric_name_problem

DEVICE_TAGS = ("device_id", "device", "host")
_COLUMNS = ("series", "count", "first", "last", "device", "metric", "unit")


@dataclass(frozen=True)
class Planned:
    """A series with its totals, and its target; the metric is empty for a series left out."""

    series: NamedSeries
    totals: SeriesTotals
    device: str
    metric: str
    unit: str


class Planner:
    """Finds the target of each series; the same series always get the same targets."""

    def __init__(
        self,
        *,
        devices: frozenset[str],
        device: str | None,
        patterns: str,
        given: Mapping[str, tuple[str, str, str]],
    ) -> None:
        """Take the known devices, and the one for series whose tags name none of them.

        `patterns` are those of ingest's line protocol. `given` has targets by the series' name. Raises
        `UnableToMove` for patterns that cannot be read.
        """

        def refuse(message: str) -> NoReturn:
            raise UnableToMove(f"JOULEBOOK_LINE_PROTOCOL_METRIC={patterns!r}: {message}")

        own = [] if patterns == METRIC else [Pattern(text, refuse) for text in patterns.split()]
        self._patterns = [*own, home_assistant_pattern(), Pattern(METRIC, refuse)]
        self._devices, self._device, self._given = devices, device, given

    def plan(self, listed: Iterable[Listed]) -> list[Planned]:
        """Return the plan of all series, in the order of their names.

        Raises `UnableToMove` if a series has no device, or a target cannot be used.
        """
        planned: list[Planned] = []
        taken: set[tuple[str, str]] = set()
        homeless: list[str] = []
        for each in sorted(listed, key=lambda one: _sort_key(one.series.origin)):
            name = series_name(each.series.origin)
            if name in self._given:
                device, metric, unit = self._given[name]
                device = device or self._device or ""
            else:
                device, metric, unit = self._target(each.series, taken)
            if not device and metric:
                homeless.append(name)
            if metric and (problem := metric_name_problem(metric) or (unit and unit_problem(unit))):
                raise UnableToMove(f"series {name!r}: {problem}")
            taken.add((device, metric))
            planned.append(Planned(each.series, each.totals, device, metric, unit))
        if homeless:
            raise UnableToMove(
                f"{len(homeless)} series name no device of yours in a tag {', '.join(DEVICE_TAGS)}, such as "
                f"{homeless[0]!r}; give --device ID for them, or their devices with --map FILE"
            )
        _check_units(planned)
        return planned

    def _target(self, series: NamedSeries, taken: set[tuple[str, str]]) -> tuple[str, str, str]:
        tags = dict(series.origin.tags)
        tag = next((name for name in DEVICE_TAGS if tags.get(name) in self._devices), None)
        device = tags[tag] if tag else self._device or ""
        for pattern in self._patterns:
            if pattern.fits(tags):
                metric = pattern.names(series.origin.measurement, tags, tag).metric(series.origin.field)
                if (device, metric) not in taken and metric_name_problem(metric) is None:
                    return device, metric, series.unit
        return device, series.metric, series.unit


def _check_units(planned: Sequence[Planned]) -> None:
    """Raise `UnableToMove` if series of different units have one target: their values do not mix."""
    units: dict[tuple[str, str], str] = {}
    for each in planned:
        target = (each.device, each.metric)
        if each.metric and units.setdefault(target, each.unit) != each.unit:
            raise UnableToMove(
                f"metric {each.metric!r} of device {each.device!r} would get values in "
                f"{units[target] or 'no unit'!r} and {each.unit or 'no unit'!r}; give them two names"
            )


def series_name(origin: Origin) -> str:
    """Return the name of a series, by which a file of targets names it: `measurement,tag=text field`."""
    tags = "".join(f",{key}={text}" for key, text in origin.tags)
    context = f"{origin.context}: " if origin.context else ""
    return f"{context}{origin.measurement}{tags} {origin.field or VALUE_FIELD}"


def _sort_key(origin: Origin) -> tuple[str, ...]:
    return origin.context, origin.measurement, origin.field, series_name(origin)


def home_devices(listed: Iterable[Listed]) -> list[str]:
    """Return the devices that tags of the series name, known or not."""
    named = (dict(each.series.origin.tags) for each in listed)
    found = {next((tags[name] for name in DEVICE_TAGS if name in tags), "") for tags in named}
    return sorted(device_id for device_id in found if device_id and device_id_problem(device_id) is None)


def read_targets(path: Path) -> dict[str, tuple[str, str, str]]:
    """Return the targets (device, metric, unit) of a file by series. Raises `UnableToMove`."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise UnableToMove(f"--map {path} cannot be read: {exc}") from exc
    if not rows or not {"series", "device", "metric", "unit"} <= rows[0].keys():
        raise UnableToMove(f"--map {path} has not the columns {', '.join(_COLUMNS)} that --save-map writes")
    return {
        row["series"]: tuple((row[name] or "").strip() for name in ("device", "metric", "unit"))  # type: ignore[misc]
        for row in rows
    }


def write_targets(path: Path, planned: Sequence[Planned]) -> None:
    """Write the targets as a file to be edited; a series with an empty metric is left out."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for each in planned:
            writer.writerow(_row(each))


def print_plan(planned: Sequence[Planned]) -> None:
    """Print the series, their counts and their targets."""
    table = Table("Series", "Count", "First", "Last", "Device", "Metric", "Unit", box=None, pad_edge=False)
    for each in planned:
        table.add_row(*_row(each))
    print_table(table)


def plan_json(planned: Sequence[Planned]) -> list[dict[str, object]]:
    """Return the plan as JSON."""
    return [dict(zip(_COLUMNS, _row(each), strict=True)) | {"count": each.totals.count} for each in planned]


def _row(each: Planned) -> list[str]:
    first, last = (
        minute(from_microseconds(time)) if time else "" for time in (each.totals.first, each.totals.last)
    )
    target = [each.device, each.metric, each.unit] if each.metric else ["", "", ""]
    return [series_name(each.series.origin), str(each.totals.count), first, last, *target]
