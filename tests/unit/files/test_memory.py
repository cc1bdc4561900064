"""Memory does not grow with the file: a file of ten times the size is read in the same space."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import resource, sys
from pathlib import Path
from joulebook.telemetry.files.guess.layout import HEAD_BYTES, guess_layout
from joulebook.telemetry.files.parser import parse_file
from joulebook.telemetry.files.settings import Given
from joulebook.telemetry.files.read_ahead import read_ahead
from joulebook.telemetry.files.report import ImportReport, count_blocks
from joulebook.telemetry.files.source import FileSource

source = FileSource(Path(sys.argv[1]))
layout = guess_layout(source.head(HEAD_BYTES), is_whole=False, given=Given(repeats="first"), device_tz="UTC")
layout.require_answers()
report = ImportReport(layout.profile.values, is_dry_run=True)
count_blocks(read_ahead(parse_file(source, layout.profile, layout.columns, now=1_900_000_000_000_000)), report)
print(report.rows_imported, report.problem_count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def read_in_a_process(path: Path) -> tuple[int, int, int]:
    """Return rows imported, problems, and the process's greatest size in KiB."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)], capture_output=True, text=True, check=True, timeout=240
    )
    rows, problems, size = map(int, done.stdout.split())
    return rows, problems, size


def write(path: Path, rows: int) -> Path:
    line = b"2024-01-13 00:00:00,1.5,-2.25,?,bad cell,1e3\n"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"time,a,b,c,d,e\n" + b"2024-01-13 00:00:00,1,2,3,4,5\n" * 100_000)
        for _ in range(rows // 10_000):
            file.write(line * 10_000)
    return path


def test_memory_does_not_grow_with_the_file_nor_with_its_problems(tmp_path: Path) -> None:
    small = read_in_a_process(write(tmp_path / "small.csv.gz", 50_000))
    large = read_in_a_process(write(tmp_path / "large.csv.gz", 1_400_000))
    # All rows have one time: three cells a row repeat it with another value, and one is malformed.
    assert small[:2] == (150_000, 4 * 50_000)
    assert large[0] == 1_500_000
    assert large[1] > 1_400_000  # Only repeats among the last 500,000 readings are found.
    assert large[2] < small[2] + 40 * 1024
