"""A private TimescaleDB on Joulebook's own machine: find or fetch it, start, stop, address."""

from joulebook.embedded.binaries import Binaries, ensure_binaries
from joulebook.embedded.database import EmbeddedDatabase, Role
from joulebook.embedded.errors import (
    EmbeddedError,
    MissingUrl,
    NotCreated,
    UnableToFindBinaries,
    UnableToStart,
)
from joulebook.embedded.urls import telemetry_url

__all__ = [
    "Binaries",
    "EmbeddedDatabase",
    "EmbeddedError",
    "MissingUrl",
    "NotCreated",
    "Role",
    "UnableToFindBinaries",
    "UnableToStart",
    "ensure_binaries",
    "telemetry_url",
]
