"""What the supervisor knows about a process: a command, its environment, when it is ready, how it ends."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from joulebook.supervisor.users import User


class Ready(Enum):
    """How the supervisor learns that a process does its work."""

    LIVES = auto()
    """It has not ended within `Patience.settle`: it has no better way to tell."""
    NOTIFIES = auto()
    """It says so itself, by `joulebook.supervisor.readiness.tell_ready`."""
    ENDED = auto()
    """It ended with status 0: it is a step that has to be done once, and is not started again."""
    ANSWERS = auto()
    """`GET /readyz` at its `address` answers 200."""


@dataclass(frozen=True)
class Address:
    """Where a process listens."""

    host: str
    port: int

    @property
    def reachable(self) -> str:
        """The host under which this machine reaches it: a wildcard address is no destination."""
        return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104

    @property
    def url(self) -> str:
        """The address for a browser on this machine."""
        host = self.reachable
        return f"http://[{host}]:{self.port}/" if ":" in host else f"http://{host}:{self.port}/"


@dataclass(frozen=True)
class ProcessSpec:
    """One process of the plan.

    `environment` is asked at each start, since some credentials exist only after the database's first
    start; it is the whole environment. `after` names processes that must be ready before. Processes are
    stopped one after the other, in the reverse order of the plan: `stop_signal`, then SIGKILL after
    `stop_timeout` seconds; `fast_signal` when the user asks a second time. Without a `user` the process runs
    as the one of the supervisor.
    """

    name: str
    command: tuple[str, ...]
    environment: Callable[[], Mapping[str, str]]
    ready: Ready = Ready.LIVES
    address: Address | None = None
    after: tuple[str, ...] = ()
    start_timeout: float = 60.0
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout: float = 30.0
    fast_signal: signal.Signals = signal.SIGKILL
    user: User | None = None


@dataclass(frozen=True)
class Patience:
    """How long the supervisor waits, in seconds, before it starts a process again, and when it gives up."""

    first: float = 0.5
    longest: float = 30.0
    settle: float = 1.0
    """A process that lived this long has got over its start, if it cannot tell (`Ready.LIVES`)."""
    stable: float = 60.0
    """A process that lived this long begins anew with `first`."""
    attempts: int = 4
    """A process that was never ready and ends this many times is given up, and everything stops."""

    def delay(self, failures: int) -> float:
        """Return how long to wait after the `failures`th failure in a row (1, 2, …)."""
        return min(self.longest, self.first * 2.0 ** min(failures - 1, 30))
