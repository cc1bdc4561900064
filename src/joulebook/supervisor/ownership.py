"""The owners of files in root's JOULEBOOK_HOME: each process reaches its own files and no others.

They are set at each start, before any process: an older version, a restored copy, or a command run by root
may have left files of root's. Only root writes in JOULEBOOK_HOME itself. Below it, a process could replace
a file by a link: files are changed through descriptors, and links are not followed.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import closing, suppress
from pathlib import Path

from joulebook.config import Config, sqlite_path
from joulebook.embedded.layout import Layout
from joulebook.embedded.server_user import ServerUser
from joulebook.embedded.sockets import prepare_socket_folder
from joulebook.supervisor.system_users import SystemUser, SystemUsers


class UnableToShare(Exception):
    """The processes cannot have their own system users in this home; the message has the remedy."""


def prepare_home(config: Config, users: SystemUsers) -> None:
    """Give each process its own files. Raises `UnableToShare`, also for errors of the system."""
    home = config.home
    owner = home.stat().st_uid
    if owner != 0:
        raise UnableToShare(f"{home} belongs to user {owner}: run Joulebook as that user, or give it to root")
    try:
        mode = stat.S_IMODE(home.stat().st_mode)
        if not mode & stat.S_IXOTH:
            os.chown(home, -1, users.home)
            home.chmod(mode | stat.S_IXGRP)
        _share_accounts(config, users.data)
        _give_folder(home / "uploads", users.web.uid, users.worker.gid, 0o2770)
        _give_folder(home / "workers", users.worker.uid, users.worker.gid, 0o700)
        _give_folder(home / "demo", users.demo.uid, users.demo.gid, 0o700)
        _move_credentials(home)
        with suppress(FileNotFoundError):
            _give(home / "secret-key", 0, 0, 0o600)
        if users.database is not None:
            _give_database(Layout.below(home), users.database, users.data)
    except (OSError, sqlite3.Error) as exc:
        raise UnableToShare(f"the files in {home} cannot be given to their users: {exc}") from exc


def _share_accounts(config: Config, group: int) -> None:
    """Keep the SQLite file in a folder of its own, where SQLite's further files may come and go.

    A link stays in the old place.
    """
    place = config.home / "joulebook.sqlite3"
    if sqlite_path(config.database_url) != place:
        return
    shared = config.home / "accounts"
    _make_folder(shared, 0, group, 0o2770)
    file = shared / place.name
    if not place.is_symlink():
        if place.exists():
            _move_accounts(place, file)
        else:
            place.symlink_to(file.relative_to(config.home))
    if not file.exists():
        file.touch(mode=0o600)
    for path in shared.iterdir():
        _give(path, -1, group, 0o660)


def _move_accounts(place: Path, file: Path) -> None:
    """Move the SQLite file; at each moment its old name leads to it."""
    if file.exists() and not file.samefile(place):
        raise UnableToShare(
            f"there are accounts in {place} and in {file}: remove the ones that are out of date"
        )
    with closing(sqlite3.connect(place, timeout=5)) as conn:
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    # SQLite removes its log when the last program closes the file.
    if place.with_name(place.name + "-wal").exists():
        raise UnableToShare(f"another program has {place} open: end it, and start again")
    if not file.exists():
        os.link(place, file)
    link = place.with_name(f"{place.name}.{os.getpid()}.new")
    link.symlink_to(file.relative_to(place.parent))
    link.replace(place)


def _move_credentials(home: Path) -> None:
    """Keep the demo's password in the demo's folder; a link stays in the old place."""
    place, file = home / "demo-credentials", home / "demo" / "credentials"
    if place.is_symlink():
        return
    if place.exists():
        demo = file.parent.stat()
        _give(place, demo.st_uid, demo.st_gid, 0o600)
        place.rename(file)
    place.symlink_to(file.relative_to(home))


def _give_database(layout: Layout, user: SystemUser, clients: int) -> None:
    """Give the server's files to its user; the group of its clients may enter its socket's folder."""
    _make_folder(layout.root, user.uid, clients, 0o710)
    for path in layout.root.iterdir():
        # The data are the server's already, unless they are a copy. The user's own settings stay the user's.
        if path == layout.own_settings or (path == layout.data and path.lstat().st_uid != 0):
            continue
        _give_tree(path, user.uid, user.gid)
    folder = prepare_socket_folder(layout, ServerUser(user.uid, user.gid, changes=True))
    _make_folder(folder, user.uid, clients, 0o710)


def _give_folder(folder: Path, uid: int, gid: int, mode: int) -> None:
    """Make a folder, and give it and its content to a user."""
    _make_folder(folder, uid, gid, mode)
    for path in folder.iterdir():
        _give_tree(path, uid, gid)
        if mode & stat.S_IWGRP and path.is_file() and not path.is_symlink():
            _give(path, uid, gid, 0o640)


def _make_folder(folder: Path, uid: int, gid: int, mode: int) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    _give(folder, uid, gid, mode)


def _give_tree(root: Path, uid: int, gid: int) -> None:
    os.chown(root, uid, gid, follow_symlinks=False)
    for _, folders, files, here in os.fwalk(root, follow_symlinks=False):
        for name in (*folders, *files):
            os.chown(name, uid, gid, dir_fd=here, follow_symlinks=False)


def _give(path: Path, uid: int, gid: int, mode: int) -> None:
    # Without waiting for a writer, should it be a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.fchown(descriptor, uid, gid)
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)
