"""Runs a command of `joulebook`, and writes the files of `src` whose functions it entered.

`python entered_files.py LIST command …` writes one path a line to LIST, at its end and at SIGUSR2. SIGUSR1 begins the
list anew and writes an empty one: so a service starts first, and the list is that of one request. Imports are not counted.
"""

from __future__ import annotations

import atexit
import inspect
import signal
import sys
import threading
from pathlib import Path
from types import CodeType, FrameType

import joulebook
from joulebook.cli.main import main

SOURCE = str(Path(joulebook.__file__).parent)


def record() -> None:
    """Record from now on, in threads that start later as well."""
    entered: set[CodeType] = set()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        # What the body of a module or a class calls belongs to its import.
        if event == "call" and (frame.f_back is None or frame.f_back.f_code.co_flags & inspect.CO_OPTIMIZED):
            entered.add(frame.f_code)

    target = Path(sys.argv[1])

    def write(*_signal: object) -> None:
        # The body of a module or a class is no function.
        functions = (code for code in entered.copy() if code.co_flags & inspect.CO_OPTIMIZED)
        files = {code.co_filename for code in functions}
        ours = sorted(Path(file).relative_to(SOURCE).as_posix() for file in files if file.startswith(SOURCE))
        # Whoever waits for the list finds it whole.
        part = target.with_suffix(".part")
        part.write_text("\n".join(ours), "utf-8")
        part.replace(target)

    def begin_anew(*signal: object) -> None:
        entered.clear()
        write(*signal)

    signal.signal(signal.SIGUSR1, begin_anew)
    signal.signal(signal.SIGUSR2, write)
    atexit.register(write)
    threading.setprofile(note)
    sys.setprofile(note)


if __name__ == "__main__":
    record()
    del sys.argv[1]
    main()
