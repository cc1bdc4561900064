"""Every parameter that the API's description names, with nonsense: a new one is tested unasked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from joulebook.web.corrections.models import Correction
from joulebook.web.devices.models import MeterReplacement, Metric
from joulebook.web.imports.models import Import, SavedProfile
from joulebook.web.urls import api

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from joulebook.web.devices.models import Device

CSV = b"time,power\n2026-03-01 12:00,1200\n2026-03-01 12:01,1201\n"
SPRING = "2026-03-01T12:00:00Z"
METHODS = ("get", "post", "put", "patch", "delete")
PATH = {"metric": "energy", "name": "mine", "time": SPRING}
BESIDE = {"end": {"start": "2026-01-01T00:00:00Z"}}
"""What a parameter needs beside it to be looked at."""

ANY_TEXT = {"name", "na"}
"""Parameters that take any text of a reasonable length; a new one has to be entered here on purpose."""

ANY_TEXT_IN_A_BODY = {"note", "name", "display_name", "unit", "reason"}
"""Fields that take any text of a reasonable length."""

EMPTY_SAYS_SOMETHING = {"na", "thousands", "key_column"}
WHOLE_BODIES = {("put", "/api/import-profiles/{name}"), ("post", "/api/imports")}
"""Operations whose body is a file or a whole object, without fields of their own."""

TOO_LONG = "x" * 5000
NOT_NUMBERS = (
    "",
    "nonsense",
    "-1",
    "1.5",
    "1e3",
    " 5",
    "9" * 40,
    "\u0661\u0662",
    "\uff11\uff12",
    "0x10",
    "NaN",
)
NOT_TIMES = (
    "", "yesterday", "2026-03-01", "2026-03-01T00:00:00", "2026-02-30T00:00:00Z", "-2026-03-01T00:00:00Z",
    "99999-03-01T00:00:00Z", "\uff12\uff10\uff12\uff16-03-01T00:00:00Z", "1772366400",
)  # fmt: skip


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in api.get_openapi_schema(path_prefix="/api/")["paths"].items():
        for method, operation in methods.items():
            if method in METHODS:
                yield method, path, operation


def properties(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a body, of a schema that the description names as well."""
    if "$ref" in schema:
        schemas = api.get_openapi_schema(path_prefix="/api/")["components"]["schemas"]
        schema = schemas[schema["$ref"].rpartition("/")[2]]
    return dict(schema.get("properties", {}))


def queries() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, parameter)
        for method, path, operation in operations()
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "query"
    ]


def fields() -> list[tuple[str, str, str, dict[str, Any]]]:
    return [
        (method, path, name, schema)
        for method, path, operation in operations()
        for body in [operation.get("requestBody", {}).get("content", {}).get("application/json")]
        if body is not None
        for name, schema in properties(body["schema"]).items()
    ]


def name_of(value: Any) -> str:
    return str(value.get("name", "")) if isinstance(value, dict) else str(value)


def nonsense_for(parameter: dict[str, Any]) -> list[str]:
    name, schema = parameter["name"], parameter["schema"]
    schema = schema.get("items", schema)
    if "enum" in schema:
        found = ["", "nonsense", str(schema["enum"][-1]).swapcase() + "x", "1,2"]
    elif schema["type"] == "integer":
        found = [*NOT_NUMBERS, str(schema.get("maximum", 10**9) + 1)]
    elif schema.get("format") == "date-time":
        found = list(NOT_TIMES)
    else:
        found = [""] if name in ANY_TEXT else ["", "nonsense\u202e", "[]", "\U0001f600", "' OR 1=1 --"]
    if name in EMPTY_SAYS_SOMETHING:
        found.remove("")
    return [*found, "nul\0", TOO_LONG]


def some_value(parameter: dict[str, Any]) -> str:
    schema = parameter["schema"]
    if "enum" in schema:
        return str(schema["enum"][0])
    if schema["type"] == "integer":
        return str(max(schema.get("minimum", 0), 10))
    return SPRING if schema.get("format") == "date-time" else "UTC"


@pytest.fixture
def send(
    device: Device, alice: User, client_of: Callable[..., Client], transaction_on_both: None
) -> Callable[..., Any]:
    """Send a request of Alice's for what is her own, by an address of the description."""
    metric = Metric.objects.create(device=device, name="energy", kind="counter", unit="kWh")
    replacement = MeterReplacement.objects.create(metric=metric, replaced_at=SPRING)
    SavedProfile.objects.create(owner=alice, name="mine", profile={})
    done = Import.objects.create(user=alice, device=device, file_name="mine.csv", state=Import.State.DONE)
    client = client_of(alice)
    client.raise_request_exception = False
    correction = Correction.objects.create(
        device=device, user=alice, kind="delete", start=SPRING, end=SPRING, state=Correction.State.DONE
    )
    words = {**PATH, "device_id": device.device_id}
    own_numbers = {"/imports/": done.pk, "/corrections/": correction.pk, "/replacements/": replacement.pk}

    def send(method: str, path: str, query: list[tuple[str, str]], body: bytes | None = None) -> Any:
        number = next((own for part, own in own_numbers.items() if part in path), None)
        address = path.format(**words, number=number)
        if (method, path) == ("post", "/api/imports"):
            body = CSV
            query = [*query, ("dry_run", "1")] if ("dry_run" not in dict(query)) else query
            query = [*query, ("device", device.device_id)] if "device" not in dict(query) else query
        kind = "application/json" if body is not CSV else "text/csv"
        return client.generic(method.upper(), f"{address}?{urlencode(query)}", body or b"", content_type=kind)

    return send


def assert_names(answer: Any, name: str, shown: object) -> None:
    told = (name, shown, answer.status_code, answer.content[:300])
    assert answer.status_code == 400, told
    assert answer["Content-Type"] == "application/problem+json", told
    assert answer.json()["parameter"] == name, told


@pytest.mark.parametrize(("method", "path", "parameter"), queries(), ids=name_of)
def test_nonsense_in_a_parameter_is_400_with_its_name(send, method, path, parameter):
    name = parameter["name"]
    beside = list(BESIDE.get(name, {}).items())
    for text in nonsense_for(parameter):
        answer = send(method, path, [*beside, (name, text)])
        if name != "device" or answer.status_code != 403:  # the same as for another's device
            assert_names(answer, name, text[:40])


@pytest.mark.parametrize(("method", "path", "parameter"), queries(), ids=name_of)
def test_a_parameter_that_is_given_twice_or_as_an_array_is_400_with_its_name(send, method, path, parameter):
    name, value = parameter["name"], some_value(parameter)
    beside = list(BESIDE.get(name, {}).items())
    for written in (f"{name}[]", f"{name}[0]", name.upper(), f" {name}"):
        assert_names(send(method, path, [*beside, (written, value)]), written, written)
    if parameter["schema"]["type"] != "array":
        assert_names(send(method, path, [*beside, (name, value), (name, value)]), name, "twice")


@pytest.mark.parametrize(
    ("method", "path"), [(method, path) for method, path, _ in operations()], ids=name_of
)
def test_a_parameter_that_no_operation_knows_is_400_and_changes_nothing(send, method, path):
    def state() -> tuple[object, ...]:
        counts = (table.objects.count() for table in (SavedProfile, MeterReplacement))
        return Import.objects.get().state, Correction.objects.get().state, *counts

    before = state()
    answer = send(method, path, [("nonsense", "1")], b"{}")
    assert_names(answer, "nonsense", path)
    assert state() == before


@pytest.mark.parametrize(("method", "path", "name", "schema"), fields(), ids=name_of)
def test_nonsense_in_a_field_of_a_body_is_400_with_its_name(send, method, path, name, schema, device):
    beside = {"replaced_at": SPRING} if "replacements" in path else {}
    if path == "/api/corrections":
        beside = {"device": device.device_id, "kind": "delete", "metrics": ["energy"]}
    nonsense = ["[]", "{}", "true", '["x"]', '"nul\\u0000"', "1e400", "NaN", f'"{TOO_LONG}"', "9" * 400]
    nonsense += ['"\\ud800"', '"1"'] if name not in ANY_TEXT_IN_A_BODY else []
    forms = schema.get("anyOf", [schema])
    if any(form.get("type") == "boolean" for form in forms):
        nonsense.remove("true")
    if any(form.get("type") == "array" and "minItems" not in form for form in forms):
        nonsense.remove("[]")
    for text in nonsense:
        others = "".join(f'"{key}":{json.dumps(value)},' for key, value in beside.items() if key != name)
        answer = send(method, path, [], f'{{{others}"{name}":{text}}}'.encode())
        if name == "device" and answer.status_code == 403:  # the same as for another's device
            continue
        assert answer.status_code == 400, (name, text[:40], answer.content[:300])
        is_json = text != '"\\ud800"'
        assert answer.json()["parameter"] == (name if is_json else "body"), (name, text[:40], answer.content)


@pytest.mark.parametrize(
    ("method", "path"),
    sorted({(method, path) for method, path, *_ in fields()} | {("put", "/api/import-profiles/{name}")}),
    ids=name_of,
)
def test_a_body_that_is_no_object_of_its_kind_is_400(send, method, path):
    bodies = [b"", b"[]", b"null", b'"text"', b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000]
    bodies += [b'{"nonsense":1}', b"{}x"]
    for body in bodies:
        answer = send(method, path, [], body)
        told = (path, body[:20], answer.status_code, answer.content[:200])
        assert answer.status_code == 400, told
        assert answer["Content-Type"] == "application/problem+json", told


@pytest.mark.parametrize(("method", "path"), [(m, p) for m, p, _ in operations() if "{" in p], ids=name_of)
def test_nonsense_in_an_address_is_4xx_of_the_api(send, method, path, device):
    for word in ("%00", "..%2f..%2fx", "x" * 3000, "%F0%9F%98%80", "-1", "9" * 40, "%D9%A1", "[]", "%0a"):
        for place in [part for part in path.split("/") if part.startswith("{")]:
            others = path.replace(place, "WORD").replace("{device_id}", device.device_id)
            for name, value in {**PATH, "number": "1"}.items():
                others = others.replace(f"{{{name}}}", value)
            answer = send(method, others.replace("WORD", word), [], b"{}")
            told = (method, path, place, word[:20], answer.status_code, answer.content[:200])
            # PUT makes a profile of this name, and a short printable name is one.
            assert 400 <= answer.status_code < 500, told
            assert answer["Content-Type"] == "application/problem+json", told


def test_more_parameters_than_a_request_may_have_are_400_of_the_api(send):
    answer = send("get", "/api/history/{device_id}", [("metric", "m")] * 9000)
    assert (answer.status_code, answer.json()["title"]) == (400, "Too many parameters")
