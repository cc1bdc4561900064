"""The core's own errors: one root, and the two kinds of trouble that a caller handles differently."""


class TelemetryError(Exception):
    """The root of everything that the telemetry core raises on purpose."""


class DatabaseUnavailable(TelemetryError):
    """The telemetry database cannot be reached or refuses work for now; keep the data and try again.

    Raised for SQLSTATE classes 08 (connection), 53 (resources) and 57 (operator intervention), for
    a connection that broke, and for conflicts between transactions that did not settle by retrying.
    """


class BatchRefused(TelemetryError):
    """The database refused a batch for what is in it; sending it again would fail again."""
