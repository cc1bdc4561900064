"""Reports a process's readiness to its supervisor: one byte into a pipe named by a variable."""

from __future__ import annotations

import os

READY_VARIABLE = "JOULEBOOK_READY_FD"
"""Names the pipe's descriptor; not set without a supervisor waiting."""


def tell_ready() -> None:
    """Report readiness to the supervisor, once; do nothing without one."""
    descriptor = os.environ.pop(READY_VARIABLE, "")
    if descriptor.isdigit():
        os.write(int(descriptor), b"1")
        os.close(int(descriptor))
