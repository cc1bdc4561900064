"""The ids of series and the codes of texts that a group of requests needs, found or created.

They are valid for one connection: until the next one, the database may be replaced by a restored backup,
where the same id means another series.
"""

from __future__ import annotations

from joulebook.ingest.commit.columns import Readings
from joulebook.telemetry.connection import Connection
from joulebook.telemetry.kinds.settings import LISTS_OF_TEXTS, NUMBERS, TEXTS, TRUTH_VALUES
from joulebook.telemetry.series import SeriesKey, ensure_series, forms_of_series
from joulebook.telemetry.texts import ensure_texts

NO_SERIES = 0
"""Stands for the id of a series beyond its device's cap: ids in PostgreSQL begin with 1."""

OTHER_FORM = -1
"""Stands for the id of a series that holds text while the reading is a number, or the other way round."""

NO_TEXT = -2
"""Stands for the id of a series that has as many texts as it may, none of them the reading's."""

_MOST_TEXTS = 100_000
"""Remembered texts of all series together."""

_Typed = tuple[int, str, str]
"""(form, device id, metric)."""


class SeriesIds:
    """Finds ids and codes over one connection; only those not known yet cost a query."""

    def __init__(self, conn: Connection, *, most_per_device: int, most_texts: int) -> None:
        """Create up to `most_per_device` series of a device, and up to `most_texts` texts of a series."""
        self.conn = conn
        self._most_per_device = most_per_device
        self._most_texts = most_texts
        # Series of numbers are looked up for nearly every reading, so they have a table of their own.
        self._known: dict[str, dict[str, int]] = {}
        self._known_texts: dict[_Typed, int] = {}
        self._codes: dict[int, dict[str, int]] = {}

    def resolve(self, group: list[Readings]) -> tuple[list[int], list[float]]:
        """Return for each reading of a group the id of its series, and its value.

        The value of a text is its code. The id is `NO_SERIES`, `OTHER_FORM` or `NO_TEXT` if the reading
        cannot be stored. Missing series and texts are created.
        """
        try:
            ids = self._known_ids(group)
        except KeyError:
            self._find(group)
            ids = []
            for readings in group:
                own = [self._id_or_none(readings, number) for number in range(len(readings.keys))]
                ids += [own[index] for index in readings.key]
        values: list[float] = []
        for readings in group:
            values += readings.value
        if any(readings.texts for readings in group):
            self._encode(group, ids, values)
        return ids, values

    def _known_ids(self, group: list[Readings]) -> list[int]:
        """Return the id of each reading's series. Raises KeyError if one is not known."""
        known, ids = self._known, []
        for readings in group:
            if readings.texts:
                own = [self._id_of(readings, number) for number in range(len(readings.keys))]
            else:
                own = [known[device_id][metric] for device_id, metric in readings.keys]
            ids += [own[index] for index in readings.key]
        return ids

    def _id_of(self, readings: Readings, number: int) -> int:
        """Return the id of the series of a key. Raises KeyError if it is not known."""
        device_id, metric = readings.keys[number]
        form = readings.forms.get(number, NUMBERS)
        if form >= TEXTS:
            return self._known_texts[form, device_id, metric]
        return self._known[device_id][metric]

    def _id_or_none(self, readings: Readings, number: int) -> int:
        try:
            return self._id_of(readings, number)
        except KeyError:
            return NO_SERIES

    def _find(self, group: list[Readings]) -> None:
        """Find or create the series not known yet; the first reading of a series decides its form."""
        wanted: dict[SeriesKey, int] = {}
        for readings in group:
            for number, key in enumerate(readings.keys):
                try:
                    self._id_of(readings, number)
                except KeyError:
                    wanted.setdefault(key, readings.forms.get(number, NUMBERS))
        found = ensure_series(self.conn, wanted, most_per_device=self._most_per_device, forms=wanted)
        forms = forms_of_series(self.conn, found.values())
        # Series beyond the cap are not remembered: another process may create them for an import.
        for (device_id, metric), series_id in found.items():
            form = forms[series_id]
            is_number = form in {NUMBERS, TRUTH_VALUES}
            self._known.setdefault(device_id, {})[metric] = series_id if is_number else OTHER_FORM
            for each in (TEXTS, LISTS_OF_TEXTS):
                self._known_texts[each, device_id, metric] = series_id if form == each else OTHER_FORM

    def _encode(self, group: list[Readings], ids: list[int], values: list[float]) -> None:
        """Replace the indexes of texts in `values` by codes, and ids by `NO_TEXT` where there is none."""
        rows: list[tuple[int, str]] = []
        start = 0
        for readings in group:
            is_text = [readings.forms.get(number, NUMBERS) >= TEXTS for number in range(len(readings.keys))]
            rows += [
                (start + row, readings.texts[int(readings.value[row])])
                for row, number in enumerate(readings.key)
                if is_text[number] and ids[start + row] > 0
            ]
            start += len(readings.key)
        wanted: dict[int, list[str]] = {}
        for row, text in rows:
            if not self._is_settled(ids[row], text):
                wanted.setdefault(ids[row], []).append(text)
        if wanted:
            self._remember(ensure_texts(self.conn, wanted, most=self._most_texts))
        for row, text in rows:
            code = self._codes.get(ids[row], {}).get(text)
            if code is None:
                ids[row] = NO_TEXT
            else:
                values[row] = code

    def _is_settled(self, series_id: int, text: str) -> bool:
        """Return whether the text's code is known, or the series is known to be full without it."""
        codes = self._codes.get(series_id, {})
        return text in codes or max(codes.values(), default=0) >= self._most_texts

    def _remember(self, found: dict[int, dict[str, int]]) -> None:
        if sum(map(len, self._codes.values())) > _MOST_TEXTS:
            self._codes.clear()
        self._codes |= found
