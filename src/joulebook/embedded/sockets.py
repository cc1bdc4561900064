"""The folder of the server's Unix socket: beside the data or, if its path is too long, a private one."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from joulebook.embedded.errors import EmbeddedError
from joulebook.embedded.layout import Layout
from joulebook.embedded.server_user import ServerUser

_LONGEST_SOCKET = 107  # bytes in sockaddr_un.sun_path, without the closing zero
_LONGEST_NAME = len("/.s.PGSQL.65535.lock")


def socket_folder(layout: Layout) -> Path:
    """Return the folder of the server's socket, as `prepare_socket_folder` left it."""
    remembered = layout.root / "socket-folder"
    if remembered.exists():
        return Path(remembered.read_text().strip())
    return layout.root / "run"


def prepare_socket_folder(layout: Layout, user: ServerUser) -> Path:
    """Create the folder for the socket, with mode 0700 and the user as its owner, and note its path.

    It lies beside the data if its path fits into a socket address. Otherwise it lies below the folder for
    temporary files; if a restart of the machine has removed it, it is made again.
    """
    remembered = layout.root / "socket-folder"
    beside = layout.root / "run"
    if _fits(beside):
        remembered.unlink(missing_ok=True)
        beside.mkdir(mode=0o700, exist_ok=True)
        user.take_over(beside)
        return beside
    bases = [Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]  # noqa: S108 - made private, checked
    # All users may create names there: if one is taken, the next is tried.
    names = [layout.cluster_name, *(f"{layout.cluster_name}-{number}" for number in range(1, 10))]
    candidates = [Path(remembered.read_text().strip())] if remembered.exists() else []
    candidates += [base / name for base in bases for name in names if _fits(base / name)]
    for candidate in candidates:
        if _make_private(candidate, user):
            remembered.write_text(f"{candidate}\n")
            return candidate
    raise EmbeddedError(
        f"{beside} is too long for a Unix socket (at most {_LONGEST_SOCKET - _LONGEST_NAME} bytes), and no "
        f"private folder could be made below {tempfile.gettempdir()}: use a shorter JOULEBOOK_HOME"
    )


def _fits(folder: Path) -> bool:
    # libpq takes a comma for the end of a host's name.
    return "," not in str(folder) and len(os.fsencode(folder)) + _LONGEST_NAME <= _LONGEST_SOCKET


def _make_private(folder: Path, user: ServerUser) -> bool:
    """Give `folder` to the user; return False if another user has it, or all users may enter it.

    Its group may enter it: `joulebook up` prepares the folder for processes of several users.
    """
    try:
        folder.mkdir(mode=0o700)
        user.take_over(folder)
    except FileExistsError:
        pass
    except OSError:
        return False
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == user.uid and not found.st_mode & 0o067
