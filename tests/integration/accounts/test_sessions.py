"""Sessions in the accounts database: what is stored signs nobody in, and it does not pile up."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from joulebook.web.accounts.sessions import SessionStore
from joulebook.worker.tasks import remove_expired_sessions


def client_with(session_id: str) -> Client:
    client = Client()
    client.cookies[settings.SESSION_COOKIE_NAME] = session_id
    return client


def test_an_id_from_a_copy_of_the_database_signs_nobody_in(alice, client_of):
    hers = client_of(alice)
    assert hers.get("/profile/").status_code == 200
    stored = list(Session.objects.values_list("session_key", flat=True))
    assert len(stored) == 1
    assert hers.session.session_key not in stored
    assert client_with(stored[0]).get("/profile/").status_code == 302
    assert client_with(hers.session.session_key).get("/profile/").status_code == 200


def test_an_upload_is_admitted_by_the_same_session(alice, client_of, tmp_path):
    from joulebook.web.imports.uploads.receiving import largest_body

    def largest(session_id):
        headers = {"COOKIE": f"{settings.SESSION_COOKIE_NAME}={session_id}"}
        return largest_body("POST", "/imports/", headers, size=0, usual=1000)

    hers = client_of(alice).session.session_key
    stored = Session.objects.values_list("session_key", flat=True)[0]
    assert largest(hers) > 1000
    assert largest(stored) == 1000


def test_signing_out_and_a_new_id_leave_no_row_behind(alice, client_of):
    client = client_of(alice)
    first = client.session
    first.cycle_key()
    assert Session.objects.count() == 1
    assert SessionStore(first.session_key).load() == dict(first.items())
    first.flush()
    assert not Session.objects.exists()


def test_an_id_that_a_client_has_chosen_is_not_taken_over(db):
    session = SessionStore("c" * 32)
    session["seen"] = True
    session.save()
    assert session.session_key != "c" * 32
    assert not SessionStore("c" * 32).exists("c" * 32)
    assert SessionStore().exists(session.session_key)


def test_the_worker_removes_expired_sessions_and_leaves_the_others(alice, client_of):
    expired, current = client_of(alice).session, client_of(alice).session
    assert Session.objects.count() == 2
    expired.set_expiry(timedelta(seconds=-1))
    expired.save()
    assert SessionStore(expired.session_key).load() == {}
    remove_expired_sessions()
    assert Session.objects.count() == 1
    assert SessionStore(current.session_key).load()["_auth_user_id"] == str(alice.pk)


@pytest.mark.django_db(transaction=True)
def test_its_calls_for_asynchronous_code_hash_ids_too():
    async def use() -> str:
        session = SessionStore()
        await session.aset("seen", True)
        await session.asave()
        key = session.session_key
        assert await SessionStore(key).aget("seen") is True
        assert await session.aexists(key)
        return key

    key = asyncio.run(use())
    assert not Session.objects.filter(session_key=key).exists()
    assert Session.objects.filter(expire_date__gt=timezone.now()).count() == 1
    asyncio.run(SessionStore(key).adelete())
    assert not Session.objects.exists()
