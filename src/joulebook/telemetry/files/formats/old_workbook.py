"""Old Excel workbooks (.xls), read in a process of its own with bounded memory and processor time.

A sheet of the old format may show one long text in millions of cells, and its reader keeps a copy for each:
no check before it could be as short as the limit of a process.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from joulebook.telemetry.files.budget import check_budget
from joulebook.telemetry.files.errors import FileTooLarge, UnreadableFile
from joulebook.telemetry.files.formats.format import Content, Format
from joulebook.telemetry.files.formats.sheets import sheet_chunks, sheet_names

MOST_MEMORY = 1 << 30
"""Most bytes that reading a workbook may take, beyond those of a process that reads none."""

MOST_SECONDS = 120
"""Most seconds of processor time that reading a workbook may take."""

_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_PIECE = 1 << 16
_REFUSED = 3


def _convert(content: Content) -> Iterator[bytes]:
    """Yield a sheet as CSV; the errors are those of `sheet_chunks`, and `FileTooLarge` beyond the limits."""
    yield from _output(content, "chunks")


def _sheet_names(content: Content) -> tuple[str, ...]:
    return tuple(json.loads(b"".join(_output(content, "names"))))


def _output(content: Content, wanted: str) -> Iterator[bytes]:
    """Yield what the other process writes."""
    named = [content.part.replace("\0", ""), content.name, str(MOST_MEMORY), str(MOST_SECONDS)]
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, wanted, str(content.path.resolve()), *named],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        try:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            assert process.stderr is not None  # noqa: S101 - it is a pipe
            while piece := process.stdout.read(_PIECE):
                check_budget()
                yield piece
            message = process.stderr.read()
            process.wait()
        finally:
            process.kill()
    if process.returncode == _REFUSED:
        refused: dict[str, Any] = json.loads(message)
        raise UnreadableFile(refused["message"], setting=refused["setting"])
    if process.returncode:
        raise FileTooLarge(
            f"{content.name} takes more than {MOST_MEMORY >> 20} MB of memory or {MOST_SECONDS} seconds to "
            "be read; save the sheet as CSV and import that"
        )


def _write(wanted: str, path: Path, sheet: str, name: str) -> None:
    try:
        if wanted == "names":
            sys.stdout.write(json.dumps(sheet_names(path, name)))
            return
        for chunk in sheet_chunks(path, sheet, name):
            sys.stdout.buffer.write(chunk)
    except UnreadableFile as exc:
        sys.stdout.flush()
        sys.stderr.write(json.dumps({"message": str(exc), "setting": exc.setting}))
        sys.exit(_REFUSED)


def _limit(memory: int, seconds: int) -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


OLD_WORKBOOK = Format(
    "an old Excel workbook", lambda head: head.startswith(_MAGIC), _convert, _sheet_names, needs_file=True
)

if __name__ == "__main__":
    _limit(*map(int, sys.argv[5:7]))
    _write(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:5])
