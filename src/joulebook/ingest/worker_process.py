"""One of several ingest processes: accepts connections from a socket opened by its supervisor.

The supervisor runs `python -m joulebook.ingest.worker_process <number> <descriptor> <folder>`.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from joulebook.config import Config, ConfigError
from joulebook.embedded import EmbeddedError
from joulebook.ingest.server import serve


def main(number: int, descriptor: int, folder: Path) -> int:
    """Serve until a signal; return the exit status, EX_CONFIG if another start would fail as well."""
    try:
        serve(
            Config.from_environ(),
            process=number,
            listening=socket.socket(fileno=descriptor),
            siblings_folder=folder,
        )
    except (ConfigError, EmbeddedError) as exc:
        sys.stderr.write(f"{exc}\n")
        return os.EX_CONFIG
    return 0


if __name__ == "__main__":
    _number, _descriptor, _folder = sys.argv[1:]
    sys.exit(main(int(_number), int(_descriptor), Path(_folder)))
