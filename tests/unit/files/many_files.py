"""What tests of several files as one import share: made-up daily files of an inverter, and their right readings."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

STYLES = ("%d/%m/%Y %H:%M", "%m-%d-%Y %H:%M", "%Y-%m-%d %H:%M")
BEGIN = datetime(2020, 1, 1, tzinfo=UTC)

Reading = tuple[str, datetime]


def daily_files(
    days: int, *, rows: int = 8, styles: Sequence[str] = STYLES
) -> tuple[dict[str, str], dict[Reading, float]]:
    """Return files by name, one a day, whose style changes now and then, and their readings."""
    files: dict[str, str] = {}
    truth: dict[Reading, float] = {}
    for number in range(days):
        style = styles[number * len(styles) // days]
        # Some begin with lines of their own, as after an update of the logger.
        lines = ["Serial;12345"] * (number % 3) + ["Time;Pac (W);Total (kWh)"]
        for row in range(rows):
            at = BEGIN + timedelta(days=number, minutes=60 * row)
            power, total = float(row * (rows - row) * 10), number * 10 + row / 4
            lines.append(f"{at:{style}};{power:g};{total:.2f}")
            truth["Pac (W)", at], truth["Total (kWh)", at] = power, total
        files[f"inverter-{number:04d}.csv"] = "\n".join(lines) + "\n"
    return files, truth


def in_folder(path: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files into a folder, and return it."""
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def in_archive(path: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files into a zip archive, and return it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path
