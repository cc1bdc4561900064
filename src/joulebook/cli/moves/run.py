"""Runs one move: list, plan, download, import, compare. The caller must set up Django."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from joulebook.cli.imports.options import EXIT_REFUSED, EXIT_STOPPED, ImportOptions, ImportResult
from joulebook.cli.imports.run import find_device
from joulebook.cli.imports.storing import store
from joulebook.cli.moves.options import MoveOptions
from joulebook.cli.moves.plan import (
    Planned,
    Planner,
    home_devices,
    plan_json,
    print_plan,
    read_targets,
    series_name,
    write_targets,
)
from joulebook.cli.moves.server import Listed, Server, Staging, UnableToMove
from joulebook.cli.output import json_result, result, say
from joulebook.cli.progress import show_progress
from joulebook.cli.user import find_user
from joulebook.config import Config
from joulebook.embedded import telemetry_url
from joulebook.telemetry.connection import connect
from joulebook.telemetry.files.blocks import cut_blocks
from joulebook.telemetry.files.formats.named_series import TEXT_FIELDS, SeriesNames
from joulebook.telemetry.files.formats.registry import CONVERTERS
from joulebook.telemetry.files.guess.layout import FileLayout, converted_layout
from joulebook.telemetry.files.parser import BLOCK_READINGS, parse_blocks
from joulebook.telemetry.files.profile import ValueColumn
from joulebook.telemetry.files.series_table import KEY_LIMIT, MOST_SERIES
from joulebook.telemetry.files.settings import Given
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.table import ParsedBlock
from joulebook.telemetry.imports.totals import SeriesTotals, file_totals, stored_totals
from joulebook.telemetry.readings import MICROSECONDS
from joulebook.telemetry.series import SeriesKey
from joulebook.web.devices.models import Device
from joulebook.web.devices.operations import UnableToCreateDevice, create_device

_SETTLED_AFTER = 60
"""Seconds: what a server got later than that may not be in its answers yet."""


@dataclass(frozen=True)
class Compared:
    """A target with its totals on both sides."""

    target: SeriesKey
    moved: SeriesTotals
    stored: SeriesTotals

    @property
    def is_equal(self) -> bool:
        """Whether the readings on both sides have the same number and the same sum."""
        return (self.moved.count, self.moved.scaled_sum) == (self.stored.count, self.stored.scaled_sum)


def move_server(server: Server, name: str, options: MoveOptions) -> None:
    """Move the series of a server, or with a dry run only show the plan. Raises `UnableToMove`.

    `name` is that of the file into which the series are downloaded.
    """
    now = int(time.time()) - _SETTLED_AFTER
    if options.is_dry_run:
        _show_plan(_planned(server.list_series(now), options), options)
        return
    staging = Staging(Config.from_environ().home, server, now=now)
    listed = server.list_series(staging.until)
    # Refused before the download, if it is to be refused.
    _planned(listed, options)
    try:
        path = staging.fetch(name)
    except KeyboardInterrupt:
        say("stopped; the same command goes on with the download")
        raise typer.Exit(EXIT_STOPPED) from None
    exit_code = _move_file(path, name, options, listed)
    if exit_code == 0:
        staging.remove()
    raise typer.Exit(exit_code)


def move_file(path: Path, options: MoveOptions) -> None:
    """Move the series of an exported file. Raises `UnableToMove` and `FileError`."""
    raise typer.Exit(_move_file(path, path.name, options, None))


def _move_file(path: Path, name: str, options: MoveOptions, listed: Sequence[Listed] | None) -> int:
    source = FileSource(path, name=name)
    if source.format is None or source.format.name not in CONVERTERS:
        raise UnableToMove(
            f"{path} is no export of InfluxDB, Prometheus or VictoriaMetrics; for other files there is: "
            f"joulebook import {path} --device ID"
        )
    names = SeriesNames()
    totals = _count_file(source, CONVERTERS[source.format.name](source.content(), names))
    found = [Listed(names.by_metric[key], each) for key, each in totals.items()]
    planned = _planned(found, options)
    if not planned:
        raise UnableToMove(f"{name} holds no readings")
    if options.is_dry_run:
        _show_plan(planned, options)
        return 0
    _say_differences(listed, found)
    if options.owner:
        _create_devices(planned, options.owner)
    main = options.device or next((each.device for each in planned if each.metric), "")
    stored = store(
        ImportOptions(
            path, main, Given(), user_name=options.user_name, is_dry_run=False, as_json=options.as_json
        ),
        find_device(main),
        FileSource(path, name=name),
        _layout(planned),
        None,
    )
    compared = _compare(planned)
    _show_result(stored, planned, compared, options)
    return stored.exit_code or (0 if all(each.is_equal for each in compared) else EXIT_REFUSED)


def _planned(listed: Sequence[Listed], options: MoveOptions) -> list[Planned]:
    known = frozenset(Device.objects.values_list("device_id", flat=True))
    if options.device:
        find_device(options.device)
    if options.owner:
        find_user(options.owner)
        known |= frozenset(home_devices(listed))
    planner = Planner(
        devices=known,
        device=options.device,
        patterns=Config.from_environ().line_protocol_metric,
        given={} if options.map_file is None else read_targets(options.map_file),
    )
    planned = planner.plan(listed)
    for device_id in {each.device for each in planned if each.metric} - known:
        find_device(device_id)
    return planned


def _count_file(source: FileSource, chunks: Iterator[bytes]) -> dict[str, SeriesTotals]:
    """Return the totals of the series in a file, by their metric in its CSV."""
    layout = converted_layout([ValueColumn("value", TEXT_FIELDS, key=(TEXT_FIELDS,))])
    blocks = parse_blocks(
        cut_blocks(chunks, max_lines=BLOCK_READINGS, start_line=layout.profile.first_data_line),
        layout.profile, layout.columns, now=int(time.time() * MICROSECONDS), most_problems=0,
    )  # fmt: skip

    def watched() -> Iterator[ParsedBlock]:
        with show_progress("Counting") as show:
            for block in blocks:
                if block.rows_rejected[KEY_LIMIT]:
                    raise UnableToMove(
                        f"there are more than {MOST_SERIES:,} series; move them in parts, "
                        "with --measurement or --match"
                    )
                show(source.bytes_read / source.size)
                yield block

    return {key[0]: each for key, each in file_totals(watched(), layout.profile.values).items()}


def _say_differences(listed: Sequence[Listed] | None, found: Sequence[Listed]) -> None:
    """Say where a server counted other numbers than it delivered."""
    if listed is None:
        return
    delivered = {each.series.origin: each.totals.count for each in found}
    for each in listed:
        count = delivered.get(each.series.origin, 0)
        if count != each.totals.count:
            say(
                f"{series_name(each.series.origin)}: the server counts {each.totals.count:,} values and "
                f"delivered {count:,}"
            )


def _create_devices(planned: Sequence[Planned], owner: str) -> None:
    for device_id in sorted({each.device for each in planned if each.metric}):
        if not Device.objects.filter(device_id=device_id).exists():
            try:
                create_device(device_id, owner=find_user(owner))
            except UnableToCreateDevice as exc:
                raise UnableToMove(str(exc)) from exc
            say(f"device {device_id} created for {owner}")


def _layout(planned: Sequence[Planned]) -> FileLayout:
    values = [
        ValueColumn(
            "value", each.metric, each.unit, (each.series.metric,), device=each.device, kind=each.series.kind
        )
        for each in planned
        if each.metric
    ]
    if not values:
        raise UnableToMove("every series is left out; give at least one a metric")
    left_out = [each.series.metric for each in planned if not each.metric]
    return converted_layout(values, ignored=[*left_out, TEXT_FIELDS])


def _compare(planned: Sequence[Planned]) -> list[Compared]:
    """Return the totals of every target, of the file and as stored."""
    moved: dict[SeriesKey, SeriesTotals] = {}
    for each in planned:
        if each.metric:
            moved.setdefault((each.device, each.metric), SeriesTotals()).merge(each.totals)
    with connect(telemetry_url(Config.from_environ(), "reader")) as conn:
        stored = stored_totals(conn, moved)
    return [Compared(target, totals, stored[target]) for target, totals in moved.items()]


def _show_plan(planned: Sequence[Planned], options: MoveOptions) -> None:
    if options.save_map is not None:
        write_targets(options.save_map, planned)
    if options.as_json:
        json_result({"import_id": None, "series": plan_json(planned)})
        return
    print_plan(planned)
    count = sum(each.totals.count for each in planned if each.metric)
    result(f"\n{len(planned):,} series, {count:,} readings. Nothing was stored: this was a dry run.")


def _show_result(
    stored: ImportResult, planned: Sequence[Planned], compared: Sequence[Compared], options: MoveOptions
) -> None:
    if options.save_map is not None:
        write_targets(options.save_map, planned)
    report, import_id = stored.report, stored.file.import_id
    if options.as_json:
        rows = [
            {
                "device": each.target[0], "metric": each.target[1], "count": each.moved.count,
                "sum": each.moved.sum, "stored_count": each.stored.count, "stored_sum": each.stored.sum,
                "is_equal": each.is_equal,
            }
            for each in compared
        ]  # fmt: skip
        json_result({"import_id": import_id, "problem": stored.problem or None, "series": rows})
    else:
        unreadable = report.malformed + report.rows_rejected.total()
        result(
            f"Import {import_id}: {report.stored:,} readings stored, {report.duplicate:,} there already, "
            f"{report.conflict:,} in conflict, {unreadable:,} unreadable."
        )
    for each in compared:
        if not each.is_equal:
            say(
                f"{each.target[1]} of {each.target[0]}: {each.moved.count:,} readings with the sum "
                f"{each.moved.sum!r} were moved, {each.stored.count:,} with {each.stored.sum!r} are stored "
                "in this range"
            )
    equal = sum(each.is_equal for each in compared)
    say(f"{equal:,} of {len(compared):,} series are equal on both sides, by count and exact sum.")
    if stored.problem:
        say(stored.problem)
    say(f"To undo the move: joulebook imports undo {import_id}")
