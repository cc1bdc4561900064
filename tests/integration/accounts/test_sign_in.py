"""Signing in and out, and the profile: what is refused, and what changes."""

from __future__ import annotations

import re

import httpx
import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.test import Client, RequestFactory

from joulebook.web.accounts import throttle

PASSWORD = "a long enough pass phrase"


def sign_in(client, name="alice", password=PASSWORD, *, address="127.0.0.1", **more):
    return client.post("/sign-in/", {"username": name, "password": password, **more}, REMOTE_ADDR=address)


@pytest.mark.parametrize("target", ["/profile/", "/devices/x/?range=1h"])
def test_sign_in_leads_to_the_page_that_was_asked_for(alice, target):
    assert sign_in(Client(), next=target).headers["Location"] == target


@pytest.mark.parametrize(
    "target", ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", ""]
)
def test_sign_in_never_leads_to_another_site(alice, target):
    assert sign_in(Client(), next=target).headers["Location"] == "/"


def test_the_answer_for_an_unknown_name_is_that_for_a_wrong_password(alice):
    def answer(name):
        response = sign_in(Client(), name, "not the password")
        page = re.sub(r'(data-now)="\d+"', r"\1", response.content.decode())
        return response.status_code, page.replace(name, "NAME").split("csrfmiddlewaretoken")[0]

    assert answer("alice") == answer("nobody")


def test_a_disabled_user_is_told_what_an_unknown_one_is(alice):
    alice.is_active = False
    alice.save()
    assert "is not right" in sign_in(Client()).content.decode()


def test_the_session_gets_another_id_at_sign_in_and_ends_at_sign_out(alice):
    client = Client()
    client.get("/sign-in/")
    session = client.session
    session["before"] = 1
    session.save()
    before = session.session_key
    client.cookies["joulebook_session"] = before
    sign_in(client)
    during = client.session.session_key
    assert during
    assert during != before
    cookie = next(c for name, c in client.cookies.items() if name.startswith("joulebook_session_"))
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    client.post("/sign-out/")
    thief = Client()
    thief.cookies[cookie.key] = during
    assert thief.get("/profile/").status_code == 302


def test_sign_out_is_not_to_be_had_by_a_link(alice, client_of):
    client = client_of(alice)
    assert client.get("/sign-out/").status_code == 405
    assert client.get("/profile/").status_code == 200


def test_forms_from_other_sites_are_refused(alice):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    for address, form in (
        ("/profile/", {"display_name": "Mallory", "time_zone": "UTC", "theme": "dark"}),
        ("/profile/", {"theme": "dark"}),
        (
            "/profile/password/",
            {"old_password": PASSWORD, "new_password1": "x" * 20, "new_password2": "x" * 20},
        ),
        ("/sign-out/", {}),
        ("/sign-in/", {"username": "alice", "password": PASSWORD}),
    ):
        response = client.post(address, form)
        assert response.status_code == 403, address
        assert "no longer valid" in response.content.decode()
    alice.profile.refresh_from_db()
    assert (alice.profile.display_name, alice.profile.theme) == ("", "system")


@pytest.fixture
def quick_hashes(monkeypatch):
    """Make Argon2 quick, for tests that count attempts: it takes its time by design."""
    monkeypatch.setattr(Argon2PasswordHasher, "time_cost", 1)
    monkeypatch.setattr(Argon2PasswordHasher, "memory_cost", 64)


@pytest.fixture
def alice_quick(quick_hashes, alice):
    """Alice, whose password is hashed quickly."""
    alice.set_password(PASSWORD)
    alice.save()


@pytest.mark.usefixtures("quick_hashes")
class TestTooManyWrongPasswords:
    def test_the_twentieth_is_refused_whatever_a_proxy_header_says(self, alice_quick):
        client = Client()
        answers = [
            client.post(
                "/sign-in/",
                {"username": "alice", "password": "wrong"},
                headers={"X-Forwarded-For": f"203.0.113.{number}"},
            )
            for number in range(20)
        ]
        assert [response.status_code for response in answers] == [200] * 10 + [429] * 10
        assert int(answers[-1].headers["Retry-After"]) == throttle.WINDOW_SECONDS
        refused = sign_in(client)
        assert refused.status_code == 429
        assert "Too many wrong passwords" in refused.content.decode()

    def test_an_unknown_name_is_refused_alike(self, db):
        client = Client()
        codes = [sign_in(client, "nobody", "wrong").status_code for _ in range(12)]
        assert codes == [200] * 10 + [429] * 2

    def test_upper_case_and_blanks_do_not_make_another_name(self, alice_quick):
        client = Client()
        for number in range(10):
            sign_in(client, ["alice", "ALICE", " alice "][number % 3], "wrong")
        assert sign_in(client).status_code == 429

    def test_alice_can_still_sign_in_from_elsewhere(self, alice_quick):
        for _ in range(12):
            sign_in(Client(), password="wrong", address="203.0.113.9")
        assert sign_in(Client(), address="198.51.100.7").status_code == 302

    def test_the_right_password_starts_the_count_anew(self, alice_quick):
        client = Client()
        for _ in range(9):
            sign_in(client, password="wrong")
        assert sign_in(client).status_code == 302
        client.logout()
        assert [sign_in(client, password="wrong").status_code for _ in range(10)] == [200] * 10

    def test_one_machine_that_tries_many_names_is_refused(self, db, monkeypatch):
        monkeypatch.setattr(throttle, "FAILURES_BY_ADDRESS", 5)
        client = Client()
        codes = [sign_in(client, f"name{number}", "wrong").status_code for number in range(7)]
        assert codes == [200] * 5 + [429] * 2

    def test_many_machines_that_try_one_name_are_refused(self, db, monkeypatch):
        monkeypatch.setattr(throttle, "FAILURES_BY_NAME", 5)
        codes = [
            sign_in(Client(), "name", "wrong", address=f"203.0.113.{number}").status_code
            for number in range(7)
        ]
        assert codes == [200] * 5 + [429] * 2


class TestProfile:
    def test_it_is_saved_and_shown(self, alice, client_of):
        client = client_of(alice)
        form = {"display_name": "Alice A.", "time_zone": "Europe/Lisbon", "theme": "dark"}
        assert client.post("/profile/", form).headers["Location"] == "/profile/"
        page = client.get("/profile/").content.decode()
        assert 'data-theme="dark"' in page
        assert "Alice A." in page
        assert '<option value="Europe/Lisbon" selected>' in page

    @pytest.mark.parametrize(
        ("field", "value"), [("time_zone", "Mars/Olympus"), ("theme", "pink"), ("display_name", "x" * 151)]
    )
    def test_what_makes_no_sense_is_refused(self, alice, client_of, field, value):
        form = {"display_name": "A", "time_zone": "UTC", "theme": "dark", field: value}
        response = client_of(alice).post("/profile/", form)
        assert response.status_code == 400
        alice.profile.refresh_from_db()
        assert alice.profile.theme == "system"

    def test_a_zone_that_the_list_does_not_offer_is_kept(self, alice, client_of):
        alice.profile.time_zone = "Etc/GMT+5"
        alice.profile.save()
        form = {"display_name": "A", "time_zone": "Etc/GMT+5", "theme": "light"}
        assert client_of(alice).post("/profile/", form).status_code == 302

    @pytest.mark.parametrize(("target", "leads_to"), [("/?x=1", "/?x=1"), ("//evil.example", "/profile/")])
    def test_the_theme_button_changes_the_theme_alone_and_returns(self, alice, client_of, target, leads_to):
        alice.profile.display_name = "Alice A."
        alice.profile.save()
        response = client_of(alice).post("/profile/", {"theme": "light", "next": target})
        assert response.headers["Location"] == leads_to
        alice.profile.refresh_from_db()
        assert (alice.profile.theme, alice.profile.display_name) == ("light", "Alice A.")

    def test_a_new_password_ends_the_users_other_sessions(self, alice, client_of):
        here, elsewhere = client_of(alice), client_of(alice)
        form = {
            "old_password": PASSWORD,
            "new_password1": "another long phrase",
            "new_password2": "another long phrase",
        }
        assert here.post("/profile/password/", form).headers["Location"] == "/profile/"
        assert "Your password is changed." in here.get("/profile/").content.decode()
        assert elsewhere.get("/profile/").status_code == 302

    def test_a_user_who_came_by_another_way_gets_a_profile(self, db, client_of):
        from django.contrib.auth.models import User

        assert client_of(User.objects.create_user("dora")).get("/profile/").status_code == 200


def test_all_web_processes_count_wrong_passwords_together(web, transactional_db, alice):
    codes = []
    for _ in range(20):
        # A connection of its own each time, so that every process gets its share.
        with httpx.Client(base_url=web.url) as browser:
            token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', browser.get("/sign-in/").text)
            assert token
            form = {"username": "alice", "password": "wrong", "csrfmiddlewaretoken": token[1]}
            codes.append(browser.post("/sign-in/", data=form, headers={"Referer": web.url}).status_code)
    assert codes == [200] * 10 + [429] * 10


def test_failures_are_forgotten_a_quarter_of_an_hour_after_the_first_and_not_before(alice_quick):
    from datetime import timedelta

    from joulebook.web.accounts.models import SignInFailures

    for _ in range(12):
        sign_in(Client(), password="wrong")
    slack = 120  # seconds that a busy machine may need for the attempts
    age = timedelta(seconds=throttle.WINDOW_SECONDS - slack)
    for failures in SignInFailures.objects.all():
        SignInFailures.objects.filter(pk=failures.pk).update(since=failures.since - age)
    throttle.remove_forgotten()
    assert sign_in(Client()).status_code == 429
    for failures in SignInFailures.objects.all():
        SignInFailures.objects.filter(pk=failures.pk).update(since=failures.since - timedelta(seconds=slack))
    assert sign_in(Client()).status_code == 302
    throttle.remove_forgotten()
    assert SignInFailures.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_failures_at_the_same_moment_are_all_counted():
    from concurrent.futures import ThreadPoolExecutor

    from django.db import connections

    from joulebook.web.accounts.models import SignInFailures

    def fail(_: int) -> None:
        throttle.count_failure(throttle.sign_in_limits(RequestFactory().get("/"), "alice"))
        connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fail, range(80)))
    assert set(SignInFailures.objects.values_list("count", flat=True)) == {80}


class TestAdministrators:
    def test_they_sign_in_where_everybody_does(self, client, alice):
        answer = client.get("/admin/", follow=True)
        assert answer.redirect_chain[-1][0] == "/sign-in/?next=/admin/"
        alice.is_staff = alice.is_superuser = True
        alice.save()
        assert sign_in(client, next="/admin/").headers["Location"] == "/admin/"
        assert client.get("/admin/").status_code == 200
        assert client.get("/admin/devices/device/").status_code == 200

    def test_a_post_to_the_stock_sign_in_is_no_way_around(self, client, alice):
        assert client.post("/admin/login/", {"username": "alice", "password": PASSWORD}).status_code == 405

    def test_a_user_who_is_none_is_refused_without_going_round_in_circles(self, client, alice):
        client.force_login(alice)
        assert client.get("/admin/", follow=True).status_code == 403

    @pytest.mark.parametrize(
        "page",
        [
            "auth/user",
            "accounts/usertoken",
            "devices/device",
            "devices/devicetoken",
            "devices/gatewaytoken",
            "imports/import",
        ],
    )
    def test_their_pages_open_and_offer_no_way_to_make_a_token_that_nobody_sees(self, client, alice, page):
        alice.is_staff = alice.is_superuser = True
        alice.save()
        client.force_login(alice)
        assert client.get(f"/admin/{page}/").status_code == 200
        if "token" in page or "import" in page:
            assert client.get(f"/admin/{page}/add/").status_code == 403


def test_half_sent_requests_keep_nobody_waiting(web):
    import socket

    port = int(web.url.rsplit(":", 1)[1])
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
    try:
        for one in slow:
            one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        for _ in range(5):
            assert httpx.get(f"{web.url}/livez", timeout=30).status_code == 200
    finally:
        for one in slow:
            one.close()
