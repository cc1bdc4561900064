"""Describes a process for the supervisor: its command and environment, its readiness, its end."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from joulebook.supervisor.system_users import SystemUser


class Ready(Enum):
    """How the supervisor learns of a process's readiness."""

    LIVES = auto()
    """It still runs after `Patience.settle`."""
    NOTIFIES = auto()
    """It calls `joulebook.readiness.tell_ready`."""
    ENDED = auto()
    """It ended with status 0: it is a step, done once and not restarted."""
    ANSWERS = auto()
    """`GET /readyz` at its `address` answers 200."""


@dataclass(frozen=True)
class Address:
    """Where a process listens."""

    host: str
    port: int

    @property
    def reachable(self) -> str:
        """The host for connections from this machine: a wildcard address is no destination."""
        return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104

    @property
    def url(self) -> str:
        """The address for a browser on this machine."""
        host = self.reachable
        return f"http://[{host}]:{self.port}/" if ":" in host else f"http://{host}:{self.port}/"


@dataclass(frozen=True)
class ProcessSpec:
    """One process of the plan.

    `environment` returns the whole environment; it is called at each start, since some credentials exist
    only after the database's first start. `after` names processes to be ready before this one starts. The
    process is stopped by `stop_signal`, then by SIGKILL after `stop_timeout` seconds; at the user's second
    request by `fast_signal`. The process inherits `listening`; the supervisor closes its own copy before it
    stops the process. Without a `user` the process runs as the supervisor's system user.
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
    listening: socket.socket | None = None
    user: SystemUser | None = None


@dataclass(frozen=True)
class Patience:
    """How long the supervisor waits before it restarts a process, in seconds, and when it gives up."""

    first: float = 0.5
    longest: float = 30.0
    settle: float = 1.0
    """After this time a process is ready, if it cannot report it (`Ready.LIVES`)."""
    stable: float = 60.0
    """After this time without an end, the next pause is `first` again."""
    attempts: int = 4
    """After this many ends of a process never ready, the supervisor gives up and stops everything."""

    def delay(self, failures: int) -> float:
        """Return how long to wait after the `failures`th failure in a row (1, 2, …)."""
        return min(self.longest, self.first * 2.0 ** min(failures - 1, 30))
