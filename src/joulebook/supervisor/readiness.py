"""What a process tells its supervisor: that it is ready, or that another start would not help."""

from __future__ import annotations

import os

READY_VARIABLE = "JOULEBOOK_READY_FD"
"""Names the descriptor of the pipe; not set for a process that nobody waits for."""

HOPELESS = 78
"""The exit status of a process that another start would not help, EX_CONFIG of BSD's sysexits."""


def tell_ready() -> None:
    """Tell it, once; harmless where nobody waits."""
    descriptor = os.environ.pop(READY_VARIABLE, "")
    if descriptor.isdigit():
        os.write(int(descriptor), b"1")
        os.close(int(descriptor))
