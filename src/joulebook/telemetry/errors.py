"""The core's own errors: one root, and two errors handled in different ways: retry, or do not."""


class TelemetryError(Exception):
    """The root of all errors raised by the telemetry core on purpose."""


class DatabaseUnavailable(TelemetryError):
    """The telemetry database cannot be reached or refuses work for now; retry later with the same data.

    Raised for SQLSTATE classes 08 (connection), 53 (resources) and 57 (operator intervention), for
    a connection that broke, and for conflicts between transactions still there after all retries.
    """


class BatchRefused(TelemetryError):
    """The database refused the values of a batch; a retry would fail again."""
