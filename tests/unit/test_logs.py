r"""Log lines: when, how grave, which process and request; and no message can look like another line."""

from __future__ import annotations

import json
import logging
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.logs import (
    PREFIXED_VARIABLE,
    JsonFormatter,
    LineFormatter,
    PlainFormatter,
    accepted_request_id,
    json_line,
    new_request_id,
    quieted,
    request_id,
    text_line,
)

LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (?:INFO|ERROR) +\w*\[\d+\] joulebook\.test(?: \[[\w-]+\])?: .*"
)


def record(message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error is not None else None
    made = logging.LogRecord("joulebook.test", logging.ERROR, "f.py", 1, message, args, info)
    made.created, made.msecs = 1_790_000_000.25, 250
    return made


def fail(message: str) -> None:
    raise ValueError(message)


def raised(message: str) -> BaseException:
    with pytest.raises(ValueError) as caught:
        fail(message)
    return caught.value


def test_a_line_names_time_level_process_logger_and_request() -> None:
    token = request_id.set("abc-1")
    try:
        line = LineFormatter("web").format(record("a %s", "message"))
    finally:
        request_id.reset(token)
    assert re.fullmatch(
        r"2026-09-21T14:13:20\.250Z ERROR   web\[\d+\] joulebook\.test \[abc-1\]: a message", line
    )
    assert " [abc-1]" not in LineFormatter("web").format(record("outside of requests"))


def test_the_console_of_up_names_the_process_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PREFIXED_VARIABLE, "1")
    assert re.search(r"ERROR   \[\d+\] joulebook\.test: a$", LineFormatter("web").format(record("a")))


def test_a_json_line_is_one_object_with_the_same() -> None:
    token = request_id.set("abc-1")
    try:
        line = JsonFormatter("web").format(record("a\nb", error=raised("c\nd")))
    finally:
        request_id.reset(token)
    assert "\n" not in line
    found = json.loads(line)
    assert found.pop("pid") > 0
    assert found.pop("traceback").endswith("ValueError: c\nd")
    assert found == {
        "time": "2026-09-21T14:13:20.250Z",
        "level": "ERROR",
        "process": "web",
        "logger": "joulebook.test",
        "message": "a\nb",
        "request_id": "abc-1",
    }


@given(st.text())
def test_no_message_makes_a_second_line(text: str) -> None:
    for formatter in (LineFormatter("web"), PlainFormatter(), JsonFormatter("web")):
        line = formatter.format(record("%s", text))
        assert len(line.splitlines()) == 1
        assert not re.search("[\x00-\x1f\x7f-\x9f\u202e\u2028]", line)
        line.encode()


@given(st.text())
def test_no_exception_makes_a_line_that_looks_like_a_record(text: str) -> None:
    forged = f"{text}\n2026-09-21T14:13:20.250Z ERROR   web[1] joulebook.test: forged"
    lines = LineFormatter("web").format(record("failed", error=raised(forged))).split("\n")
    assert LINE.fullmatch(lines[0])
    assert len(lines) > 3
    for line in lines[1:]:
        assert line.startswith("    ")
        assert not re.search("[\x00-\x1f\x7f-\x9f]", line)


def test_an_id_is_taken_from_a_proxy_only_where_it_is_well_formed() -> None:
    for good in ("a", "5f0c9a1e77-2c", "A.b_c-d", "x" * 64, new_request_id()):
        assert accepted_request_id(good) == good
    for bad in (None, "", "x" * 65, "a b", "a\n", "a\nb", "ü", "a;b", "[a]"):
        assert accepted_request_id(bad) is None
    assert len({new_request_id() for _ in range(1000)}) == 1000


def test_lines_of_programs_without_logging_have_the_same_form() -> None:
    assert re.fullmatch(
        r"1970-01-01T00:00:01\.000Z WARNING \[\d+\] joulebook\.supervisor: a\\nb",
        text_line("a\nb", level="WARNING", logger="joulebook.supervisor", now=1.0),
    )
    assert json.loads(json_line("a\nb", process="database", now=1.0)) == {
        "time": "1970-01-01T00:00:01.000Z",
        "level": "INFO",
        "process": "database",
        "message": "a\nb",
    }


def test_a_quieted_logger_tells_again_behind_the_block_also_after_an_error():
    logger = logging.getLogger("joulebook.some.part")
    with pytest.raises(KeyboardInterrupt), quieted("joulebook.some", level=logging.ERROR):
        assert not logger.isEnabledFor(logging.WARNING)
        assert logger.isEnabledFor(logging.ERROR)
        raise KeyboardInterrupt
    assert logger.isEnabledFor(logging.WARNING)
