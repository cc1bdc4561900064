"""Reasons why a whole file cannot be imported, in words without the option names of any program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from string import Formatter
from typing import Any, Protocol

from joulebook.telemetry.errors import TelemetryError

NameSetting = Callable[[str, str], str]
"""Returns the words for a setting (a field of `Given`), with a value for it or "": `--tz UTC`, `tz=UTC`."""


class Sayable(Protocol):
    """A text that mentions settings."""

    def said(self, name: NameSetting) -> str:
        """Return the text with the settings named by `name`."""
        ...


class Message:
    """A sentence that mentions settings; the command, the API and the pages each name them in their way.

    In the template `{0}` stands for an argument, `{tz}` for a setting and `{tz:UTC}` for a setting with a
    value. Only the template is parsed: braces in the arguments are text.
    """

    def __init__(self, template: str, *arguments: object) -> None:
        self._template, self._arguments = template, arguments

    def said(self, name: NameSetting) -> str:
        """Return the sentence with the settings named by `name`."""
        return _SettingFormatter(name).vformat(self._template, self._arguments, {})


class _SettingFormatter(Formatter):
    def __init__(self, name: NameSetting) -> None:
        self._name = name

    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:  # noqa: ARG002
        return args[key] if isinstance(key, int) else _NamedSetting(key, self._name)


class _NamedSetting:
    def __init__(self, setting: str, name: NameSetting) -> None:
        self._setting, self._name = setting, name

    def __format__(self, value: str) -> str:
        return self._name(self._setting, value)


def plain_name(setting: str, value: str) -> str:
    """Return a setting in plain words: `header line 7`."""
    return f"{setting.replace('_', ' ')} {value}".rstrip()


class FileError(TelemetryError):
    """The root of the errors about a file as a whole; the message names the value and the remedy.

    `setting` is the field of `Given` (or `sheet`, `profile`) with the wrong value, empty for none.
    """

    def __init__(self, message: str | Sayable, *, setting: str = "") -> None:
        super().__init__(message if isinstance(message, str) else message.said(plain_name))
        self._message = message
        self.setting = setting

    def said(self, name: NameSetting) -> str:
        """Return the message with the settings named by `name`."""
        return self._message if isinstance(self._message, str) else self._message.said(name)


class UnreadableFile(FileError):
    """The file's bytes cannot be read: missing, empty, of an unknown kind, or damaged on the way."""


class FileTooLarge(UnreadableFile):
    """The file unpacks to more than any file of readings does; it is not kept in memory."""


class UnusableProfile(FileError):
    """The import profile does not fit the file, or one of its settings has an unusable value."""


class UnclearFile(FileError):
    """The file can be read in two ways, or in no known way: a person has to decide."""


class TooMuchWork(FileError):
    """Reading the file takes more processor time than one request may spend."""


class ReadingAbandoned(FileError):
    """The client has disconnected: the result is no longer needed."""
