"""A correction or its undo in a process of its own that stops at a point: `… URL EDIT POINT COUNT LEASE undo|do`."""

from __future__ import annotations

import json
import sys
import time

from joulebook.telemetry.connection import connect
from joulebook.telemetry.corrections.edits import Edit
from joulebook.telemetry.corrections.run import CorrectionRun, CorrectionUndo


def main(url: str, edit: str, point: str, count: str, lease: str, way: str) -> None:
    """Run until the point is reached for the last of `count` times; stop there for good."""
    left = int(count)

    def pause(here: str) -> None:
        nonlocal left
        left -= here == point
        if not left:
            sys.stdout.write("stopped\n")
            sys.stdout.flush()
            time.sleep(600)

    with connect(url) as conn:
        kind = CorrectionUndo if way == "undo" else CorrectionRun
        run = kind(
            conn, number=1, lease=int(lease), identity="x", edit=Edit.from_json(json.loads(edit)), slice_readings=7,
            pause=pause,
        )  # fmt: skip
        while run.step():
            pass
    sys.stdout.write("never\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
