"""A roller in a process of its own that stops at a named point and says so: `stopping_roller.py URL POINT UNTIL`."""

from __future__ import annotations

import sys
import time
from datetime import datetime

from joulebook.telemetry.connection import connect
from joulebook.telemetry.rollups.roller import Roller


def main(url: str, point: str, until: str) -> None:
    """Close until an instant and roll up; stop for good at the point."""

    def pause(here: str) -> None:
        if here == point:
            sys.stdout.write("stopped\n")
            sys.stdout.flush()
            time.sleep(600)

    with connect(url) as conn:
        roller = Roller(conn, pause=pause)
        roller.close(datetime.fromisoformat(until))
        while roller.roll():
            pass
    sys.stdout.write("never\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
