"""Homes in awkward places, and users with awkward rights."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase
from joulebook.embedded.layout import Layout
from joulebook.embedded.server_user import ServerUser, command_prefix

from .conftest import NewHome, configure

NOBODY = ServerUser(65534, 65534, changes=True)
SOURCES = Path(__file__).parents[3] / "src"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")

# Starts the database in the background, asks it as its reader, tells who runs it, and stops it.
ROUND = """\
import os
from pathlib import Path
import psycopg
from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase
database = EmbeddedDatabase(Config.from_environ())
database.start()
with psycopg.connect(database.url("reader")) as conn:
    assert conn.execute("SELECT 1").fetchone() == (1,)
status = dict(line.split(":", 1) for line in Path(f"/proc/{database.pid()}/status").read_text().splitlines())
database.stop()
with database.foreground() as child:
    database.wait_until_ready()
    database.stop()
assert child.returncode == 0
print(os.geteuid(), status["Uid"].split()[1], int(status["CapEff"], 16))
"""


def works(database: EmbeddedDatabase) -> bool:
    database.start()
    with psycopg.connect(database.url("reader")) as conn:
        answer = conn.execute("SELECT 1").fetchone()
    database.stop()
    return answer == (1,)


def go_round(config: Config, *prefix: str) -> tuple[int, int, int]:
    """Run `ROUND` and return our user id, the server's, and the server's capabilities."""
    environment = {
        **os.environ,
        "JOULEBOOK_HOME": str(config.home),
        "JOULEBOOK_CACHE": str(config.cache),
        "PYTHONPATH": str(SOURCES),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [*prefix, sys.executable, "-c", ROUND]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd="/")
    assert done.returncode == 0, done.stderr
    own, servers, capabilities = map(int, done.stdout.split())
    return own, servers, capabilities


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that every user may enter; pytest's own are its user's alone."""
    folder = Path(tempfile.mkdtemp(prefix="joulebook-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_home_with_a_long_path_works_again_after_temporary_files_were_removed(new_home: NewHome) -> None:
    database = EmbeddedDatabase(new_home("/".join(["a-rather-long-name-for-a-folder"] * 6)))
    assert works(database)
    assert len(str(database.socket)) < 90
    shutil.rmtree(database.socket)
    assert works(database)
    shutil.rmtree(database.socket)


@pytest.mark.parametrize(
    "name", ["two words", "it's", 'a "quote"', "back\\slash", "comma,comma", "$HOME;%s&?#", "Zähler 測定"]
)
def test_a_home_may_have_any_name(new_home: NewHome, name: str) -> None:
    database = EmbeddedDatabase(new_home(name))
    assert works(database)
    if database.socket.parent == Path(tempfile.gettempdir()):
        shutil.rmtree(database.socket)


@as_root
def test_root_gives_the_server_no_capability_where_it_needs_none(open_folder: Path) -> None:
    own, servers, capabilities = go_round(configure(open_folder / "home"))
    assert (own, capabilities) == (0, 0)
    assert servers != 0


@as_root
def test_root_keeps_a_database_in_a_folder_that_only_root_may_enter(open_folder: Path) -> None:
    open_folder.chmod(0o700)
    own, servers, capabilities = go_round(configure(open_folder / "home"))
    assert own == 0 != servers
    assert capabilities.bit_count() == 1


@as_root
@pytest.mark.parametrize("closed", [False, True], ids=["open folder", "folder that only root may enter"])
def test_root_of_a_container_keeps_a_database_with_fewer_capabilities(
    open_folder: Path, closed: bool
) -> None:
    """With what container engines leave root by default, which lacks the capability to read everything."""
    left = "chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service setfcap"
    words = "-all," + ",".join(f"+{capability}" for capability in left.split())
    if closed:
        open_folder.chmod(0o700)
    limits = ["setpriv", f"--bounding-set={words}", f"--inh-caps={words}", "--"]
    own, servers, capabilities = go_round(configure(open_folder / "home"), *limits)
    assert own == 0 != servers
    assert capabilities == (1 << 1 if closed else 0)  # dac_override


@as_root
def test_an_ordinary_user_keeps_a_database(open_folder: Path) -> None:
    os.chown(open_folder, NOBODY.uid, NOBODY.gid)
    config = configure(open_folder / "home")
    programs = [Path(sys.executable).resolve().parent, SOURCES, config.cache]
    own, servers, _ = go_round(config, *command_prefix(NOBODY, folders=programs))
    assert own == servers == NOBODY.uid
    assert {path.stat().st_uid for path in config.home.rglob("*")} == {NOBODY.uid}


@as_root
def test_a_home_that_root_copied_goes_on(new_home: NewHome, tmp_path: Path) -> None:
    home = new_home().home
    subprocess.run(["cp", "-r", "--preserve=mode", str(home), str(tmp_path / "copy")], check=True)
    assert Layout.below(tmp_path / "copy").data.stat().st_uid == 0
    assert works(EmbeddedDatabase(configure(tmp_path / "copy")))
    shutil.rmtree(tmp_path / "copy")
