"""The commands of the page on deploying that tell each unit its addresses, and processes that start with these alone."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

from ...conftest import Service, free_port
from ...docs_pages import REPOSITORY, blocks
from .programs import run
from .test_samples import ADDRESSES, VARIABLE

PAGE = REPOSITORY / "docs" / "how-to" / "deploy.md"


def test_each_unit_is_told_the_addresses_that_its_command_needs_and_starts_with_them(
    telemetry: dict[str, str], joulebook: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    files = tmp_path / "etc"
    files.mkdir()
    done = run("bash", "-euo", "pipefail", "-c", script(tmp_path, files))
    assert done.returncode == 0, done.stdout
    told = {name: read_environment_file(files / f"{name}.env") for name in ADDRESSES}
    for name, roles in ADDRESSES.items():
        assert set(told[name]) == {VARIABLE[role] for role in roles}
        assert (files / f"{name}.env").stat().st_mode & 0o777 == 0o600
    assert joulebook("migrate", **told["migrate"]).returncode == 0
    for name in ("web", "ingest"):
        service = Service(name, free_port(), told[name])
        try:
            service.start(path="/readyz")
        finally:
            service.stop()


def script(folder: Path, files: Path) -> str:
    """Return the page's commands, for this machine's Joulebook and folders, without those that start units."""
    (text,) = (block.text for block in blocks(PAGE.read_text()) if "address()" in block.text)
    program = folder / "joulebook"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m joulebook "$@"\n')
    program.chmod(0o755)
    for theirs, ours in (
        ("runuser -u joulebook -- env", "env"),
        ("JOULEBOOK_HOME=/var/lib/joulebook", f"JOULEBOOK_HOME={os.environ['JOULEBOOK_HOME']}"),
        ("JOULEBOOK_CACHE=/var/cache/joulebook ", ""),
        ("/opt/joulebook/bin/joulebook", str(program)),
        ("/etc/joulebook", str(files)),
        ("systemctl enable --now joulebook.target\n", ""),
    ):
        assert theirs in text, theirs
        text = text.replace(theirs, ours)
    return text


def read_environment_file(path: Path) -> dict[str, str]:
    """Return what systemd reads from a file of `NAME=value` lines without quotes."""
    pairs = (line.partition("=") for line in path.read_text().splitlines())
    return {name: value for name, _, value in pairs}
