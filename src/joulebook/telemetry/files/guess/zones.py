"""Finds the zone of local times: given, named in the file, or shown by the times at changes of the clocks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

from joulebook.telemetry.clocks import Clock
from joulebook.telemetry.files.errors import Message
from joulebook.telemetry.files.guess.questions import Answer, Question
from joulebook.telemetry.files.guess.sample import Sample
from joulebook.telemetry.files.guess.times import WRITTEN_OFFSET, read_times
from joulebook.telemetry.files.table import BLANKS, join_time_cells
from joulebook.telemetry.files.time_words import PASSES, ZONES
from joulebook.telemetry.files.times import DAY, MINUTE, NO_OFFSET, find_zone
from joulebook.telemetry.readings import from_microseconds
from joulebook.time_zones import time_zone_names

_SAMPLED_CELLS = 2000

_WITH_OFFSET = ("%z", "%Z", "%s", "%Q", "%U", "%N")
"""Words of formats whose times need no zone."""

_AREA = re.compile(r"(?<![\w/])[A-Z][A-Za-z]+/[A-Za-z_]+(?:[/+-][A-Za-z_0-9]+)*")
_UTC = re.compile(
    r"(?<![A-Za-z])(?:UTC|GMT)\s*(?P<offset>[+-][0-9]{1,2}(?::?[0-9]{2})?)?(?![A-Za-z0-9])", re.IGNORECASE
)
_PLACE = re.compile(r"\)?[ :,-]+[A-Z][a-z]{2,}")
_FIXED = "|".join(sorted(ZONES, key=len, reverse=True))
_ABBREVIATION = re.compile(rf"(?<![A-Za-z])(?:{_FIXED})(?![A-Za-z0-9])")
_LABEL = re.compile(r"(?i)zone|fuseau|huso|fuso|(?<![a-z])tz(?![a-z])|tidszon|aikavyöh|pásmo|strefa")
_LOCAL_ZONES = {
    "CET": "Europe/Brussels", "CEST": "Europe/Brussels", "MEZ": "Europe/Berlin", "MESZ": "Europe/Berlin",
    "EET": "Europe/Athens", "EEST": "Europe/Athens", "WET": "Europe/Lisbon", "WEST": "Europe/Lisbon",
    "EST": "America/New_York", "EDT": "America/New_York", "CDT": "America/Chicago",
    "MST": "America/Denver", "MDT": "America/Denver", "PST": "America/Los_Angeles",
    "PDT": "America/Los_Angeles", "AEST": "Australia/Sydney", "AEDT": "Australia/Sydney",
    "NZST": "Pacific/Auckland", "NZDT": "Pacific/Auckland", "AKST": "America/Anchorage",
    "AKDT": "America/Anchorage",
}  # fmt: skip
"""A zone whose clocks change between the times of this name and those of summer, or of winter."""
_UNCLEAR_WORD = r"(?:^|[^A-Za-z])([A-Z]{2,4}T)(?:[^A-Za-z]|$)"


def settle_zone(sample: Sample) -> None:
    """Find the zone of times without an offset: given, named in the file, or the device's.

    A clock that was never put forward and back is none of a zone with summer time. Columns of offsets, names
    of zones, or words for summer and winter time become time columns. Raises `UnusableProfile` for a given
    name of no zone.
    """
    if not sample.given.time_formats and not sample.given.time_columns:
        _add_zone_column(sample)
        _add_pass_column(sample)
    _settle_zone(sample)


def _settle_zone(sample: Sample) -> None:
    if sample.given.tz is not None:
        sample.tz = sample.given.tz
        sample.note("time zone", sample.tz, "", is_given=True)
        find_zone(sample.tz)
        return
    if all(any(word in text for word in _WITH_OFFSET) for text in sample.time_formats):
        sample.tz = "UTC"
        sample.note("time zone", "in each time", "the times carry their offset")
        return
    if (place := _place_with_offset(sample)) is not None:
        _settle_offset(sample, *place)
        return
    if (named := _named_zone(sample)) is not None:
        name, reason = named
        if name not in ZONES or name in ("UTC", "GMT", "Z", "UT"):
            _take_zone(sample, name if name not in ZONES else "UTC", reason)
            return
        _settle_abbreviation(sample, name, reason)
        return
    words = set(sample.time_text.str.extract(_UNCLEAR_WORD).drop_nulls().unique()) - {"DST"} - ZONES.keys()
    if words and not words <= _names_of(sample.device_tz, sample):
        sample.tz = sample.device_tz
        _ask_for_zone(
            sample,
            f"the times name their zone {' and '.join(sorted(words))}, which may be several, "
            f"and is not that of the device, {sample.device_tz}",
            (sample.device_tz, "UTC"),
        )
        return
    if not _take_zone(sample, sample.device_tz, "the device's zone"):
        tz = sample.tz
        sample.ask(
            Question(
                "tz",
                f"the file names no time zone; its times are read in the device's, {tz}",
                Message("; for another, say {tz:ZONE}"),
                (Answer(tz, {"tz": tz}), Answer("UTC", {"tz": "UTC"})),
                is_required=False,
            )
        )


def _named_zone(sample: Sample) -> tuple[str, str] | None:
    """Return the zone named in the times, a column, the header or the lines above it, and the reason."""
    for text in sample.time_formats:
        if area := _first_area(text):
            return area, f"named in the times, {text!r}"
    for position, name in enumerate(sample.columns):
        words = sample.cells[f"c{position}"].head(_SAMPLED_CELLS).str.strip_chars(BLANKS).unique()
        if len(words) == 1 and words[0] in time_zone_names() and "/" in words[0]:
            return str(words[0]), f"named in column {name!r}"
    above = sample.lines[: sample.first_data_line - 1]
    labelled = [line for line in above if _LABEL.search(line)]
    for line in (*sample.time_columns, *above):
        if area := _first_area(line):
            return area, f"named in {line[:80]!r}"
    for line in (*sample.time_columns, *labelled):
        if (match := _UTC.search(line)) and not _PLACE.match(line, match.end()):
            return match["offset"] or "UTC", f"named in {line[:80]!r}"
        found = _ABBREVIATION.findall(line)
        if len(found) == 1:
            return found[0], f"{found[0]} in {line[:80]!r}"
        # Two abbreviations, as in CET/CEST, are the name of local time.
        if len(zones := {_LOCAL_ZONES.get(name, "") for name in found}) == 1 and (zone := zones.pop()):
            is_device = set(found) <= _names_of(sample.device_tz, sample)
            return sample.device_tz if is_device else zone, f"{' and '.join(found)} in {line[:80]!r}"
    return None


def _place_with_offset(sample: Sample) -> tuple[int, str, str] | None:
    """Return the offset in a line such as `Time zone: (UTC+01:00) Amsterdam, Berlin`, a zone and the reason.

    Windows names zones so: the offset is that of winter, and the places may have a summer time.
    """
    for line in sample.lines[: sample.first_data_line - 1]:
        match = _UTC.search(line)
        if match and match["offset"] and _LABEL.search(line) and _PLACE.match(line, match.end()):
            offset = find_zone(match["offset"]).utcoffset(None) or timedelta()
            return offset // timedelta(microseconds=1), sample.device_tz, f"{line[:80]!r}"
    return None


def _first_area(text: str) -> str:
    return next((match[0] for match in _AREA.finditer(text) if match[0] in time_zone_names()), "")


def _take_zone(sample: Sample, tz: str, reason: str) -> bool:
    """Set the zone, unless the times show that their clock does not change with it; then ask or say so.

    Return whether the times showed that.
    """
    find_zone(tz)
    sample.tz = tz
    changes = _changes(sample, tz)
    seen = {change for change, _ in changes}
    if ("even autumn" not in seen and "even spring" not in seen) or seen & {"doubled", "skipped"}:
        sample.note("time zone", tz, reason)
        return False
    winter, summer = (
        _offset_text(min(offset for _, offset in changes)),
        _offset_text(max(offset for _, offset in changes) + 60 * MINUTE),
    )
    about = f"the times run evenly through a change of the clocks of {tz}"
    # One change alone may have been written evenly by a portal that fills or drops the hour.
    is_sure = {"even spring", "even autumn"} <= seen
    sample.tz = winter
    sample.note("time zone", winter, f"{about}, so their clock knows no summer time")
    about += f", so they are read at {winter} all year" if is_sure else ": has their clock no summer time?"
    _ask_for_zone(sample, about, (winter, summer, "UTC", tz), is_required=not is_sure)
    return True


def _settle_abbreviation(sample: Sample, name: str, reason: str) -> None:
    """Settle whether CET, say, is the offset of all times, or the name of a zone with summer time."""
    device = sample.device_tz
    local = device if name in _names_of(device, sample) else _LOCAL_ZONES.get(name, "")
    _settle_offset(sample, ZONES[name] * MINUTE, local, reason)


def _settle_offset(sample: Sample, offset: int, local: str, reason: str) -> None:
    """Settle whether all times have an offset, or it is that of winter in a zone; "" for no such zone."""
    fixed = _offset_text(offset)
    wall = sample.times.wall[sample.times.fits]
    sample.tz = fixed
    if not local or not len(wall) or (_offsets(_clock(local, wall), wall) == offset).all():
        sample.note("time zone", fixed, reason)
        return
    seen = {change for change, _ in _changes(sample, local)}
    if seen & {"doubled", "skipped"}:
        sample.tz = local
        sample.note("time zone", local, f"{reason}, and the times show changes of the clocks")
    elif seen:
        sample.note("time zone", fixed, f"{reason}, and the times run evenly through a change of the clocks")
    else:
        about = f"{reason} can mean {fixed} all year, or local time with its summer time, {local}"
        sample.note("time zone", fixed, reason)
        _ask_for_zone(sample, about, (fixed, local))


def _ask_for_zone(sample: Sample, about: str, zones: Sequence[str], *, is_required: bool = True) -> None:
    zones = tuple(dict.fromkeys(zones))
    listed = " or ".join(f"{{tz:{{{at}}}}}" for at in range(len(zones)))
    answers = tuple(Answer(zone, {"tz": zone}) for zone in zones)
    sample.ask(Question("tz", about, Message(f"; say which with {listed}", *zones), answers, is_required))


def _names_of(tz: str, sample: Sample) -> set[str]:
    """Return the abbreviations of a zone in the years of the times, with the German ones."""
    wall = sample.times.wall[sample.times.fits]
    if not len(wall):
        return set()
    first, last = int(wall.min()), int(wall.max())
    zone = find_zone(tz)
    found = {
        from_microseconds(at).astimezone(zone).tzname() or ""
        for at in range(first - 200 * DAY, last + 200 * DAY, 60 * DAY)
        if abs(at) < _FAR
    }
    return found | {german for english, german in (("CET", "MEZ"), ("CEST", "MESZ")) if english in found}


_FAR = 200 * 366 * DAY


def _clock(tz: str, wall: NDArray[np.int64]) -> Clock:
    """Return the clock of a zone over the years of these local times."""
    return Clock.over(find_zone(tz), int(wall.min()) - 2 * DAY, int(wall.max()) + 2 * DAY)


def _offsets(clock: Clock, wall: NDArray[np.int64]) -> NDArray[np.int64]:
    return clock.offsets[np.searchsorted(clock.unusual_times()[1], wall, side="right")]


def _offset_text(offset: int) -> str:
    minutes = abs(offset) // MINUTE
    return f"{'-' if offset < 0 else '+'}{minutes // 60:02d}:{minutes % 60:02d}"


def _changes(sample: Sample, tz: str) -> list[tuple[str, int]]:
    """Return what the times show at each change of a zone's clock: doubled, skipped, or an even run.

    Each comes with the smaller of the two offsets. Only changes amid times with an even step count. Words for
    summer and winter time say that the hour is doubled.
    """
    if sample.times.marked.any():
        return [("doubled", 0)]
    wall = np.sort(sample.times.wall[sample.times.fits & (sample.times.offset == NO_OFFSET)])
    if len(wall) < 4 or abs(int(wall[0])) > _FAR or abs(int(wall[-1])) > _FAR:
        return []
    clock = _clock(tz, wall)
    found = []
    for at, (start, end) in enumerate(zip(*clock.unusual_times(), strict=True)):
        length = end - start
        before, inside, after = (
            int(np.diff(np.searchsorted(wall, [begin, begin + length]))[0])
            for begin in (start - length, start, end)
        )
        if not before or not after or max(before, after) > 1.3 * min(before, after):
            continue
        around = np.unique(wall[np.searchsorted(wall, start - length) : np.searchsorted(wall, end + length)])
        is_autumn = clock.offsets[at] > clock.offsets[at + 1]
        share = inside / max(before, after)
        offset = int(min(clock.offsets[at], clock.offsets[at + 1]))
        if is_autumn and share >= 1.6:
            found.append(("doubled", offset))
        elif not is_autumn and share <= 0.3:
            found.append(("skipped", offset))
        elif len(np.unique(np.diff(around))) == 1 and 0.7 <= share <= 1.3:
            found.append(("even autumn" if is_autumn else "even spring", offset))
    return found


def in_doubled_hour(sample: Sample) -> NDArray[np.bool_]:
    """Return for each row whether its time is in an hour that its zone's clock repeats."""
    times = sample.times
    found = np.zeros(len(times.wall), np.bool_)
    rows = np.flatnonzero(times.fits & (times.offset == NO_OFFSET) & (np.abs(times.wall) < _FAR))
    if len(rows):
        wall = times.wall[rows]
        clock = _clock(sample.tz, wall)
        start, end = clock.unusual_times()
        early, late = np.searchsorted(end, wall, side="right"), np.searchsorted(start, wall, side="right")
        found[rows] = clock.offsets[late] < clock.offsets[early]
    return found


_ZONE_COLUMN = re.compile(r"(?i)zone|offset|(?<![a-z])(?:tz|utc|gmt)(?![a-z])|fuseau|huso")
_MOST_WORDS = 4


def _add_zone_column(sample: Sample) -> None:
    """Add a column of offsets or abbreviations of zones to the time columns of local times."""
    if any(word in text for text in sample.time_formats for word in _WITH_OFFSET):
        return
    for position, words in _columns_of_words(sample):
        is_named = _ZONE_COLUMN.search(sample.columns[position]) is not None
        if all(word in ZONES and not (word == "Z" and not is_named) for word in words):
            _add_column(sample, position, "%Z")
            return
        if is_named and all(WRITTEN_OFFSET.fullmatch(word) for word in words):
            _add_column(sample, position, "%z")
            return


_PASS_COLUMN = re.compile(
    r"(?i)dst|daylight|summer|season|sommer|zomer|été|verano|estate|saison|zeitumstellung"
)


def _add_pass_column(sample: Sample) -> None:
    """Add a column of words for summer and winter time to the time columns, if they are true of the times."""
    if any(word in text for text in sample.time_formats for word in ("%D", *_WITH_OFFSET)):
        return
    named, _ = _named_zone(sample) or ("", "")
    sample.tz = sample.given.tz or (named if "/" in named else sample.device_tz)
    local = sample.times.fits & (sample.times.offset == NO_OFFSET)
    doubled = in_doubled_hour(sample)
    for position, words in _columns_of_words(sample):
        if not all(word.lower() in PASSES for word in words):
            continue
        cells = sample.cells[f"c{position}"].str.strip_chars(BLANKS).str.to_lowercase()
        marks = cells.replace_strict(PASSES, default=0, return_dtype=pl.Int64).to_numpy()
        rows = np.flatnonzero(local & ~doubled & (marks > 0))
        is_named = _PASS_COLUMN.search(sample.columns[position]) is not None
        if len({PASSES[word.lower()] for word in words}) < 2 and not is_named:
            continue
        if not len(rows):
            continue
        clock = _clock(sample.tz, sample.times.wall[rows])
        offsets = _offsets(clock, sample.times.wall[rows])
        standard = clock.offsets.min()
        is_true = (offsets > standard) == (marks[rows] == 1)
        if is_true.all():
            _add_column(sample, position, "%D")
            return
        if is_named:
            _ask_for_zone(
                sample,
                f"column {sample.columns[position]!r} does not fit the summer time of {sample.tz}",
                (sample.tz, "UTC"),
            )
            return


def _columns_of_words(sample: Sample) -> Iterator[tuple[int, list[str]]]:
    """Yield the columns with up to four different words, none of them long, apart from the times."""
    for position in range(len(sample.columns)):
        if position in sample.time_positions:
            continue
        words = sample.cells[f"c{position}"].str.strip_chars(BLANKS).unique().head(_MOST_WORDS + 2)
        found = [word for word in words if word]
        if 0 < len(found) <= _MOST_WORDS and all(len(word) <= 12 for word in found):
            yield position, found


def _add_column(sample: Sample, position: int, word: str) -> None:
    sample.time_positions = (*sample.time_positions, position)
    sample.time_text = join_time_cells(sample.cells, [f"c{at}" for at in sample.time_positions])
    has_blanks = (sample.cells[f"c{position}"].str.strip_chars(BLANKS) == "").any()
    formats = tuple(f"{text} {word}" for text in sample.time_formats)
    sample.time_formats = (*formats, *(sample.time_formats if has_blanks else ()))
    read_times(sample)
