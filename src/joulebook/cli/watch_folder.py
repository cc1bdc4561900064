"""A folder into which people and machines put files: which are whole, and where they go afterwards."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from itertools import count
from pathlib import Path

IMPORTED = "imported"
REFUSED = "refused"

_UNFINISHED = (".part", ".partial", ".tmp", ".crdownload", ".filepart", ".download")
_OF_AN_OFFICE = "~$"
_REPORT = ".report.json"


@dataclass(frozen=True)
class _Seen:
    """How a file looked, and since when it looks like that."""

    size: int
    changed_at: int
    since: float


class DropFolder:
    """Tells files that are whole: those whose size and time of change have stayed for `settle` seconds.

    Only what one can see from afar counts, so that it works on folders of other machines, too. Names that
    begin with a dot or end like those of unfinished downloads are passed over, and so is all that is no
    regular file.
    """

    def __init__(self, path: Path, *, settle: float) -> None:
        self.path = path
        self._settle = settle
        self._seen: dict[str, _Seen] = {}

    def whole_files(self, now: float) -> list[Path]:
        """Look into the folder and return the files that are whole, the oldest first.

        `now` is in seconds of a clock that only runs forwards. Raises OSError where one cannot look.
        """
        self._seen = {name: self._look(name, found, now) for name, found in self._candidates().items()}
        whole = [name for name, seen in self._seen.items() if now - seen.since >= self._settle]
        return [
            self.path / name for name in sorted(whole, key=lambda name: (self._seen[name].changed_at, name))
        ]

    @property
    def names(self) -> set[str]:
        """The names that the last look has found, of files that are whole or will be."""
        return set(self._seen)

    def put_away(self, file: Path, report: str, *, is_imported: bool) -> Path:
        """Move a file where it belongs, its report beside it, over nothing that is there.

        Returns where it is now. Raises OSError.
        """
        there = self.path / (IMPORTED if is_imported else REFUSED)
        there.mkdir(exist_ok=True)
        for number in count(1):
            place = there / _numbered(file.name, number)
            report_place = place.with_name(place.name + _REPORT)
            if report_place.exists() or not _reserve(place):
                continue
            try:
                report_place.write_text(report + "\n", encoding="utf-8")
                # It goes onto the empty file of our own: to move it where nothing is, no system promises.
                file.replace(place)
            except OSError:
                report_place.unlink(missing_ok=True)
                place.unlink(missing_ok=True)
                raise
            self._seen.pop(file.name, None)
            return place
        raise AssertionError("there is always a further number")

    def _candidates(self) -> dict[str, os.stat_result]:
        found = {}
        with os.scandir(self.path) as entries:
            for entry in entries:
                if _is_meant(entry.name):
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if stat.S_ISREG(status.st_mode):
                        found[entry.name] = status
        return found

    def _look(self, name: str, found: os.stat_result, now: float) -> _Seen:
        before = self._seen.get(name)
        if before and (before.size, before.changed_at) == (found.st_size, found.st_mtime_ns):
            return before
        return _Seen(found.st_size, found.st_mtime_ns, now)


def _is_meant(name: str) -> bool:
    return not name.startswith((".", _OF_AN_OFFICE)) and not name.lower().endswith(_UNFINISHED)


def _numbered(name: str, number: int) -> str:
    path = Path(name)
    return name if number == 1 else f"{path.stem}-{number}{path.suffix}"


def _reserve(place: Path) -> bool:
    """Make an empty file; say whether there was none."""
    try:
        os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True
