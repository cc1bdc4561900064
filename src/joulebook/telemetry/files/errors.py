"""What can keep a whole file from being imported; single bad rows and cells never do."""

from joulebook.telemetry.errors import TelemetryError


class FileError(TelemetryError):
    """The root of the errors about a file as a whole; the message names the value and the remedy.

    `setting` is the field of `Given` (or `sheet`, `profile`) whose value is the cause, empty for none.
    """

    def __init__(self, message: str, *, setting: str = "") -> None:
        super().__init__(message)
        self.setting = setting


class UnreadableFile(FileError):
    """The bytes of the file cannot be had: missing, empty, of an unknown kind, or damaged on the way."""


class FileTooLarge(UnreadableFile):
    """The file swells to more than any file of readings does; nothing of the kind is kept in memory."""


class UnusableProfile(FileError):
    """The import profile does not fit the file, or one of its settings has a value that cannot be used."""


class UnclearFile(FileError):
    """The file can be read in two ways, or in none that is known: a person has to say which."""


class TooMuchWork(FileError):
    """Reading the file takes more processor time than a person who waits is given."""


class ReadingAbandoned(FileError):
    """Nobody waits any more for what the file would give."""
