"""An export ten times as long needs no more memory, in any format and layout."""

from __future__ import annotations

import subprocess
import sys

import pytest

_PROGRAM = """
import resource, sys
import numpy as np
from joulebook.telemetry.export.formats import export_chunks
from joulebook.telemetry.export.reading import Block

file_format, layout, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
SIZE = 50_000

def blocks():
    random = np.random.default_rng(0)
    for number in range(count):
        time = (np.arange(SIZE) // 2 + number * SIZE) * 1_000_000
        yield Block(time, np.tile(np.arange(2, dtype=np.int32), SIZE // 2), random.normal(size=SIZE), int(time[-1]) + 1)

size = sum(map(len, export_chunks(blocks(), ["power", "voltage"], file_format=file_format, layout=layout)))
assert size > count * SIZE * 3
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_megabytes(*words: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *words], capture_output=True, text=True, check=True, timeout=120
    )
    return int(done.stdout) / 1024


@pytest.mark.parametrize("layout", ["wide", "long"])
@pytest.mark.parametrize("file_format", ["csv", "parquet", "arrow"])
def test_memory_does_not_grow_with_the_export(file_format: str, layout: str) -> None:
    short = peak_megabytes(file_format, layout, "8")
    long = peak_megabytes(file_format, layout, "80")
    assert long < short + 25
