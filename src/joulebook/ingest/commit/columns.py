"""The readings of one request in columns, whichever wire they came over."""

from __future__ import annotations

from dataclasses import dataclass, field

from joulebook.telemetry.readings import METRIC_NAME_LENGTH
from joulebook.telemetry.series import SeriesKey

MOST_LISTED = 100
"""How many rejected readings and ignored fields are named in an answer; all are counted."""


@dataclass(frozen=True)
class Rejected:
    """One reading (or, without a metric, one packet or line) that was refused for good."""

    index: int
    metric: str | None
    code: str
    message: str


@dataclass
class Readings:
    """What a request held: readings in columns, and what was refused or passed over.

    `key` indexes `keys`, which are (device id, metric); `packet` is the position in the body; `time` is
    microseconds since 1970 UTC. The four columns have the same length.
    """

    keys: list[SeriesKey] = field(default_factory=list)
    key: list[int] = field(default_factory=list)
    time: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    packet: list[int] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    rejected_total: int = 0
    ignored: dict[str, None] = field(default_factory=dict)

    def reject(self, index: int, metric: str | None, code: str, message: str) -> None:
        """Count a packet or reading that is refused for good, and note the first of them."""
        self.rejected_total += 1
        if len(self.rejected) < MOST_LISTED:
            name = None if metric is None else presentable(metric)
            self.rejected.append(Rejected(index=index, metric=name, code=code, message=message))

    def ignore(self, name: str) -> None:
        """Note a field that holds no number, if not too many are noted already."""
        if len(self.ignored) < MOST_LISTED:
            self.ignored[presentable(name)] = None

    def keep(self, rows: list[int]) -> None:
        """Keep only these rows."""
        self.key = [self.key[row] for row in rows]
        self.time = [self.time[row] for row in rows]
        self.value = [self.value[row] for row in rows]
        self.packet = [self.packet[row] for row in rows]


def presentable(name: str) -> str:
    """Return a name from outside as an answer can carry it: of bounded length, and encodable."""
    return name[:METRIC_NAME_LENGTH].encode("utf-8", "replace").decode()
