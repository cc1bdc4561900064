"""The system user of each process, if root starts them.

A user created by packaging or by the administrator (`joulebook-web`, …) is used if there is one. Otherwise
a number without a name suffices for Linux; it comes from a range left unused by distributions. The users
share two groups: `joulebook-home` may enter JOULEBOOK_HOME, `joulebook-data` may use the accounts' file and
the database's socket.
"""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import re
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from joulebook.embedded.server_user import ServerUser, end_with_parent, only_capability, system_tool

_NAMES = ("migrate", "worker", "web", "ingest", "demo")
_GROUPS = ("home", "data")
_FIRST, _LAST, _STEP = 60_706, 61_183, 8
"""A range documented as unused by systemd, and the count of numbers for one JOULEBOOK_HOME."""


@dataclass(frozen=True)
class SystemUser:
    """A system user by number, with the further groups of its processes."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]

    def command_prefix(self, *, capability: str | None = None) -> list[str]:
        """Return the words before a command to run it as this user and end it with this process.

        The command has `capability` alone; its children cannot have more.
        """
        return [
            system_tool("setpriv"),
            f"--reuid={self.uid}",
            f"--regid={self.gid}",
            f"--groups={','.join(map(str, self.groups))}",
            "--no-new-privs",
            *(only_capability(capability) or ["--inh-caps=-all", "--bounding-set=-all"]),
            *end_with_parent("KILL"),
        ]


@dataclass(frozen=True)
class SystemUsers:
    """The users and groups of one JOULEBOOK_HOME; `database` is None if its server is elsewhere."""

    migrate: SystemUser
    worker: SystemUser
    web: SystemUser
    ingest: SystemUser
    demo: SystemUser
    """Prepares the demo, and then sends its readings."""
    simulator: SystemUser
    """The same, without the group `data`."""
    database: SystemUser | None
    home: int
    data: int


def find_users(home: Path, database: ServerUser | None) -> SystemUsers:
    """Return the users for root's JOULEBOOK_HOME.

    `database` runs the server. The folder has a note of the numbers in use, so they outlive a move.
    """
    first = _first_number(home)
    numbers = {name: first + index for index, name in enumerate((*_NAMES, *_GROUPS))}
    home_group, data_group = (_group(name, numbers[name]) for name in _GROUPS)
    users = {
        name: SystemUser(name, *_numbers_of(name, numbers[name]), (home_group, data_group)) for name in _NAMES
    }
    demo = users["demo"]
    return SystemUsers(
        **users,
        simulator=SystemUser("simulator", demo.uid, demo.gid, (home_group,)),
        database=SystemUser("database", database.uid, database.gid, (home_group,)) if database else None,
        home=home_group,
        data=data_group,
    )


def _numbers_of(name: str, otherwise: int) -> tuple[int, int]:
    try:
        entry = pwd.getpwnam(f"joulebook-{name}")
    except KeyError:
        return otherwise, otherwise
    return entry.pw_uid, entry.pw_gid


def _group(name: str, otherwise: int) -> int:
    try:
        return grp.getgrnam(f"joulebook-{name}").gr_gid
    except KeyError:
        return otherwise


def _first_number(home: Path) -> int:
    """Return the first number of this home, noted in it at the first start."""
    note = home / "users"
    with suppress(OSError):
        found = re.search(r"^first ([0-9]+)$", note.read_text(encoding="ascii"), re.MULTILINE)
        if found is not None and _FIRST <= int(found[1]) <= _LAST - _STEP:
            return int(found[1])
    # The path chooses the first block to try; a block's numbers have no names on this machine.
    blocks = range(_FIRST, _LAST - _STEP, _STEP)
    start = int.from_bytes(hashlib.sha256(str(home).encode()).digest()[:4]) % len(blocks)
    tried = chain(blocks[start:], blocks[:start])
    unnamed = (one for one in tried if not any(_has_name(number) for number in range(one, one + _STEP)))
    first = next(unnamed, blocks[start])
    unfinished = note.with_name(f"users.{os.getpid()}.new")
    unfinished.write_text(
        "# Written by Joulebook: the first of the numbers that its users have on this machine,\n"
        f"# for those of {', '.join(f'joulebook-{name}' for name in _NAMES)} that have no name.\n"
        f"first {first}\n",
        encoding="ascii",
    )
    unfinished.chmod(0o644)
    unfinished.replace(note)
    return first


def _has_name(number: int) -> bool:
    for look in (pwd.getpwuid, grp.getgrgid):
        with suppress(KeyError):
            look(number)
            return True
    return False
