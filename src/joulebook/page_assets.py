"""Checks that this installation has the third-party scripts and styles of its pages.

`scripts/assets.py` puts them in place, with a manifest in each folder; a wheel contains them.
"""

from __future__ import annotations

import json
from pathlib import Path

PACKAGE = Path(__file__).parent
_MANIFEST = "assets.json"


class AssetsMissing(Exception):
    """This installation lacks page assets; the message names them and the remedy."""


def require_page_assets(*parts: str) -> None:
    """Raise `AssetsMissing` unless every asset of these parts (`web`, `ingest`) is in place."""
    missing = [path for part in parts for path in _missing_assets(PACKAGE / part / "assets")]
    if missing:
        names = ", ".join(str(path.relative_to(PACKAGE)) for path in missing)
        raise AssetsMissing(
            f"this installation lacks scripts of its pages ({names}): in a clone run `make setup`; "
            "elsewhere install a wheel, it contains them (`pip wheel .` in a clone builds one)"
        )


def _missing_assets(folder: Path) -> list[Path]:
    """Return the missing files of a folder's manifest, or the manifest itself if it is missing."""
    manifest = folder / _MANIFEST
    try:
        names = json.loads(manifest.read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError):
        return [manifest]
    return [folder / name for name in names if not (folder / name).is_file()]
