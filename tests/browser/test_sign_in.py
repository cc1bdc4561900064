"""Signing in and out, in a browser, with and without scripts."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from .conftest import PASSWORD

pytestmark = pytest.mark.usefixtures("transactional_db", "alice")


def fill(page, name, password):
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_the_right_password_leads_to_the_page_that_was_asked_for(page):
    page.goto("/profile/")
    expect(page).to_have_url(f"{page.url.partition('/sign-in/')[0]}/sign-in/?next=/profile/")
    fill(page, "alice", PASSWORD)
    expect(page.get_by_role("heading", name="Profile")).to_be_visible()


def test_a_wrong_password_says_so_and_keeps_the_name(page):
    page.goto("/sign-in/")
    fill(page, "alice", "not her password")
    expect(page.get_by_role("alert")).to_contain_text("user name or the password is not right")
    expect(page.get_by_label("User name")).to_have_value("alice")
    expect(page.get_by_label("Password")).to_have_value("")


def test_signing_in_and_out_works_without_scripts(open_context):
    page = open_context(java_script_enabled=False).new_page()
    page.goto("/")
    fill(page, "alice", PASSWORD)
    expect(page.get_by_role("heading", name="No devices yet")).to_be_visible()
    page.locator("summary", has_text="alice").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto("/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_chosen_theme_is_kept(alices_page):
    background = "getComputedStyle(document.body.parentElement).backgroundColor"
    alices_page.emulate_media(color_scheme="light")
    light = alices_page.evaluate(background)
    with alices_page.expect_response("**/profile/"):
        alices_page.get_by_role("button", name="Switch between light and dark").click()
    dark = alices_page.evaluate(background)
    assert dark != light
    alices_page.reload()
    assert alices_page.evaluate(background) == dark
    alices_page.goto("/profile/")
    expect(alices_page.get_by_label("Dark")).to_be_checked()
    alices_page.get_by_label("Theme of the system").check()
    alices_page.get_by_label("Display name").fill("Alice A.")
    alices_page.get_by_role("button", name="Save").click()
    expect(alices_page.get_by_role("status")).to_have_text("Your profile is saved.")
    expect(alices_page.locator("summary", has_text="Alice A.")).to_be_visible()
    assert alices_page.evaluate(background) == light
