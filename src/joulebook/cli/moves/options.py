"""The options that all moves have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MoveOptions:
    """The options of one move; `device` is for series whose tags name none."""

    device: str | None
    owner: str | None
    user_name: str | None
    map_file: Path | None
    save_map: Path | None
    is_dry_run: bool
    as_json: bool
