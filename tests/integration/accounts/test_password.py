"""A new password: what ends with the old one, whichever door it is changed by."""

from __future__ import annotations

import pytest
from django.test import Client

from joulebook.web.accounts.models import UserToken
from joulebook.web.accounts.operations import issue_user_token

PASSWORD = "a long enough pass phrase"
NEW = "another long phrase"


@pytest.fixture
def script(alice):
    """Return whether a script of Alice's may still read with the token that it has."""
    token = issue_user_token(alice)

    def reads() -> bool:
        answer = Client().get("/api/devices", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code in {200, 401}
        return answer.status_code == 200

    return reads


def change(client, **more):
    form = {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW, **more}
    answer = client.post("/profile/password/", form)
    assert answer.status_code == 302, answer.content.decode()


def test_tokens_end_with_the_password(alice, client_of, script):
    assert script()
    change(client_of(alice))
    assert not script()


def test_tokens_are_kept_on_purpose(alice, client_of, script):
    client = client_of(alice)
    assert "Keep my tokens" in client.get("/profile/password/").content.decode()
    change(client, keep_tokens="on")
    assert script()


def test_a_change_that_fails_ends_nothing(alice, client_of, script):
    client, elsewhere = client_of(alice), client_of(alice)
    form = {"old_password": PASSWORD, "new_password1": "short", "new_password2": "short"}
    assert client.post("/profile/password/", form).status_code == 200
    assert script()
    assert elsewhere.get("/profile/").status_code == 200


def test_the_session_that_changes_it_gets_another_id_and_all_others_end(alice, client_of):
    here, elsewhere, thief = client_of(alice), client_of(alice), Client()
    thief.cookies = here.cookies.copy()
    change(here)
    assert here.get("/profile/").status_code == 200
    assert elsewhere.get("/profile/").status_code == 302
    assert thief.get("/profile/").status_code == 302


@pytest.mark.usefixtures("transaction_on_both")
def test_an_administrator_who_sets_it_ends_sessions_and_tokens(alice, charlie, client_of, script):
    charlie.is_staff = charlie.is_superuser = True
    charlie.save()
    hers = client_of(alice)
    answer = client_of(charlie).post(
        f"/admin/auth/user/{alice.pk}/password/",
        {"password1": NEW, "password2": NEW, "usable_password": "true", "set-password": "1"},
    )
    assert answer.status_code == 302, answer.content.decode()
    alice.refresh_from_db()
    assert alice.check_password(NEW)
    assert not script()
    assert hers.get("/profile/").status_code == 302


def test_the_admins_own_page_is_no_way_around_the_throttle(alice, client_of):
    alice.is_staff = alice.is_superuser = True
    alice.save()
    client = client_of(alice)
    assert client.get("/admin/password_change/").headers["Location"] == "/profile/password/"
    assert client.post("/admin/password_change/", {"old_password": "wrong"}).status_code == 405


@pytest.mark.parametrize("is_kept", [False, True])
def test_by_command(transactional_db, alice, script, joulebook, is_kept):
    words = ["--keep-tokens"] if is_kept else []
    done = joulebook("user", "password", "alice", "--password-stdin", *words, stdin=f"{NEW}\n")
    assert done.returncode == 0, done.stderr
    alice.refresh_from_db()
    assert alice.check_password(NEW)
    assert script() is is_kept


def test_the_command_refuses_a_weak_password(transactional_db, alice, script, joulebook):
    weak = joulebook("user", "password", "alice", "--password-stdin", stdin="short\n")
    assert weak.returncode == 1
    assert "password not changed" in weak.stderr
    assert not UserToken.objects.exclude(revoked_at=None).exists()
