"""One of several ingest processes: takes connections from a socket that its parent opened, and dies with it.

Run as `python -m joulebook.ingest.worker_process <descriptor> <number> <parent's process id> <folder>`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from pathlib import Path

from joulebook.config import Config, ConfigError
from joulebook.embedded import EmbeddedError
from joulebook.ingest.server import serve

HOPELESS = 78
"""The exit status of a process that another start would not help, EX_CONFIG of BSD's sysexits."""

_PR_SET_PDEATHSIG = 1


def main(descriptor: int, number: int, parent: int, folder: Path) -> int:
    """Serve until told to stop; return the exit status."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        return 1  # it died before the kernel knew of the wish
    try:
        serve(
            Config.from_environ(),
            process=number,
            listening=socket.socket(fileno=descriptor),
            siblings_folder=folder,
        )
    except (ConfigError, EmbeddedError) as exc:
        sys.stderr.write(f"{exc}\n")
        return HOPELESS
    return 0


if __name__ == "__main__":
    _descriptor, _number, _parent, _folder = sys.argv[1:]
    sys.exit(main(int(_descriptor), int(_number), int(_parent), Path(_folder)))
