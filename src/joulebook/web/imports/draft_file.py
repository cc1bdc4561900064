"""The file of a draft: beside its layout and first rows, the account of its beginning, and its sheets."""

from __future__ import annotations

import time
from collections.abc import Sequence

from joulebook.telemetry.files.guess.encoding import guess_encoding
from joulebook.telemetry.files.guess.layout import FileLayout
from joulebook.telemetry.files.preview import count_head
from joulebook.telemetry.files.report import ImportReport
from joulebook.telemetry.files.table import shown
from joulebook.telemetry.readings import MICROSECONDS
from joulebook.web.imports.reading import UploadedFile, named

_LOOKED_AT = 4096
_LINES = 15
_COUNTED = 1024 * 1024


class DraftFile(UploadedFile):
    """An upload that somebody looks at before it is imported."""

    def check(self) -> None:
        """Look whether it can be unpacked, and how far it swells.

        Raises `UnreadableFile`, and `FileTooLarge` for what no file of readings is.
        """
        with named(self._path, self.name):
            self._source.head(_LOOKED_AT)
        self.check_size_inflated()

    def count_head(self, layout: FileLayout) -> tuple[ImportReport, bool]:
        """Return the account of the rows in the beginning, and whether that is all. Raises `FileError`."""
        with named(self._path, self.name):
            head = self._source.head(_COUNTED)
            is_whole = len(head) < _COUNTED
            now = int(time.time() * MICROSECONDS)
            return count_head(head, layout.profile, layout.columns, is_whole=is_whole, now=now), is_whole

    def first_lines(self) -> Sequence[str]:
        """Return what stands at the beginning, as well as it can be told. Raises `UnreadableFile`."""
        with named(self._path, self.name):
            head = self._source.head(_LOOKED_AT)
        encoding, _ = guess_encoding(head, is_whole=False)
        return [shown(line) for line in head.decode(encoding, "replace").splitlines()[:_LINES]]

    def sheets(self) -> Sequence[str]:
        """Return the names of a workbook's sheets; none for any other file. Raises `UnreadableFile`."""
        with named(self._path, self.name):
            return self._source.sheets()
