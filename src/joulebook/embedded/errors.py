"""What can go wrong with the embedded database; one root, each message says what to do."""


class EmbeddedError(Exception):
    """The database that Joulebook runs for itself cannot do what was asked."""


class UnableToFindBinaries(EmbeddedError):
    """There is no PostgreSQL with TimescaleDB here and none could be fetched."""


class UnableToStart(EmbeddedError):
    """The database server did not come up."""


class NotCreated(EmbeddedError):
    """No embedded database has been created in this JOULEBOOK_HOME yet."""


class MissingUrl(EmbeddedError):
    """The environment names a server of the user's own, but not for the role that was asked for."""
