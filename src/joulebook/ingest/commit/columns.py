"""The readings of one request in columns, the same for every wire."""

from __future__ import annotations

from dataclasses import dataclass, field

from joulebook.telemetry.readings import METRIC_NAME_LENGTH
from joulebook.telemetry.series import SeriesKey

MOST_LISTED = 100
"""How many rejected readings and ignored fields an answer names; it counts all of them."""


class TooManyReadings(Exception):
    """The body holds more readings than one request may."""


class UnparsableBody(Exception):
    """The body breaks the syntax of its wire; the message names the offset or line."""


@dataclass(frozen=True)
class Rejected:
    """One reading that was refused for good; without a metric, a whole packet or line."""

    index: int
    metric: str | None
    code: str
    message: str


@dataclass(slots=True)
class Readings:
    """The content of a request: readings in columns, and the refused and ignored parts.

    `key` indexes `keys`, which are (device id, metric); `packet` is the position in the body; `time` is
    microseconds since 1970 UTC. The four columns have the same length. `forms` has the form of the values of
    a key, by its index, if they are not plain numbers; the value of a text is its index in `texts`. `units`
    are the units that the sender names, by the key's index. `last_rejected` is the packet last rejected, even
    in part. Without `names_ignored` the wire's answer has no place for `ignored`.
    """

    keys: list[SeriesKey] = field(default_factory=list)
    key: list[int] = field(default_factory=list)
    time: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    packet: list[int] = field(default_factory=list)
    forms: dict[int, int] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    units: dict[int, str] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)
    rejected_total: int = 0
    last_rejected: int = -1
    ignored: dict[str, None] = field(default_factory=dict)
    names_ignored: bool = True

    def reject(self, index: int, metric: str | None, code: str, message: str) -> None:
        """Count a packet or reading as refused for good, and list the first `MOST_LISTED`."""
        self.rejected_total += 1
        self.last_rejected = index
        if len(self.rejected) < MOST_LISTED:
            name = None if metric is None else presentable(metric)
            self.rejected.append(Rejected(index=index, metric=name, code=code, message=message))

    def ignore(self, name: str) -> None:
        """List a field that cannot be a reading, up to `MOST_LISTED` of them."""
        if len(self.ignored) < MOST_LISTED:
            self.ignored[presentable(name)] = None

    def select(self, rows: list[int]) -> None:
        """Drop all rows but these."""
        self.key = [self.key[row] for row in rows]
        self.time = [self.time[row] for row in rows]
        self.value = [self.value[row] for row in rows]
        self.packet = [self.packet[row] for row in rows]


def presentable(name: str) -> str:
    """Return a client's name fit for an answer: of bounded length, and encodable as UTF-8."""
    return name[:METRIC_NAME_LENGTH].encode("utf-8", "replace").decode()
