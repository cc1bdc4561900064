"""Writes the output of several processes line by line behind their names, coloured on a terminal."""

from __future__ import annotations

import os
import re
import time
from collections import deque
from contextlib import suppress
from io import TextIOWrapper
from typing import TextIO

from joulebook.logs import json_line, text_line

_COLOURS = (36, 33, 32, 35, 34, 31, 96, 93)
_CLEAR_LINE = "\r\x1b[2K"
_LONGEST_LINE = 65_536
_COLUMNS = 80  # of a terminal of unknown width
_LINE_END = re.compile(rb"(\r\n|\n|\r)")


class Console:
    """Writes whole lines of several processes to one stream.

    A line ending in a carriage return is transient, like a progress bar: on a terminal the next line
    replaces it, elsewhere it is left out. After the reader's end the console drops all lines without an
    error: the processes matter more than their output. Without `labels` lines have no names before them:
    each is a log line by itself. With `json_lines` each line is an object: lines already logged in JSON pass
    unchanged, all others are wrapped.
    """

    def __init__(
        self,
        stream: TextIO,
        names: list[str],
        *,
        labels: bool = True,
        colour: bool | None = None,
        json_lines: bool = False,
    ) -> None:
        if isinstance(stream, TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")  # a terminal may lack a character of the output
        self._stream = stream
        self._terminal = stream.isatty()
        self._colour = self._terminal and "NO_COLOR" not in os.environ if colour is None else colour
        self._width = max((len(name) for name in names), default=0)
        self._codes = {name: _COLOURS[index % len(_COLOURS)] for index, name in enumerate(names)}
        self._transient = False
        self._lost = False
        self._json_lines = json_lines
        self.labels = labels

    def say(self, text: str) -> None:
        """Write a line of the supervisor itself, without a name before it."""
        if not self.labels and not self._json_lines:
            text = _log_line(text, level="INFO")
        self._write(f"{self._as_object('up', text)}\n", transient=False)

    def warn(self, name: str, text: str) -> None:
        """Write a warning of the supervisor about the process called `name`."""
        self.line(name, _log_line(text if self.labels else f"{name} {text}", level="WARNING"))

    def line(self, name: str, text: str, *, transient: bool = False) -> None:
        """Write one line of the process called `name`."""
        if transient and (self._json_lines or not self._terminal):
            return
        if self._json_lines:
            self._write(f"{self._as_object(name, text)}\n", transient=False)
            return
        label = f"{name:<{self._width}} │ " if self.labels else ""
        if transient:
            columns = 0
            with suppress(OSError, ValueError):
                columns = os.get_terminal_size(self._stream.fileno()).columns
            # A wrapped line cannot be replaced.
            text = text[: max(0, (columns or _COLUMNS) - len(label) - 1)]
        if self._colour and label:
            label = f"\x1b[{self._codes.get(name, 37)}m{label}\x1b[0m"
        self._write(f"{label}{text}" + ("" if transient else "\n"), transient=transient)

    def _as_object(self, name: str, text: str) -> str:
        if not self._json_lines or (text.startswith('{"time": ') and text.endswith("}")):
            return text
        return json_line(text, process=name, now=time.time())

    def _write(self, text: str, *, transient: bool) -> None:
        if self._lost:
            return
        if self._transient:
            text = _CLEAR_LINE + text
        self._transient = transient
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._lost = True
            with suppress(OSError, ValueError):
                # The rest of the buffer must not raise again at the interpreter's end.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def _log_line(text: str, *, level: str) -> str:
    return text_line(text, level=level, logger="joulebook.supervisor", now=time.time())


class LineSplitter:
    """Cuts a process's output into lines for the console, and remembers the last ones."""

    def __init__(self, console: Console, name: str, *, keep: int = 12) -> None:
        self._console = console
        self._name = name
        self._rest = b""
        self._returned: bytes | None = None
        self.last: deque[str] = deque(maxlen=keep)

    def feed(self, data: bytes) -> None:
        """Take more output; whole lines are written."""
        if not data:
            return  # a line begun earlier is still to be continued
        data = self._rest + data
        if self._returned is not None and data.startswith(b"\n"):
            self._emit(self._returned)  # no progress bar, but half of a line end
            data = data[1:]
        *ended, self._rest = _LINE_END.split(data)
        self._returned = None
        for line, end in zip(ended[::2], ended[1::2], strict=True):
            self._emit(line, transient=end == b"\r")
            self._returned = line if end == b"\r" and not self._rest else None
        if len(self._rest) > _LONGEST_LINE:
            self._emit(self._rest)
            self._rest = b""

    def close(self) -> None:
        """Write the rest, after the last end of a line."""
        if self._rest:
            self._emit(self._rest)
            self._rest = b""

    def _emit(self, line: bytes, *, transient: bool = False) -> None:
        text = line.decode("utf-8", "replace")
        if not transient:
            self.last.append(text)
        self._console.line(self._name, text, transient=transient)
