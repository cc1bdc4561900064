"""The file with the simulator's devices and their tokens: one `device_id token` a line."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class UnableToReadTokens(Exception):
    """The token file is missing, open to others, or malformed; the message has the remedy."""


class DeviceCredentials(NamedTuple):
    """A device and its token for writing."""

    device_id: str
    token: str


def read_tokens(path: Path) -> list[DeviceCredentials]:
    """Return the devices of a token file in its order; `-` is standard input.

    Blank lines and lines beginning with `#` are skipped. Raises `UnableToReadTokens`, also for a file
    readable by other users of the machine.
    """
    if str(path) == "-":
        return _parse(sys.stdin.read(), "standard input")
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise UnableToReadTokens(f"token file {path} cannot be read: {exc}") from exc
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UnableToReadTokens(f"token file {path} is open to other users: run chmod 600 {path}")
    return _parse(text, str(path))


def write_tokens(path: Path, tokens: Sequence[DeviceCredentials]) -> None:
    """Replace the token file in one step; only its owner can read it."""
    text = "".join(f"{device_id} {token}\n" for device_id, token in tokens)
    write_private(path, text)


def write_private(path: Path, text: str) -> None:
    """Replace a file, or a link's target, in one step by one readable by its owner alone."""
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _parse(text: str, source: str) -> list[DeviceCredentials]:
    tokens = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) != 2:
            # The line is not shown: it may hold a secret.
            raise UnableToReadTokens(f"{source}, line {number}: expected `device_id token`")
        tokens.append(DeviceCredentials(*words))
    if not tokens:
        raise UnableToReadTokens(f"{source} names no device; a line is `device_id token`")
    return tokens
