"""The database server's system user, and the command prefix to run a process as that user.

PostgreSQL refuses to run as root. Root therefore starts its programs through util-linux's `setpriv` as
another user. If the files lie in a folder open to root alone, the programs also get the one capability for
passing through it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from joulebook.embedded.errors import EmbeddedError

_PREFERRED_USERS = ("joulebook-database", "joulebook", "postgres", "nobody")
_PASSING_CAPABILITIES = ("dac_read_search", "dac_override")
_CAN_ENTER = 'for path; do test -d "$path" && test -x "$path" || exit 1; done'


@dataclass(frozen=True)
class ServerUser:
    """A system user by number; `changes` is whether a process must become that user."""

    uid: int
    gid: int
    changes: bool

    def take_over(self, path: Path) -> None:
        """Give `path` to this user."""
        if self.changes:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def take_over_tree(self, root: Path) -> None:
        """Give a folder and all below it to this user if root owns it, for instance after a restore."""
        if not self.changes or root.lstat().st_uid != 0:
            return
        for folder, _, names in os.walk(root, topdown=False):
            for name in names:
                self.take_over(Path(folder) / name)
            self.take_over(Path(folder))


def find_server_user(data: Path) -> ServerUser:
    """Return the user running the server with the data folder `data`; the folder may not exist yet.

    It is the owner of an existing data folder: so the choice outlives a change of the machine's users.
    Raises `EmbeddedError` if the folder belongs to another user.
    """
    uid, gid = os.geteuid(), os.getegid()
    if data.exists():
        owner = data.stat()
        if uid == owner.st_uid and uid != 0:
            return ServerUser(uid, gid, changes=False)
        if uid != 0:
            raise EmbeddedError(
                f"{data} belongs to user {_user_name(owner.st_uid)}, not to {_user_name(uid)}: "
                "run Joulebook as that user, or name another folder in JOULEBOOK_HOME"
            )
        if owner.st_uid != 0:
            return ServerUser(owner.st_uid, owner.st_gid, changes=True)
    if uid == 0:
        return _unprivileged_user()
    if _user_name(uid) == str(uid):
        raise EmbeddedError(
            f"PostgreSQL creates a database only for a user with a name, and user {uid} has no name in "
            "/etc/passwd: run Joulebook as a user that has one, or as root"
        )
    return ServerUser(uid, gid, changes=False)


def _unprivileged_user() -> ServerUser:
    for name in _PREFERRED_USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return ServerUser(entry.pw_uid, entry.pw_gid, changes=True)
    raise EmbeddedError(
        "PostgreSQL refuses to run as root, and this machine has none of the users "
        f"{', '.join(_PREFERRED_USERS)}: create one with `useradd --system joulebook`"
    )


def command_prefix(
    user: ServerUser, *, folders: Sequence[Path], parent_death_signal: str | None = None
) -> list[str]:
    """Return the words before a command to run it as `user`.

    The command must be able to enter `folders`. With `parent_death_signal` ("INT", "KILL", …) the kernel
    sends that signal to the command at the end of its parent thread; if the thread ended before the request
    took effect, the command does not run at all.
    """
    if not user.changes and parent_death_signal is None:
        return []
    words = [system_tool("setpriv")]
    if user.changes:
        words += _becoming(user)
        words += only_capability(_needed_capability(user, folders))
    if parent_death_signal is None:
        return [*words, "--"]
    return [*words, *end_with_parent(parent_death_signal)]


def end_with_parent(parent_death_signal: str) -> list[str]:
    """Return setpriv's last words: its command gets the signal at the end of its parent thread.

    If the thread ended before the request took effect, the command does not run at all. The request comes
    after the change of user, since the change clears it.
    """
    guard = f'test "$PPID" = {os.getpid()} && exec "$@"'
    return ["--pdeathsig", parent_death_signal, "--", "/bin/sh", "-c", guard, "joulebook"]


def _becoming(user: ServerUser) -> list[str]:
    return [f"--reuid={user.uid}", f"--regid={user.gid}", "--clear-groups"]


def only_capability(capability: str | None) -> list[str]:
    """Return setpriv's words for keeping one capability, or none, in a change of user."""
    if capability is None:
        return []  # the kernel takes all capabilities away at root's change of user
    keep = f"-all,+{capability}"
    # PostgreSQL checks its programs by access(2), and that ignores capabilities without the securebit.
    return [
        f"--inh-caps={keep}",
        f"--ambient-caps={keep}",
        f"--bounding-set={keep}",
        "--securebits=+no_setuid_fixup",
    ]


def _needed_capability(user: ServerUser, folders: Sequence[Path]) -> str | None:
    """Return the least capability for `user` to enter all `folders`; None if it needs none."""
    for capability in (None, *_PASSING_CAPABILITIES):
        words = [system_tool("setpriv"), *_becoming(user), *only_capability(capability), "--"]
        test = [*words, "/bin/sh", "-c", _CAN_ENTER, "joulebook", *map(str, folders)]
        if subprocess.run(test, check=False, capture_output=True, cwd="/").returncode == 0:
            return capability
    listing = ", ".join(map(str, folders))
    raise EmbeddedError(
        f"user {_user_name(user.uid)}, as which the database must run, cannot enter {listing}: "
        "name a folder that it may enter in JOULEBOOK_HOME (and JOULEBOOK_CACHE), "
        "or run Joulebook as an ordinary user"
    )


def system_tool(name: str) -> str:
    """Return the path of one of util-linux's programs. Raises `EmbeddedError` if it is missing."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + os.pathsep + "/usr/bin:/bin")
    if found is None:
        raise EmbeddedError(f"the program `{name}` is missing: install the package util-linux")
    return found


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
