"""How a process tells its supervisor that it is ready: one byte into a pipe named by a variable."""

from __future__ import annotations

import os

READY_VARIABLE = "JOULEBOOK_READY_FD"
"""Names the pipe's descriptor; not set where no supervisor waits."""


def tell_ready() -> None:
    """Report readiness to the supervisor, once; do nothing where none waits."""
    descriptor = os.environ.pop(READY_VARIABLE, "")
    if descriptor.isdigit():
        os.write(int(descriptor), b"1")
        os.close(int(descriptor))
