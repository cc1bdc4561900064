"""Copies of the repository as a clone has it, and what is built from them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]


def tracked_files() -> list[str]:
    """Return the repository's own files, new ones included, without what git ignores."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    return sorted(name for name in done.stdout.split("\0") if name and (REPOSITORY / name).is_file())


def copy_clone(target: Path, *, with_assets: bool) -> Path:
    """Copy the repository's own files to `target`; the assets that set-up has made only where wanted."""
    for name in tracked_files():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, path)
    if with_assets:
        for part in ("web", "ingest"):
            assets = Path("src/joulebook") / part / "assets"
            shutil.copytree(REPOSITORY / assets, target / assets)
    return target


def build(
    clone: Path, target: str, *, path: str | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Build `wheel` or `sdist` into the clone's folder `dist`, by this environment's hatchling, offline but for npm."""
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", "dist"],
        cwd=clone,
        env={**os.environ, **environment, **({"PATH": path} if path is not None else {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


def built(clone: Path, pattern: str) -> Path:
    """Return the one file in `dist` that fits a pattern."""
    (found,) = (clone / "dist").glob(pattern)
    return found
