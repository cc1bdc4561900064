"""Lets other users than root reach Joulebook's folders below a folder open to root alone.

`/root` is closed to all others, and so are a checkout and an interpreter below it. The supervisor then gets
a mount namespace for itself and its children: an empty folder replaces the closed one, and holds only the
folders needed by Joulebook. The rest of the machine sees no change, and the processes see less than before.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from joulebook.config import Config, sqlite_path

_CLONE_NEWNS = 0x00020000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_SLAVE = 0x2, 0x4, 0x1000, 0x4000, 1 << 19
_libc = ctypes.CDLL(None, use_errno=True)


def folders_in_use(config: Config) -> list[Path]:
    """Return the folders needed by Joulebook's processes."""
    accounts = sqlite_path(config.database_url)
    packages = [find_spec(name) for name in ("joulebook", "django")]
    found = [Path(spec.origin).parents[1] for spec in packages if spec is not None and spec.origin]
    return [
        Path(sys.executable).parent,
        Path(sys.prefix),
        Path(sys.base_prefix),
        *found,
        config.home,
        *([config.cache] if config.cache.exists() else []),
        *([config.postgres_bin.absolute().parent] if config.postgres_bin is not None else []),
        *([accounts.parent] if accounts is not None else []),
    ]


@dataclass
class _Way:
    """How a path is reached: the links on it, and the folder at its end."""

    links: dict[Path, str] = field(default_factory=dict)
    end: Path = Path("/")


def open_way(paths: Iterable[Path]) -> None:
    """Let this process and its later children reach `paths` below folders open to root alone.

    Other content of such a folder is hidden. Raises OSError if the system does not allow it: it takes root
    with the capability sys_admin, withheld by container engines.
    """
    ways = [_follow(path) for path in paths]
    # The outermost folder on each way without access for all users.
    chains = [reversed(path.parents) for way in ways for path in (*way.links, way.end)]
    first = [
        next((each for each in chain if not each.stat().st_mode & stat.S_IXOTH), None) for chain in chains
    ]
    closed = {folder for folder in first if folder is not None}
    if not closed:
        return
    _check(_libc.unshare(_CLONE_NEWNS))
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_SLAVE, None))
    for folder in closed:
        _replace(folder, ways)


def _replace(closed: Path, ways: list[_Way]) -> None:
    """Mount an empty folder in place of `closed`, and in it again the needed folders below."""
    below = {way.end for way in ways if closed in way.end.parents}
    ends = [end for end in below if not below & set(end.parents)]
    links = {place: to for way in ways for place, to in way.links.items() if closed in place.parents}
    kept = {end: os.open(end, os.O_PATH | os.O_CLOEXEC) for end in ends}
    try:
        empty = (b"joulebook", os.fsencode(closed), b"tmpfs", _MS_NOSUID | _MS_NODEV, b"mode=0755")
        _check(_libc.mount(*empty))
        for end, descriptor in kept.items():
            _make_folders(closed, end)
            source = f"/proc/self/fd/{descriptor}".encode()
            _check(_libc.mount(source, os.fsencode(end), None, _MS_BIND | _MS_REC, None))
    finally:
        for descriptor in kept.values():
            os.close(descriptor)
    for place, target in links.items():
        if not os.path.lexists(place):
            _make_folders(closed, place.parent)
            place.symlink_to(target)


def _make_folders(closed: Path, folder: Path) -> None:
    here = closed
    for name in folder.relative_to(closed).parts:
        here /= name
        if not here.exists():
            here.mkdir()
            here.chmod(0o755)


def _follow(path: Path) -> _Way:
    """Walk to a path as the kernel does, and note the links."""
    way = _Way()
    names = deque(path.absolute().parts[1:])
    while names:
        name = names.popleft()
        if name == "..":
            way.end = way.end.parent
            continue
        place = way.end / name
        if not place.is_symlink():
            way.end = place
            continue
        target = str(place.readlink())
        if len(way.links) > 40:  # as many as the kernel follows
            raise OSError(f"too many links on the way to {path}")
        way.links[place] = target
        if target.startswith("/"):
            way.end = Path("/")
        names.extendleft(reversed([part for part in Path(target).parts if part != "/"]))
    return way


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
