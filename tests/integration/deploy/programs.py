"""The programs that read the samples of `deploy/`: run where they are, else the test is skipped with the remedy."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[3] / "deploy"


def need(program: str, package: str) -> str:
    """Return the path of a program, or skip the test and name Debian's package."""
    path = shutil.which(program, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if path is None:
        pytest.skip(f"no {program} on this machine; on Debian: apt-get install {package}")
    return path


def run(*command: str | Path, seconds: float = 120, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a program and return what it printed, standard error included."""
    return subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=seconds,
        **options,  # type: ignore[call-overload]
    )  # fmt: skip
