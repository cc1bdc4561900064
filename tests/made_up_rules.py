"""A package `tzdata` in which zones follow rules that nobody else has: not this machine, nor a browser."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Mapping, Sequence
from datetime import tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import tzdata

Rules = Sequence[tuple[int, int]]
"""From each instant (seconds since 1970 UTC) on, how many seconds ahead of UTC; the first holds before too."""


def made_up_tzdata(folder: Path, zones: Mapping[str, Rules]) -> Path:
    """Copy the installed package into `folder`, with these zones made up; return what PYTHONPATH must name."""
    package = folder / "tzdata"
    shutil.copytree(Path(tzdata.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, rules in zones.items():
        (package / "zoneinfo" / name).write_bytes(_file_of(rules))
    return folder


def made_up_zone(folder: Path, name: str) -> tzinfo:
    """Return a zone of the package in `folder`, for this process to compare with."""
    with (folder / "tzdata" / "zoneinfo" / name).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def _file_of(rules: Rules) -> bytes:
    """Return a file in the format of RFC 8536, version 2; its first block, of 32 bits, is empty."""
    (_, before), *changes = rules
    offsets = [before, *(offset for _, offset in changes)]
    last = offsets[-1]
    sign, minutes = "+" if last < 0 else "-", abs(last) // 60
    empty = b"TZif2" + bytes(15) + struct.pack(">6l", 0, 0, 0, 0, 1, 1) + struct.pack(">lbb", 0, 0, 0) + b"\0"
    return b"".join(
        [
            empty,
            b"TZif2" + bytes(15) + struct.pack(">6l", 0, 0, 0, len(changes), len(offsets), 4),
            struct.pack(f">{len(changes)}q", *(at for at, _ in changes)),
            bytes(range(1, len(offsets))),
            b"".join(struct.pack(">lbb", offset, 0, 0) for offset in offsets),
            b"XXX\0",
            f"\n<XXX>{sign}{minutes // 60}:{minutes % 60:02}\n".encode(),
        ]
    )
