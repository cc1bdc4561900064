"""Whose wrong passwords lock out whom: a person's own, and nobody else's."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_network

import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.test import Client

from joulebook.web.accounts import throttle

PASSWORD = "a long enough pass phrase"


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch):
    """Make Argon2 quick, for tests that count attempts: it takes its time by design."""
    monkeypatch.setattr(Argon2PasswordHasher, "time_cost", 1)
    monkeypatch.setattr(Argon2PasswordHasher, "memory_cost", 64)


@pytest.fixture
def alice(alice):
    """Alice, whose password is hashed quickly."""
    alice.set_password(PASSWORD)
    alice.save()
    return alice


def sign_in(client, password=PASSWORD, *, name="alice", address="203.0.113.1", **meta):
    return client.post(
        "/sign-in/", {"username": name, "password": password}, REMOTE_ADDR=address, **meta
    ).status_code


def fail(times, **how):
    return [sign_in(Client(), "wrong", **how) for _ in range(times)]


@pytest.fixture
def her_browser(alice):
    """A browser in which Alice has signed in, and out again."""
    client = Client()
    assert sign_in(client) == 302
    client.post("/sign-out/")
    return client


def test_nobody_keeps_alice_out_of_her_own_browser(her_browser, monkeypatch):
    monkeypatch.setattr(throttle, "FAILURES_BY_NAME", 5)
    codes = [sign_in(Client(), "wrong", address=f"198.51.100.{number}") for number in range(7)]
    assert codes == [200] * 5 + [429] * 2
    assert sign_in(Client(), address="192.0.2.1") == 429
    assert sign_in(her_browser, address="192.0.2.1") == 302


def test_the_mistakes_of_others_behind_her_router_do_not_keep_her_out_either(her_browser, monkeypatch):
    monkeypatch.setattr(throttle, "FAILURES_BY_ADDRESS", 5)
    for number in range(6):
        fail(1, name=f"child{number}")
    assert sign_in(Client()) == 429
    assert sign_in(her_browser) == 302


def test_her_browser_is_no_way_to_guess_without_end(her_browser, alice):
    assert [sign_in(her_browser, "wrong") for _ in range(12)] == [200] * 10 + [429] * 2
    assert sign_in(her_browser) == 429
    assert sign_in(Client()) == 302


def test_a_right_password_starts_the_count_of_a_browser_anew(her_browser):
    assert [sign_in(her_browser, "wrong") for _ in range(9)] == [200] * 9
    assert sign_in(her_browser) == 302
    her_browser.post("/sign-out/")
    assert [sign_in(her_browser, "wrong") for _ in range(11)] == [200] * 10 + [429]


def test_a_cookie_counts_for_its_own_name_only_and_cannot_be_made_up(her_browser, charlie, monkeypatch):
    name, cookie = next(
        (name, cookie) for name, cookie in her_browser.cookies.items() if name.startswith("joulebook_known_")
    )
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    mallory = Client()
    assert sign_in(mallory, name="charlie") == 302
    own = next(each for each in mallory.cookies.values() if each.key.startswith("joulebook_known_"))
    assert own.key != name
    fail(10)
    for value in (own.value, cookie.value[:-1] + "x", ""):
        thief = Client()
        thief.cookies[name] = value
        assert sign_in(thief) == 429, value
    honest = Client()
    honest.cookies[name] = cookie.value
    assert sign_in(honest) == 302


class TestBehindAProxy:
    @pytest.fixture(autouse=True)
    def trusted(self, settings):
        networks = (ip_network("10.0.0.0/8"),)
        settings.CONFIG = dataclasses.replace(settings.CONFIG, trusted_proxies=networks, names_proxies=True)

    def through(self, client_address: str) -> dict[str, str]:
        return {"address": "10.0.0.5", "HTTP_X_FORWARDED_FOR": f"1.2.3.4, {client_address}"}

    def test_one_persons_mistakes_lock_out_nobody_else(self, alice, bob):
        bob.set_password(PASSWORD)
        bob.save()
        assert fail(12, **self.through("198.51.100.1")) == [200] * 10 + [429] * 2
        assert sign_in(Client(), **self.through("198.51.100.1")) == 429
        assert sign_in(Client(), **self.through("198.51.100.2")) == 302
        assert sign_in(Client(), name="bob", **self.through("198.51.100.1")) == 302

    def test_a_hundred_mistakes_of_one_address_lock_out_that_address_only(self, alice, monkeypatch):
        monkeypatch.setattr(throttle, "FAILURES_BY_ADDRESS", 5)
        for number in range(6):
            fail(1, name=f"name{number}", **self.through("198.51.100.1"))
        assert sign_in(Client(), **self.through("198.51.100.1")) == 429
        assert sign_in(Client(), **self.through("198.51.100.2")) == 302

    def test_addresses_of_one_ipv6_network_are_one(self, alice):
        codes = [fail(1, **self.through(f"2001:db8:1:2::{number:x}"))[0] for number in range(12)]
        assert codes == [200] * 10 + [429] * 2
        assert sign_in(Client(), **self.through("2001:db8:1:2:ffff::1")) == 429
        assert sign_in(Client(), **self.through("2001:db8:1:3::1")) == 302

    def test_a_client_cannot_choose_its_address(self, alice):
        """What a client has written itself lies to the left of what the proxy adds."""
        codes = [
            sign_in(
                Client(),
                "wrong",
                address="10.0.0.5",
                HTTP_X_FORWARDED_FOR=f"192.0.2.{number}, 198.51.100.1",
            )
            for number in range(12)
        ]
        assert codes == [200] * 10 + [429] * 2


class TestTheOldPassword:
    FORM = {"new_password1": "another long phrase", "new_password2": "another long phrase"}

    def change(self, client, old_password, **more):
        return client.post("/profile/password/", {"old_password": old_password, **self.FORM, **more})

    def test_it_cannot_be_guessed_without_end(self, alice, charlie, client_of):
        client = client_of(alice)
        answers = [self.change(client, "wrong") for _ in range(25)]
        assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 15
        assert int(answers[-1].headers["Retry-After"]) == throttle.WINDOW_SECONDS
        assert "Too many wrong passwords" in answers[-1].content.decode()
        assert self.change(client_of(alice), PASSWORD).status_code == 429
        alice.refresh_from_db()
        assert alice.check_password(PASSWORD)
        assert self.change(client_of(charlie), "wrong").status_code == 200
        assert sign_in(Client()) == 302

    def test_the_right_one_starts_the_count_anew(self, alice, client_of):
        client = client_of(alice)
        for _ in range(9):
            self.change(client, "wrong")
        assert self.change(client, PASSWORD, new_password2="different").status_code == 200
        assert [self.change(client, "wrong").status_code for _ in range(11)] == [200] * 10 + [429]
