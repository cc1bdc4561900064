"""Log lines of all processes: one format, one request id, and no client can forge a line.

A line is `time level process[pid] logger: message`, or a JSON object with `JOULEBOOK_LOG_FORMAT=json`.
Commands for people log a plain `level logger: message`. The request id is a context variable: it is the
same in the threads of `asyncio` and in Django's middleware.
"""

from __future__ import annotations

import itertools
import json
import logging
import logging.config
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

REQUEST_ID_HEADER = "X-Request-ID"

JSON = "json"

PREFIXED_VARIABLE = "JOULEBOOK_LOG_PREFIXED"
"""Set by `joulebook up` for its children: the console writes each line behind the process's name."""

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the current request; empty outside of requests."""

_WELL_FORMED = re.compile(r"[A-Za-z0-9._-]{1,64}")

# C0 and C1 control characters, Unicode's line ends and marks reordering a line, lone surrogates.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

_INDENT = "    "

# Ids are unique over processes and restarts by their first part, and cost no random bytes each.
_id_prefix = secrets.token_hex(5)
_id_numbers = itertools.count(1)

_process = ""


def _forget_parents_ids() -> None:
    global _id_prefix
    _id_prefix = secrets.token_hex(5)


os.register_at_fork(after_in_child=_forget_parents_ids)


def new_request_id() -> str:
    """Return an id unique over all processes."""
    return f"{_id_prefix}-{next(_id_numbers):x}"


def accepted_request_id(text: str | None) -> str | None:
    """Return the id given by a trusted proxy; None if it is missing or malformed."""
    return text if text is not None and _WELL_FORMED.fullmatch(text) else None


def escape_control_characters(text: str) -> str:
    r"""Return the text with control characters written as `\n`, `\x1b` and so on."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


class LineFormatter(logging.Formatter):
    """One line a record; the lines of a traceback are indented, and so never look like a record."""

    def __init__(self, process: str) -> None:
        """Name `process` in each line, unless a console does so."""
        super().__init__()
        name = "" if os.environ.get(PREFIXED_VARIABLE) else process
        self._process = f"{name}[{os.getpid()}]"

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        found = request_id.get()
        request = f" [{found}]" if found else ""
        message = escape_control_characters(record.getMessage())
        line = (
            f"{_time(record.created)} {record.levelname:<7} {self._process} {record.name}{request}: {message}"
        )
        return line + "".join(f"\n{_INDENT}{each}" for each in _traceback_lines(self, record))


class JsonFormatter(logging.Formatter):
    """One JSON object a record."""

    def __init__(self, process: str) -> None:
        """Name `process` in each object."""
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as an object on one line."""
        line: dict[str, Any] = {
            "time": _time(record.created),
            "level": record.levelname,
            "process": self._process,
            "pid": os.getpid(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if found := request_id.get():
            line["request_id"] = found
        if lines := _traceback_lines(self, record):
            line["traceback"] = "\n".join(lines)
        return json.dumps(line)


class PlainFormatter(logging.Formatter):
    """Messages of a command for its user."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        line = f"{record.levelname} {record.name}: {escape_control_characters(record.getMessage())}"
        return line + "".join(f"\n{_INDENT}{each}" for each in _traceback_lines(self, record))


class WithoutTraceback(logging.Filter):
    """Leaves out where in Django a hostile request was noticed: one line is enough."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, less its traceback."""
        record.exc_info = None
        return True


def text_line(message: str, *, level: str, logger: str, now: float) -> str:
    """Return a log line without the module `logging`; `now` in seconds since 1970 UTC."""
    return f"{_time(now)} {level:<7} [{os.getpid()}] {logger}: {escape_control_characters(message)}"


def json_line(message: str, *, process: str, now: float) -> str:
    """Return a line of a process without `logging` as a JSON object."""
    return json.dumps({"time": _time(now), "level": "INFO", "process": process, "message": message})


def name_process(name: str) -> None:
    """Let this process log as a service of this name; before `log_settings`."""
    global _process
    _process = name


def set_up_logging(name: str, *, log_format: str) -> None:
    """Log to standard error as a service of this name."""
    name_process(name)
    logging.config.dictConfig(log_settings(log_format))


@contextmanager
def quieted(logger: str, *, level: int = logging.WARNING) -> Iterator[None]:
    """Let a logger and those below it tell nothing below `level` until the block ends."""
    found = logging.getLogger(logger)
    before = found.level
    found.setLevel(level)
    try:
        yield
    finally:
        found.setLevel(before)


def log_settings(log_format: str) -> dict[str, Any]:
    """Return settings for `logging.config.dictConfig`; `log_format` is `text` or `json`."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": _formatter, "log_format": log_format}},
        "filters": {"without traceback": {"()": WithoutTraceback}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "joulebook": {"level": "INFO"},
            "uvicorn": {"level": "INFO"},
            # Django's own handler of this logger would write each line in another format.
            "django": {"handlers": [], "level": "WARNING"},
            # A caller's 4xx is the caller's to read, and could fill the log.
            "django.request": {"level": "ERROR"},
            "django.security.DisallowedHost": {"filters": ["without traceback"]},
        },
    }


def _formatter(log_format: str) -> logging.Formatter:
    if not _process:
        return PlainFormatter()
    return JsonFormatter(_process) if log_format == JSON else LineFormatter(_process)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _traceback_lines(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    """Return the lines of a record's traceback and stack, control characters escaped."""
    texts = []
    if record.exc_info:
        texts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        texts.append(formatter.formatStack(record.stack_info))
    return [escape_control_characters(line) for text in texts for line in text.split("\n")]
