"""Every address of the web that names a device, asked by who may not see it: a new one is tested unasked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from joulebook.telemetry.series import ensure_series
from joulebook.web.corrections.models import Correction
from joulebook.web.devices.models import DeviceShare, MeterReplacement, Metric
from joulebook.web.imports.models import Import

NOT_ABOUT_A_DEVICE = {
    "",
    "sign-in/",
    "sign-out/",
    "profile/",
    "profile/password/",
    "api/",
    "api/openapi.json",
    "api/docs",
    "api/devices",
    "api/import-profiles",
    "api/import-profiles/<name>",
    "api/imports",
    "imports/",
    "livez",
    "readyz",
}
"""Addresses that show what is one's own, or nobody's; a new one has to be entered here on purpose."""

WORDS = {"metric": "energy", "number": "1"}
METHODS = ("get", "post", "put", "patch", "delete")


def routes(resolver: Any = None, prefix: str = "") -> Iterator[str]:
    for pattern in (resolver or get_resolver()).url_patterns:
        route = prefix + str(pattern.pattern)
        if route.startswith("admin/"):
            continue  # Django's own, for administrators, who manage devices and see no readings
        if isinstance(pattern, URLResolver):
            yield from routes(pattern, route)
        elif isinstance(pattern, URLPattern):
            yield route


def parameters(route: str) -> list[str]:
    return re.findall(r"<(?:\w+:)?(\w+)>", route)


def address(route: str, device: str) -> str:
    words = {**WORDS, "device_id": device}
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda match: words.get(match[1], "1"), route)


ABOUT_A_DEVICE = sorted({route for route in routes() if "device_id" in parameters(route)})


ABOUT_AN_IMPORT = sorted({route for route in routes() if re.match(r"(api/)?imports/<", route)})
ABOUT_CORRECTIONS = sorted({route for route in routes() if route.startswith("api/corrections")})
NUMBER = 4711


ANSWERED_ABOUT_CORRECTIONS = {
    ("get", "api/corrections"): {None: 401, "charlie": 403, "bob": 200, "alice": 200},
    ("post", "api/corrections"): {None: 401, "charlie": 403, "bob": 403, "alice": 202},
    ("get", "api/corrections/<number>"): {None: 401, "charlie": 403, "bob": 200, "alice": 200},
    ("post", "api/corrections/<number>/undo"): {None: 401, "charlie": 403, "bob": 403, "alice": 202},
}
"""The status of every answer about the corrections of Alice's device; any other method is 405."""


def test_every_other_address_is_known_to_show_nothing_of_anybody_elses():
    others = {route for route in routes() if "device_id" not in parameters(route)}
    assert others - NOT_ABOUT_A_DEVICE - set(ABOUT_AN_IMPORT) - set(ABOUT_CORRECTIONS) == set()
    assert len(ABOUT_A_DEVICE) >= 14
    assert len(ABOUT_AN_IMPORT) >= 3
    assert set(ABOUT_CORRECTIONS) == {route for _, route in ANSWERED_ABOUT_CORRECTIONS}


@pytest.fixture
def everything(device, alice, bob):
    """A device with whatever an address may name."""
    metric = Metric.objects.create(device=device, name="energy")
    MeterReplacement.objects.create(pk=1, metric=metric, replaced_at=device.created_at)
    DeviceShare.objects.filter(device=device, user=bob).update(id=1)
    return device


def query_of(route: str) -> str:
    """Return what an address needs behind it: pages of a metric take its name, the API refuses it."""
    return "" if route.startswith("api/") else "?name=energy"


def content(answer: Any) -> str:
    """Return an answer's text without what differs from one request to the next."""
    return re.sub(r'(?:value|data-now)="[^"]*"', "", answer.content.decode())


@pytest.mark.parametrize("route", ABOUT_A_DEVICE)
def test_charlie_is_refused_by_every_method_before_any_reading_is_asked(
    route, everything, charlie, client_of
):
    """Only `default` is allowed here: a statement to telemetry is an error."""
    client = client_of(charlie)
    for method in METHODS:
        query = query_of(route)
        hers = getattr(client, method)(address(route, everything.device_id) + query)
        nobodys = getattr(client, method)(address(route, "no_such_device") + query)
        assert hers.status_code in {403, 404, 405}, method
        assert (hers.status_code, content(hers)) == (nobodys.status_code, content(nobodys)), method


@pytest.mark.parametrize("route", ABOUT_A_DEVICE)
def test_a_stranger_is_refused_or_asked_to_sign_in(route, everything, client):
    for method in METHODS:
        answer = getattr(client, method)(address(route, everything.device_id))
        assert answer.status_code in {401, 405, 302}, method
        if answer.status_code == 302:
            assert answer["Location"].startswith("/sign-in/?next=/"), method


@pytest.mark.parametrize("route", ABOUT_A_DEVICE)
def test_bob_who_is_shared_with_changes_nothing(route, everything, bob, client_of, transaction_on_both):
    def state() -> list[Any]:
        tables = (type(everything), Metric, MeterReplacement, DeviceShare)
        tokens = everything.tokens.values_list("pk", "revoked_at")
        return [sorted(map(str, table.objects.values_list())) for table in tables] + [list(tokens)]

    before = state()
    client = client_of(bob)
    for method in METHODS[1:]:
        answer = getattr(client, method)(address(route, everything.device_id) + query_of(route))
        assert answer.status_code in {200, 403, 404, 405}, method
        assert state() == before, method


@pytest.mark.parametrize("route", ABOUT_A_DEVICE)
def test_looking_changes_nothing(route, everything, alice, client_of, transaction_on_both):
    tables = (type(everything), Metric, MeterReplacement, DeviceShare)
    before = [sorted(map(str, table.objects.values_list())) for table in tables]
    client_of(alice).get(address(route, everything.device_id) + query_of(route))
    assert [sorted(map(str, table.objects.values_list())) for table in tables] == before


KEPT_BY_NOBODY = [
    "/no-such-page",
    "/api/no-such-address",
    "/admin/",
    "/admin/devices/device/",
    "/devices/x",
    "/%ff",
]


@pytest.mark.parametrize("who", ["alice", "charlie", None])
def test_no_answer_may_be_kept_by_a_shared_cache(
    who, everything, her_import, request, client_of, transaction_on_both
):
    """Walks every address by every method: answers, refusals, redirects and errors alike."""
    client = client_of(request.getfixturevalue(who)) if who else Client()
    addresses = {address(route, everything.device_id) for route in routes()} - {"/sign-out/"}
    for path in [*sorted(addresses), *KEPT_BY_NOBODY, "/sign-out/"]:
        for method in ("get", "head", "options", *METHODS[1:]):
            answer = getattr(client, method)(path + "?name=energy&range=1h")
            what = f"{method} {path}: {answer.status_code} {dict(answer.headers)}"
            rule = {part.strip() for part in answer.headers.get("Cache-Control", "").split(",")}
            assert "no-store" in rule or {"private", "no-cache"} <= rule, what
            assert "public" not in rule, what
            assert {"Cookie", "Authorization"} <= {
                part.strip() for part in answer.headers.get("Vary", "").split(",")
            }, what


def test_an_answer_that_has_not_changed_says_the_same_of_caches(
    everything, alice, client_of, transaction_on_both
):
    path = f"/api/history/{everything.device_id}?start=2026-03-01T00:00:00Z&end=2026-03-02T00:00:00Z"
    client = client_of(alice)
    first = client.get(path, headers={"Accept-Encoding": "gzip"})
    second = client.get(path, headers={"Accept-Encoding": "gzip", "If-None-Match": first.headers["ETag"]})
    assert (first.status_code, second.status_code) == (200, 304)
    assert second.headers["Cache-Control"] == first.headers["Cache-Control"] == "private, no-cache"
    assert set(second.headers["Vary"].split(", ")) == {"Accept-Encoding", "Cookie", "Authorization"}


@pytest.fixture
def her_import(device, alice, bob):
    """Something that Alice has imported for her device, which Bob is shared with."""
    import_ = Import.objects.create(pk=NUMBER, device=device, user=alice, file_name="hers.csv", state="done")
    import_.devices.add(device)
    return import_


@pytest.mark.parametrize("route", ABOUT_AN_IMPORT)
@pytest.mark.parametrize("who", ["bob", "charlie", None])
def test_an_import_is_shown_and_changed_by_nobody_but_the_owner_of_its_devices(
    route, who, her_import, request, client_of
):
    """Only `default` is allowed here: a statement to telemetry is an error."""
    client = client_of(request.getfixturevalue(who)) if who else Client()
    for method in METHODS:
        hers, nobodys = (
            getattr(client, method)(re.sub(r"<(?:\w+:)?\w+>", str(number), f"/{route}", count=1))
            for number in (NUMBER, NUMBER + 1)
        )
        assert hers.status_code in ({403, 404, 405} if who else {401, 302, 405}), method
        assert hers.status_code == nobodys.status_code, method
        if hers.status_code != 302:
            assert content(hers) == content(nobodys), method
        assert "hers.csv" not in content(hers), method
        her_import.refresh_from_db()
        assert her_import.state == "done", method


@pytest.fixture
def her_correction(device, alice, bob):
    """What Alice has corrected of her device, which Bob is shared with."""
    return Correction.objects.create(
        pk=NUMBER, device=device, user=alice, kind="delete", metrics={"energy": {"value": None, "offset": 0}},
        start=device.created_at, end=device.created_at, reason="hers", state="done",
    )  # fmt: skip


def ask_about_corrections(client: Client, method: str, route: str, device: str, number: int) -> Any:
    """Ask by an address of corrections, about those of a device or about the one with this number."""
    path = "/" + route.replace("<number>", str(number))
    if route != "api/corrections":
        return getattr(client, method)(path)
    if method == "get":
        return client.get(path, {"device": device})
    times = ["2026-03-01T00:00:00Z"]
    body = {"device": device, "kind": "delete", "metrics": ["energy"], "times": times}
    return getattr(client, method)(path, body, content_type="application/json")


@pytest.mark.parametrize("route", ABOUT_CORRECTIONS)
@pytest.mark.parametrize("who", ["bob", "charlie", None])
def test_corrections_are_shown_to_who_sees_the_device_and_made_and_undone_by_its_owner(
    route, who, her_correction, request, client_of
):
    """Only `default` is allowed here: a statement to telemetry is an error."""
    client = client_of(request.getfixturevalue(who)) if who else Client()
    device_id = her_correction.device.device_id
    for method in METHODS:
        hers = ask_about_corrections(client, method, route, device_id, NUMBER)
        nobodys = ask_about_corrections(client, method, route, "no_such_device", NUMBER + 1)
        expected = ANSWERED_ABOUT_CORRECTIONS.get((method, route), {}).get(who, 405)
        assert hers.status_code == expected, method
        if who != "bob":
            assert (hers.status_code, content(hers)) == (nobodys.status_code, content(nobodys)), method
            assert "hers" not in content(hers), method
        her_correction.refresh_from_db()
        assert her_correction.state == "done", method
        assert Correction.objects.count() == 1, method


@pytest.mark.parametrize("route", ABOUT_CORRECTIONS)
def test_the_owner_sees_makes_and_undoes_corrections(
    route, her_correction, alice, client_of, writer, transaction_on_both
):
    device_id = her_correction.device.device_id
    ensure_series(writer, [(device_id, "energy")])
    for method in METHODS:
        answer = ask_about_corrections(client_of(alice), method, route, device_id, NUMBER)
        expected = ANSWERED_ABOUT_CORRECTIONS.get((method, route), {}).get("alice", 405)
        assert answer.status_code == expected, (method, answer.content)
