"""The errors of the embedded database; one root, and each message has a remedy."""


class EmbeddedError(Exception):
    """The embedded database cannot do the requested work."""


class UnableToFindBinaries(EmbeddedError):
    """This machine has no PostgreSQL with TimescaleDB, and none could be fetched."""


class UnableToStart(EmbeddedError):
    """The database server did not start."""


class NotCreated(EmbeddedError):
    """No embedded database has been created in this JOULEBOOK_HOME yet."""


class MissingUrl(EmbeddedError):
    """The environment names the user's own server, but not for the requested role."""
