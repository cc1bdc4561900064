"""The documentation's commands are run, page by page, and print what the pages say they print."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from ...docs_pages import PAGES, REPOSITORY, Block, blocks, name

FIRST_STEPS = {"README.md", "docs/getting-started.md"}
"""Pages that make their user and device themselves; the others are given both, and their tokens."""
OWN_HOME = {"docs/operations.md"}
"""Pages that stop the database, and so need one of their own."""

RUN_PAGES = [page for page in PAGES if any(block.is_run for block in blocks(page.read_text()))]
END = "end of block"
CUT = f"echo '{END}'; echo '{END}' >&2\n"


class Printed(NamedTuple):
    """What a block printed, by stream."""

    output: str
    errors: str


@dataclass
class Place:
    """Where a page's commands run: a folder, an environment, and what stands for the page's names there."""

    folder: Path
    environment: dict[str, str]
    names: dict[str, str]

    def adapted(self, text: str) -> str:
        """Return a page's text with this place's ports and device."""
        for ours, theirs in self.names.items():
            text = text.replace(ours, theirs)
        return text

    def run(self, script: str) -> list[Printed]:
        """Run a script in one shell and return what it printed, cut where `CUT` was run."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
        assert done.returncode == 0, f"{done.stdout[-1500:]}\n{done.stderr[-3000:]}"
        parts = zip(done.stdout.split(f"{END}\n"), done.stderr.split(f"{END}\n"), strict=True)
        return [Printed(output, errors) for output, errors in parts]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that looks like the project's to somebody who types commands."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "manage.py").symlink_to(REPOSITORY / "manage.py")
    return tmp_path


@pytest.fixture
def place(folder: Path, web, ingest, transactional_db: None) -> Place:
    """The session's own services; what a page makes in the accounts database is removed afterwards."""
    return Place(
        folder,
        {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        {
            "http://127.0.0.1:8000": web.url,
            "http://127.0.0.1:8001": ingest.url,
            "device_001": f"d{uuid.uuid4().hex[:9]}",  # as long as the name that it replaces: tables are compared
        },
    )


def with_device(place: Place) -> str:
    """Make alice and her device, and return the shell's words that hold their tokens."""
    from joulebook.web.accounts.operations import create_user, issue_user_token
    from joulebook.web.devices.operations import create_device, issue_device_token

    alice = create_user("alice", "choose a long pass phrase")
    device = create_device(
        place.adapted("device_001"), owner=alice, name="Home battery", time_zone="Europe/Berlin"
    )
    return f"TOKEN='{issue_device_token(device)}'\nUSER_TOKEN='{issue_user_token(alice)}'\n"


def run_page(page: Path, place: Place, *, begin: str = "") -> list[tuple[Block, Printed]]:
    """Run a page's commands; return each block that shows an output, with what was printed in its place."""
    found = blocks(place.adapted(page.read_text()))
    for block in found:
        if block.is_file:
            (place.folder / block.note).write_text(block.text)
    shell = [block for block in found if block.is_run]
    script = begin + "".join(f"{block.text}{CUT}" for block in shell)
    printed = dict(zip([id(block) for block in shell], place.run(script), strict=False))
    shown, before = [], None
    for block in found:
        if block.is_output and before is not None and id(before) in printed:
            shown.append((block, printed[id(before)]))
        before = block
    return shown


def fits(shown: str, printed: str) -> bool:
    """Whether a text block is what was printed; `…` is anything, and blanks at the ends of lines count nothing."""
    lines = "\n".join(line.rstrip() for line in shown.strip().splitlines())
    pattern = re.escape(lines).replace("…", ".*?")
    return (
        re.fullmatch(pattern, "\n".join(line.rstrip() for line in printed.strip().splitlines()), re.DOTALL)
        is not None
    )


def check(page: Path, shown: list[tuple[Block, Printed]]) -> None:
    """Compare what a page shows with what was printed."""
    for block, printed in shown:
        where = f"{name(page)}: the block at line {block.line} is not what was printed:\n{printed}"
        if block.language == "json":
            assert json.loads(block.text) == json.loads(printed.output), where
        else:
            assert fits(block.text, printed.output) or fits(block.text, printed.errors), where


@pytest.mark.parametrize("page", [page for page in RUN_PAGES if name(page) not in OWN_HOME], ids=name)
def test_commands_of_a_page_work_and_print_what_it_says(page: Path, place: Place) -> None:
    begin = "" if name(page) in FIRST_STEPS else with_device(place)
    check(page, run_page(page, place, begin=begin))


@pytest.fixture
def own_home(folder: Path, joulebook: Callable[..., subprocess.CompletedProcess[str]]) -> Iterator[Place]:
    """A home with a database of its own and four readings; every database below the folder is stopped."""
    home = folder / "home"
    environment = {
        **os.environ,
        "JOULEBOOK_HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    (folder / "readings.csv").write_text(
        "time,power,voltage\n2026-11-20 08:00:00,1240,230.1\n2026-11-20 08:01:00,1255,229.8\n"
    )
    place = Place(folder, environment, {})
    try:
        place.run(
            "joulebook db start && joulebook migrate\n"
            "echo 'choose a long pass phrase' | joulebook user add alice --password-stdin\n"
            "joulebook device add device_001 --owner alice --name 'Home battery' --tz Europe/Berlin\n"
            "joulebook import readings.csv --device device_001"
        )
        yield place
    finally:
        for root in folder.glob("*/db"):
            joulebook("db", "stop", JOULEBOOK_HOME=str(root.parent))


CONTENT = (
    """SELECT device_id, metric, time, value FROM readings JOIN series ON id = series_id ORDER BY 1, 2, 3"""
)


def content(place: Place, home: str) -> str:
    """Return all readings of a home below the place's folder."""
    return place.run(
        f"export JOULEBOOK_HOME='{place.folder / home}'; joulebook db start; joulebook db psql -- -Atc \"{CONTENT}\""
    )[0].output


def test_a_backup_made_and_restored_by_the_page_has_every_reading(own_home: Place) -> None:
    before = content(own_home, "home")
    assert before.count("\n") == 4
    page = REPOSITORY / "docs" / "operations.md"
    check(page, run_page(page, own_home))
    for home in ("restored", "copied"):
        assert content(own_home, home) == before
    # The restored home knows its users and devices, and gives new series ids of their own.
    (own_home.folder / "more.csv").write_text("time,frequency\n2026-11-20 08:00:00,50.01\n")
    own_home.environment["JOULEBOOK_HOME"] = str(own_home.folder / "restored")
    listed, _ = own_home.run(f"joulebook device list\n{CUT}joulebook import more.csv --device device_001")
    assert "device_001" in listed.output
    assert "frequency" in content(own_home, "restored")


def test_every_page_that_shows_commands_is_run() -> None:
    assert {"README.md", "docs/getting-started.md", "docs/how-to/send-readings.md"} <= set(
        map(name, RUN_PAGES)
    )


def test_a_text_fits_only_where_it_says_the_same() -> None:
    assert fits("a …\nc", "a b\nx\nc\n")
    assert not fits("a …\nc", "a b\nd\n")
