"""Several files as one import: what differs from file to file, and their readings one after the other."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from joulebook.telemetry.files.errors import FileError, ReadingAbandoned, TooMuchWork
from joulebook.telemetry.files.parser import BLOCK_READINGS, parse_file
from joulebook.telemetry.files.profile import ImportProfile
from joulebook.telemetry.files.series_table import SeriesTable
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.files.table import (
    FILE_LEFT_OUT,
    MOST_PROBLEMS,
    CellCounts,
    Checkpoint,
    ParsedBlock,
    Problem,
    shown,
)

WRITTEN = (
    "encoding", "line_end", "delimiter", "delimiter_pattern", "widths", "quote", "header_line",
    "first_data_line", "skip_prefixes", "time_formats", "tz", "decimal", "thousands", "na_values", "affixes",
)  # fmt: skip
"""The entries of a profile that say how a file is written: they may differ among files of one import."""


@dataclass(frozen=True)
class Member:
    """One of several files, with its entries among `WRITTEN` that differ from the shared profile.

    A file with a `problem` is left out for this reason.
    """

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""

    @classmethod
    def of(cls, name: str, own: ImportProfile, shared: ImportProfile) -> Member:
        """Return a file read by `own`, of which only the entries among `WRITTEN` count."""
        pairs = ((entry, getattr(own, entry), getattr(shared, entry)) for entry in WRITTEN)
        return cls(name, {entry: mine for entry, mine, theirs in pairs if mine != theirs})

    def applied_to(self, profile: ImportProfile) -> ImportProfile:
        """Return the shared profile with the file's own entries."""
        return replace(profile, **self.changes)

    def as_json(self) -> dict[str, Any]:
        """Return the file as a JSON object for `from_json`."""
        return {name: value for name, value in vars(self).items() if value}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Member:
        """Return the file of an object from `as_json`."""
        lists = {field.name for field in dataclasses.fields(ImportProfile) if "tuple" in str(field.type)}
        changes = {
            name: tuple(value) if name in lists else value
            for name, value in stored.get("changes", {}).items()
        }
        return cls(str(stored["name"]), changes, str(stored.get("problem", "")))


def parse_files(
    source: FileSource,
    profile: ImportProfile,
    columns: Sequence[str],
    members: Sequence[Member] = (),
    *,
    now: int,
    block_readings: int = BLOCK_READINGS,
    most_problems: int = MOST_PROBLEMS,
    checkpoint: Checkpoint | None = None,
) -> Iterator[ParsedBlock]:
    """Yield the readings of all files of an import, one after the other; without `members` it has one.

    A file that is left out, or damaged, is one block with the reason; the others are read. Arguments and
    errors are those of `parse_file`.
    """
    if not members:
        yield from parse_file(
            source, profile, columns, now=now, block_readings=block_readings,
            most_problems=most_problems, checkpoint=checkpoint,
        )  # fmt: skip
        return
    source.sha256 = source.digest()
    sizes = source.members
    at = checkpoint or Checkpoint(0, 0, {})
    done = sum(sizes.get(member.name, 0) for member in members[: at.file])
    for index, member in enumerate(members[at.file :], at.file):
        reason = member.problem or ("" if member.name in sizes else "the file is not there any more")
        if not reason:
            try:
                own = member.applied_to(profile)
                file = source.member(member.name)
                for block in parse_file(
                    file, own, columns, now=now, block_readings=block_readings,
                    most_problems=most_problems, checkpoint=_in_file(at, own),
                ):  # fmt: skip
                    at = replace(block.checkpoint or at, file=index)
                    source.bytes_read = done + sizes[member.name] * file.bytes_read // file.size
                    problems = [replace(problem, file=member.name) for problem in block.problems]
                    yield replace(block, problems=problems, checkpoint=at, file=member.name)
            except (TooMuchWork, ReadingAbandoned):
                raise
            except FileError as exc:
                reason = str(exc)
        done += sizes.get(member.name, 0)
        source.bytes_read = done
        # The keys found so far are the next file's, too. Its clocks begin anew.
        state = {**at.state, "clocks": {}, "table": False} if at.state else {}
        at = Checkpoint(0, 0, state, index + 1)
        if reason:
            yield _left_out(member.name, reason, profile, at)


def _in_file(at: Checkpoint, profile: ImportProfile) -> Checkpoint | None:
    """Return where a file is begun or continued; None for the first file of all."""
    return replace(at, line=at.line or profile.first_data_line) if at.state else None


def _left_out(name: str, reason: str, profile: ImportProfile, checkpoint: Checkpoint) -> ParsedBlock:
    """Return a block without readings, for a file of which no more is read."""
    none = np.empty(0, np.int64)
    series = SeriesTable(profile, ())
    series.restore(checkpoint.state.get("added", ()))
    return ParsedBlock(
        column=none.astype(np.int32), time=none, value=np.empty(0), line=none, rows_imported=0,
        rows_rejected=Counter(), blank_lines=0, doubled=(0, 0), cells=[CellCounts() for _ in series.values],
        problems=[Problem(0, None, FILE_LEFT_OUT, shown(reason), file=name)],
        added=series.added, checkpoint=checkpoint, file=name, left_out=reason,
    )  # fmt: skip
