"""A body as large as a file's is taken in only from someone who is signed in, and while there is room."""

from __future__ import annotations

import pytest
from django.conf import settings
from django.test import Client

from joulebook.web.accounts.operations import create_user, issue_user_token
from joulebook.web.imports.uploads.files import DiskFull
from joulebook.web.imports.uploads.receiving import largest_body

USUAL = 1 << 24
FILE = 100_000_000

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice():
    return create_user("alice", "a long enough password")


@pytest.fixture
def session(alice) -> dict[str, str]:
    client = Client()
    client.force_login(alice)
    name = settings.SESSION_COOKIE_NAME
    return {"COOKIE": f"theme=dark; {name}={client.cookies[name].value}"}


def asked(headers: dict[str, str], *, method: str = "POST", path: str = "/imports/", size: int = FILE) -> int:
    return largest_body(method, path, headers, size=size, usual=USUAL)


def test_a_session_may_send_a_file(session) -> None:
    assert asked(session) > FILE
    assert asked(session, size=0) > FILE  # its size is not known yet


def test_a_token_may_send_a_file(alice) -> None:
    assert asked({"AUTHORIZATION": f"Bearer {issue_user_token(alice)}"}, path="/api/imports") > FILE


@pytest.mark.parametrize(
    "headers", [{}, {"COOKIE": "no cookie at all"}, {"AUTHORIZATION": "Bearer jbu00000000_guess"}]
)
def test_a_stranger_may_not(headers) -> None:
    assert asked(headers) == USUAL


def test_a_session_that_was_ended_may_not(session, alice) -> None:
    alice.set_password("another long password")
    alice.save()
    assert asked(session) == USUAL


def test_a_user_who_was_disabled_may_not(session, alice) -> None:
    alice.is_active = False
    alice.save()
    assert asked(session) == USUAL


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/imports/"), ("POST", "/sign-in/"), ("POST", "/imports/5/")]
)
def test_no_other_page_takes_a_file(session, method, path) -> None:
    assert asked(session, method=method, path=path) == USUAL


def test_a_file_that_the_disk_has_no_room_for_is_refused(session) -> None:
    with pytest.raises(DiskFull, match="the file has 1,000,000,000,000,000 bytes, and the disk has room for"):
        asked(session, size=10**15)
