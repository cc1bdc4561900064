"""Stretches of time of series, as arrays: which readings or buckets a step is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Spans:
    """For each place a series and the half-open time [begin, end), in microseconds since 1970 UTC."""

    series_id: NDArray[np.int32]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.series_id)

    @classmethod
    def of(cls, rows: Iterable[tuple[int, int, int]]) -> Spans:
        """Return the spans of these triples of series, begin and end."""
        table = np.array(list(rows), np.int64).reshape(-1, 3)
        return cls(table[:, 0].astype(np.int32), table[:, 1], table[:, 2])

    @classmethod
    def same_for(cls, series_id: NDArray[np.int32], begin: int, end: int) -> Spans:
        """Return the span [begin, end) for each of the series."""
        return cls(series_id, np.full(len(series_id), begin), np.full(len(series_id), end))

    def cut(self, start: int) -> Spans:
        """Return what lies at or after `start`."""
        keep = self.end > start
        return Spans(self.series_id[keep], np.maximum(self.begin[keep], start), self.end[keep])

    def widened(self, width: int, *, until: int) -> Spans:
        """Return the whole buckets of `width` that these spans touch and that end by `until`, joined."""
        begin = self.begin // width * width
        end = np.minimum(-(-self.end // width) * width, until // width * width)
        keep = begin < end
        return Spans(self.series_id[keep], begin[keep], end[keep]).joined()

    def joined(self) -> Spans:
        """Return spans that cover the same time, in order, of which none touches another of its series."""
        if not len(self):
            return self
        order = np.lexsort((self.end, self.begin, self.series_id))
        series_id, begin, end = self.series_id[order], self.begin[order], self.end[order]
        new_series = np.append(True, series_id[1:] != series_id[:-1])
        # The furthest end so far within a series: by rank, so that each series stands above those before.
        ends, rank = np.unique(end, return_inverse=True)
        above = (np.cumsum(new_series) - 1) * len(ends)
        furthest = ends[np.maximum.accumulate(rank + above) - above]
        leads = new_series | np.append(True, begin[1:] > furthest[:-1])
        trails = np.append(leads[1:], True)
        return Spans(series_id[leads], begin[leads], furthest[trails])
