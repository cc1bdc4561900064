"""How a file is read where it leaves nothing open."""

from __future__ import annotations

from typing import Any

from joulebook.telemetry.files.guess.layout import FileLayout, guess_layout


def settled_layout(head: bytes, **settings: Any) -> FileLayout:
    """Return the guessed layout; raises `UnclearFile` where a question has to be answered first."""
    layout = guess_layout(head, **settings)
    layout.require_answers()
    return layout
