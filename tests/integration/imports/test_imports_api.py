"""`/api/imports`: who may bring files and see what became of them, what is refused and how, what is kept."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import random
import re
import time
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import psycopg
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.signals import request_finished
from django.db import close_old_connections
from django.test import Client

from joulebook.telemetry.files.guess.layout import guess_layout
from joulebook.telemetry.files.settings import Given
from joulebook.telemetry.files.source import FileSource
from joulebook.telemetry.imports.run import ImportRun
from joulebook.telemetry.readings import MICROSECONDS
from joulebook.web.devices.operations import create_device
from joulebook.web.imports.models import Import, SavedProfile
from joulebook.web.imports.rejected import LISTS_OF_ONE_PERSON
from joulebook.web.imports.uploads.files import upload_path, uploads_folder
from joulebook.web.imports.uploads.reading import dry_run_slot

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from joulebook.web.devices.models import Device

CSV = b"time,power,energy\n2026-03-01 12:00,1200,10\n2026-03-01 12:01,12x,11\n2026-03-01 12:02,,12\n"
UNCLEAR = b"time,power\n03/04/2026 12:00,1\n03/04/2026 12:01,2\n"
ClientOf = Callable[..., Client]


def leave(answer: Any) -> None:
    """Close an answer as a server does whose client has gone, but for the databases that the test needs."""
    request_finished.disconnect(close_old_connections)
    answer.close()
    request_finished.connect(close_old_connections)


@pytest.fixture(autouse=True)
def no_strays(device: Device) -> Iterator[None]:
    """Whatever is answered, what lies among the uploads afterwards belongs to an import."""
    before = {path.name for path in uploads_folder().iterdir()}
    yield
    kept = {path.name for path in uploads_folder().iterdir()} - before
    known = set(Import.objects.values_list("upload", flat=True))
    for name in kept:
        (uploads_folder() / name).unlink()
    assert kept <= known


def post(client: Client, body: bytes, query: str, **more: Any) -> Any:
    kind = more.pop("content_type", "application/x-www-form-urlencoded")  # as curl has it
    return client.generic("POST", f"/api/imports?{query}", body, content_type=kind, **more)


@pytest.fixture
def hers(alice: User, client_of: ClientOf) -> Client:
    return client_of(alice)


@pytest.fixture
def make_import(device: Device, alice: User) -> Callable[..., Import]:
    """An import of Alice's for her device, as it would be in a state."""

    def make(state: str = "done", **more: Any) -> Import:
        import_ = Import.objects.create(device=device, user=alice, file_name="a.csv", state=state, **more)
        import_.devices.add(device)
        return import_

    return make


class TestAFile:
    def test_the_body_is_queued_as_it_is_and_the_answer_says_where_to_go_on(
        self, device: Device, hers: Client
    ) -> None:
        answer = post(hers, CSV, f"device={device.device_id}&name=meter.csv&tz=UTC&strict=1")
        assert answer.status_code == 202, answer.content
        told = answer.json()
        import_ = Import.objects.get(pk=told["id"])
        assert answer["Location"] == told["links"]["self"] == f"/api/imports/{import_.pk}"
        assert (told["state"], told["device"], told["devices"]) == (
            "queued",
            device.device_id,
            [device.device_id],
        )
        assert told["file"] == {
            "name": "meter.csv",
            "size": len(CSV),
            "sha256": hashlib.sha256(CSV).hexdigest(),
        }
        assert upload_path(import_.upload).read_bytes() == CSV
        assert upload_path(import_.upload).stat().st_mode & 0o777 == 0o600
        assert (import_.is_strict, import_.on_conflict, import_.profile["tz"]) == (True, "keep", "UTC")
        assert import_.columns == ["time", "power", "energy"]
        assert {"name": "time zone", "value": "UTC", "source": "given"} in told["settings"]

    def test_a_form_may_bring_it_with_parameters_as_fields(self, device: Device, hers: Client) -> None:
        form = {
            "file": SimpleUploadedFile("logger.csv", CSV),
            "device": device.device_id,
            "map": ["power=P:kW", "energy="],
            "on_conflict": "replace",
        }
        answer = hers.post("/api/imports?tz=UTC", form)
        assert answer.status_code == 202, answer.content
        import_ = Import.objects.get(pk=answer.json()["id"])
        assert (import_.file_name, import_.on_conflict) == ("logger.csv", "replace")
        assert [(value["metric"], value["unit"]) for value in import_.profile["values"]] == [("P", "kW")]
        assert upload_path(import_.upload).read_bytes() == CSV

    def test_a_dry_run_tells_everything_and_keeps_nothing(self, device: Device, hers: Client) -> None:
        answer = post(hers, CSV, f"device={device.device_id}&dry_run=1&tz=UTC&name=a.csv")
        assert answer.status_code == 200, answer.content
        told = answer.json()
        assert told["report"]["rows"] == {"read": 3, "imported": 3, "rejected": 0, "rejected_by_code": {}}
        assert told["report"]["cells"] == {"all": 6, "readable": 4, "na": 1, "malformed": 1}
        first, second = told["rows"][:2]
        assert first["readings"][0] == {"metric": "power", "time": "2026-03-01T12:00:00Z", "value": 1200.0}
        assert second["problems"] == [
            {"file": None, "line": 3, "column": "power", "code": "value_type", "text": "12x"}
        ]
        assert not Import.objects.exists()

    def test_the_same_file_again_is_told_and_forced(self, device: Device, hers: Client) -> None:
        query = f"device={device.device_id}"
        first = post(hers, CSV, query).json()["id"]
        again = post(hers, CSV, query)
        assert (again.status_code, again.json()["import"]) == (409, first)
        assert again.json()["link"] == f"/api/imports/{first}"
        assert "force=1" in again.json()["detail"]
        assert Import.objects.count() == 1
        assert post(hers, CSV, query + "&force=1").status_code == 202
        assert post(hers, CSV, query + "&map=power%3DP").status_code == 202

    def test_what_the_file_leaves_open_is_asked_and_an_answer_can_be_sent_as_it_is(
        self, device: Device, hers: Client
    ) -> None:
        asked = post(hers, UNCLEAR, f"device={device.device_id}")
        assert asked.status_code == 422
        problem = asked.json()
        assert "--" not in problem["detail"]
        assert "time_format=" in problem["detail"]
        (question,) = [each for each in problem["questions"] if each["required"]]
        assert question["parameter"] == "time_format"
        days = {answer["label"]: answer["parameters"] for answer in question["answers"]}
        assert len(days) == 2
        chosen = next(parameters for label, parameters in days.items() if "April" in label)
        answer = post(
            hers, UNCLEAR, f"device={device.device_id}&dry_run=1&tz=UTC&{urlencode(chosen, doseq=True)}"
        )
        assert answer.status_code == 200
        assert answer.json()["report"]["first_time"] == "2026-04-03T12:00:00Z"

    def test_a_built_in_and_a_saved_profile_are_found_by_their_names(
        self, device: Device, alice: User, hers: Client
    ) -> None:
        query = f"device={device.device_id}&dry_run=1&tz=UTC"
        answer = post(hers, UNCLEAR, query + "&profile=month-first")
        assert answer.json()["report"]["first_time"] == "2026-03-04T12:00:00Z"
        SavedProfile.objects.create(owner=alice, name="mine", profile=answer.json()["profile"])
        answer = post(hers, UNCLEAR, query + "&profile=mine")
        assert answer.json()["report"]["first_time"] == "2026-03-04T12:00:00Z"
        none = post(hers, UNCLEAR, query + "&profile=hers")
        assert none.status_code == 400
        assert "'hers'; there are hobo-ymd" in none.json()["detail"]


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        ("query", "parameter", "words"),
        [
            ("", "device", "device=ID"),
            ("decimals=,", "decimals", "not known"),
            ("tz=UTC&tz=UTC", "tz", "given 2 times"),
            ("strict=yes", "strict", "not one of 0, 1"),
            ("layout=tall", "layout", "wide, long, across"),
            ("header_line=first", "header_line", "not a whole number"),
            ("map=power", "map", "must be COLUMN=METRIC"),
            ("name=" + "x" * 1001, "name", "at most 1,000"),
        ],
    )
    def test_a_parameter_that_cannot_be_used_is_named_with_the_remedy(
        self, device: Device, hers: Client, query: str, parameter: str, words: str
    ) -> None:
        asked = f"{query}&device={device.device_id}" if query else ""
        answer = post(hers, CSV, asked)
        assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
        assert answer.json()["parameter"] == parameter
        assert words in answer.json()["detail"]

    @pytest.mark.parametrize(
        ("body", "status", "words"),
        [
            (b"", 400, "x.csv is empty"),
            (b"PAR1 and so on", 400, "x.csv is damaged (parquet: "),
            (gzip.compress(CSV, mtime=0)[:-20], 400, "x.csv is cut off"),
            (b"PK\x03\x04 and no more", 400, "x.csv cannot be unpacked"),
            (b"\0" * 3000, 422, ""),
        ],
    )
    def test_a_file_that_cannot_be_read_is_called_by_its_name_with_the_remedy(
        self, device: Device, hers: Client, body: bytes, status: int, words: str
    ) -> None:
        answer = post(hers, body, f"device={device.device_id}&name=x.csv")
        assert answer.status_code == status, answer.content
        assert words in answer.json()["detail"]
        assert str(uploads_folder()) not in answer.json()["detail"]

    def test_settings_that_do_not_fit_are_said_in_words_of_the_api(
        self, device: Device, hers: Client
    ) -> None:
        answer = post(hers, CSV, f"device={device.device_id}&time_column=when")
        assert answer.status_code == 400
        assert "time_column='when'" in answer.json()["detail"]

    def test_a_dry_run_that_finds_no_place_is_told_to_return_and_imports_go_on(
        self, device: Device, hers: Client
    ) -> None:
        query = f"device={device.device_id}"
        with dry_run_slot(device.owner_id):
            answer = post(hers, CSV, query + "&dry_run=1")
            assert (answer.status_code, answer["Retry-After"]) == (503, "10")
            assert post(hers, CSV, query).status_code == 202
        assert post(hers, CSV, query + "&dry_run=1").status_code == 200

    def test_a_file_larger_than_files_may_be_is_413(
        self, device: Device, hers: Client, settings: Any
    ) -> None:
        import dataclasses

        settings.CONFIG = dataclasses.replace(settings.CONFIG, upload_max_bytes=2000)
        body = CSV + b"\n" * 3000
        query = f"device={device.device_id}"
        for answer in (
            post(hers, body, query),
            hers.post(f"/api/imports?{query}", {"file": SimpleUploadedFile("a.csv", body)}),
        ):
            assert answer.status_code == 413
            assert "more than 2,000 bytes" in answer.json()["detail"]
            assert "JOULEBOOK_UPLOAD_MAX_BYTES" in answer.json()["detail"]

    def test_a_form_without_a_file_or_with_another_part_is_400(self, device: Device, hers: Client) -> None:
        for parts in (
            {},
            {"data": SimpleUploadedFile("a", CSV)},
            {"file": SimpleUploadedFile("a", CSV), "data": SimpleUploadedFile("b", CSV)},
        ):
            answer = hers.post("/api/imports", {"device": device.device_id, **parts})
            assert answer.status_code == 400
            assert "part 'file'" in answer.json()["detail"]


class TestHostileFiles:
    def test_a_megabyte_that_inflates_to_a_gigabyte_is_413_and_memory_stays_flat(
        self, device: Device, hers: Client
    ) -> None:
        packed = gzip.compress(bytes(4 << 20)) * 256
        assert 900_000 < len(packed) < 1_100_000
        tracemalloc.start()
        try:
            answer = post(hers, packed, f"device={device.device_id}&name=bomb.gz")
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert answer.status_code == 413, answer.content
        assert "bomb.gz swells" in answer.json()["detail"]
        assert most < 24 << 20

    def test_a_zip_bomb_is_413(self, device: Device, hers: Client) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.csv", bytes(80 << 20))
        answer = post(hers, packed.getvalue(), f"device={device.device_id}")
        assert answer.status_code == 413

    @pytest.mark.parametrize(
        ("sheet", "status"),
        [
            (b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>', 400),
            (b'<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><lolz>&b;</lolz>', 400),
            (b'<worksheet><sheetData><row r="1"><c r="A1"/></row><c r="XFD1048576"/></sheetData>', 413),
        ],
        ids=["external entity", "billion laughs", "vast rectangle"],
    )
    def test_a_workbook_that_would_blow_up_is_refused(
        self, device: Device, hers: Client, sheet: bytes, status: int
    ) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("xl/workbook.xml", b"<workbook/>")
            archive.writestr("xl/worksheets/sheet1.xml", sheet)
        answer = post(hers, packed.getvalue(), f"device={device.device_id}&name=a.xlsx")
        assert answer.status_code == status, answer.content
        assert "root:" not in answer.content.decode()

    def test_a_workbook_that_unpacks_to_more_than_anybodys_is_413(self, device: Device, hers: Client) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr("xl/workbook.xml", b"<workbook/>")
            with archive.open("xl/media/image1.png", "w") as member:
                for _ in range(65):
                    member.write(bytes(4 << 20))
        answer = post(hers, packed.getvalue(), f"device={device.device_id}&name=a.xlsx")
        assert answer.status_code == 413
        assert "a.xlsx unpacks to more than 256 MB" in answer.json()["detail"]

    @pytest.mark.parametrize(
        "name", ["../../etc/passwd", "a\0b.csv", "x" * 300 + ".csv", "..", "\u202ea.csv"]
    )
    def test_names_are_shown_and_never_used(self, device: Device, hers: Client, name: str) -> None:
        form = {"file": SimpleUploadedFile("ok.csv", CSV), "device": device.device_id, "name": name}
        answers = [hers.post("/api/imports", form)]
        if "\0" not in name:
            answers.append(post(hers, CSV, f"device={device.device_id}&force=1&name={quote(name)}"))
        for answer in answers:
            if answer.status_code == 400:
                assert "\0" in name
                continue
            import_ = Import.objects.get(pk=answer.json()["id"])
            assert re.fullmatch(r"[0-9a-f-]{36}", import_.upload)
            assert "/" not in import_.file_name
            assert len(import_.file_name) <= 255
            assert import_.file_name.isprintable()

    @pytest.mark.parametrize("disposition", ['name="f"', 'name="file"; filename="a.csv"'])
    def test_a_form_of_a_hundred_thousand_parts_is_400_at_once(
        self, device: Device, hers: Client, disposition: str
    ) -> None:
        part = f"--x\r\nContent-Disposition: form-data; {disposition}\r\n\r\n1\r\n".encode()
        body = part * 100_000 + b"--x--\r\n"
        began = time.process_time()
        answer = post(
            hers, body, f"device={device.device_id}", content_type="multipart/form-data; boundary=x"
        )
        assert answer.status_code == 400
        assert answer["Content-Type"] == "application/problem+json"
        assert time.process_time() - began < 4  # the first 1,000 files were stored, and removed

    def test_a_giant_field_is_400(self, device: Device, hers: Client) -> None:
        answer = hers.post("/api/imports", {"device": device.device_id, "name": "x" * 4_000_000})
        assert answer.status_code == 400
        broken = post(hers, b"--x\r\n", "", content_type="multipart/form-data; boundary=\x01")
        assert broken.status_code == 400

    def test_readings_of_500_weeks_and_years_are_read_between_floor_and_ceiling_only(
        self, device: Device, hers: Client
    ) -> None:
        lines = [f"{1800 + at}-03-01 12:00,{at}\n" for at in range(500)]
        answer = post(
            hers, ("time,power\n" + "".join(lines)).encode(), f"device={device.device_id}&dry_run=1"
        )
        rows = answer.json()["report"]["rows"]
        assert rows["read"] == 500
        assert rows["imported"] == 57  # 1970 to 2026
        assert rows["rejected_by_code"] == {"time_past": 170, "time_future": 273}


class TestTheGate:
    """These tests allow no database but `default`: any statement to telemetry is an error."""

    def test_charlie_gets_the_same_403_for_alices_device_as_for_none(
        self, device: Device, charlie: User, client_of: ClientOf
    ) -> None:
        client = client_of(charlie)
        hers, nobodys = (post(client, CSV, f"device={of}") for of in (device.device_id, "no_such_device"))
        assert hers.status_code == nobodys.status_code == 403
        assert hers.content == nobodys.content
        for of in (device.device_id, "no_such_device"):
            form = client.post("/api/imports", {"file": SimpleUploadedFile("a.csv", CSV), "device": of})
            assert (form.status_code, form.content) == (403, hers.content)
            assert client.get(f"/api/imports?device={of}").content == hers.content

    def test_bob_who_is_shared_with_may_not_import(
        self, device: Device, bob: User, client_of: ClientOf
    ) -> None:
        answer = post(client_of(bob), CSV, f"device={device.device_id}")
        assert answer.status_code == 403
        assert "only its owner" in answer.json()["detail"]

    def test_a_profile_that_names_a_device_of_anothers_is_403(
        self, device: Device, charlie: User, client_of: ClientOf
    ) -> None:
        own = create_device("charlies", owner=charlie, name="", time_zone="UTC")
        client = client_of(charlie)
        told = post(client, CSV, f"device={own.device_id}&dry_run=1").json()
        told["profile"]["values"][0]["device"] = device.device_id
        assert client.put("/api/import-profiles/sly", told["profile"], "application/json").status_code == 201
        answer = post(client, CSV, f"device={own.device_id}&profile=sly")
        assert answer.status_code == 403
        assert not Import.objects.exists()

    @pytest.mark.parametrize("who", ["bob", "charlie"])
    @pytest.mark.parametrize(
        ("method", "path"),
        [("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/rejected.csv")],
    )
    def test_anothers_import_answers_like_none_at_all(
        self,
        make_import: Callable[..., Import],
        client_of: ClientOf,
        request: pytest.FixtureRequest,
        who: str,
        method: str,
        path: str,
    ) -> None:
        client = client_of(request.getfixturevalue(who))
        number = make_import("running").pk
        hers = client.generic(method, f"/api/imports/{number}{path}")
        nobodys = client.generic(method, f"/api/imports/987654{path}")
        assert hers.status_code == nobodys.status_code == 403
        assert hers.content == nobodys.content
        assert client.get("/api/imports").json() == {"imports": [], "next": None}
        assert Import.objects.get(pk=number).state == "running"

    def test_an_import_that_touches_a_device_of_anothers_too_is_nobodys_alone(
        self, make_import: Callable[..., Import], hers: Client, charlie: User
    ) -> None:
        import_ = make_import("done")
        import_.devices.add(create_device("charlies", owner=charlie, name="", time_zone="UTC"))
        assert hers.get(f"/api/imports/{import_.pk}").status_code == 403

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "imports"),
            ("POST", "imports?device=x"),
            ("GET", "imports/1"),
            ("DELETE", "imports/1"),
            ("POST", "imports/1/cancel"),
            ("GET", "imports/1/rejected.csv"),
            ("GET", "import-profiles"),
            ("GET", "import-profiles/a"),
            ("PUT", "import-profiles/a"),
            ("DELETE", "import-profiles/a"),
        ],
    )
    def test_without_signing_in_the_answer_is_401(self, client: Client, method: str, path: str) -> None:
        assert client.generic(method, f"/api/{path}").status_code == 401

    @pytest.mark.parametrize("kind", ["text/csv", "multipart/form-data; boundary=x"])
    def test_a_page_of_another_site_cannot_use_alices_session(
        self, device: Device, alice: User, make_import: Callable[..., Import], kind: str
    ) -> None:
        import_ = make_import("done")
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(alice)
        body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\na,b\r\n--x--\r\n'
        for answer in (
            post(browser, body, f"device={device.device_id}", content_type=kind),
            browser.delete(f"/api/imports/{import_.pk}"),
            browser.post(f"/api/imports/{import_.pk}/cancel"),
            browser.put("/api/import-profiles/a", "{}", "application/json"),
            browser.delete("/api/import-profiles/a"),
        ):
            assert answer.status_code == 403
            assert "CSRF" in answer.json()["detail"]
        assert Import.objects.get().state == "done"

    def test_a_page_sends_its_csrf_token_as_a_header(self, device: Device, alice: User) -> None:
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(alice)
        browser.get("/profile/")
        token = next(cookie for name, cookie in browser.cookies.items() if "csrf" in name).value
        query = f"device={device.device_id}"
        answer = post(browser, CSV, query, headers={"X-CSRFToken": token})
        assert answer.status_code == 202, answer.content
        form = {"file": SimpleUploadedFile("a.csv", CSV), "force": "1"}
        answer = browser.post(f"/api/imports?{query}", form, headers={"X-CSRFToken": token})
        assert answer.status_code == 202, answer.content

    def test_a_users_token_needs_no_cookie(self, device: Device, alice: User) -> None:
        from joulebook.web.accounts.operations import issue_user_token

        script = Client(enforce_csrf_checks=True)
        header = {"Authorization": f"Bearer {issue_user_token(alice)}"}
        assert post(script, CSV, f"device={device.device_id}", headers=header).status_code == 202


class TestTheList:
    def test_it_is_paged_and_filtered_newest_first(
        self, make_import: Callable[..., Import], device: Device, alice: User, hers: Client
    ) -> None:
        other = create_device("her_other", owner=alice, name="", time_zone="UTC")
        numbers = [make_import("done").pk for _ in range(3)]
        failed = make_import("failed")
        failed.devices.add(other)
        page = hers.get("/api/imports?limit=2&state=done&state=failed").json()
        assert [each["id"] for each in page["imports"]] == [failed.pk, numbers[2]]
        page = hers.get(page["next"]).json()
        assert ([each["id"] for each in page["imports"]], page["next"]) == ([numbers[1], numbers[0]], None)
        found = hers.get("/api/imports?device=her_other").json()["imports"]
        assert [each["id"] for each in found] == [failed.pk]
        assert len(hers.get(f"/api/imports?device={device.device_id}").json()["imports"]) == 4
        assert len(hers.get("/api/imports?state=failed").json()["imports"]) == 1

    @pytest.mark.parametrize("query", ["limit=0", "limit=501", "before=x", "state=gone", "page=2"])
    def test_a_query_that_cannot_be_used_is_400(self, hers: Client, query: str) -> None:
        assert hers.get(f"/api/imports?{query}").status_code == 400


class TestAnImport:
    def test_one_that_waits_is_cancelled_at_once_and_its_file_removed(
        self, device: Device, hers: Client
    ) -> None:
        told = post(hers, CSV, f"device={device.device_id}").json()
        assert hers.get(told["links"]["self"]).json()["state"] == "queued"
        assert hers.delete(told["links"]["self"]).status_code == 409
        answer = hers.post(told["links"]["cancel"])
        assert (answer.status_code, answer.json()["state"]) == (202, "cancelled")
        assert not upload_path(Import.objects.get().upload).exists()
        again = hers.post(told["links"]["cancel"])
        assert (again.status_code, again["Content-Type"]) == (409, "application/problem+json")

    @pytest.mark.parametrize("state", ["done", "failed", "cancelled"])
    def test_one_that_has_ended_is_undone(
        self, make_import: Callable[..., Import], alice: User, hers: Client, state: str
    ) -> None:
        import_ = make_import(state)
        answer = hers.delete(f"/api/imports/{import_.pk}")
        assert (answer.status_code, answer.json()["state"]) == (202, "undoing")
        import_.refresh_from_db()
        assert (import_.state, import_.undone_by) == ("undoing", alice)

    @pytest.mark.parametrize("state", ["queued", "running", "undoing", "undone", "refused"])
    def test_one_that_cannot_be_undone_is_409(
        self, make_import: Callable[..., Import], hers: Client, state: str
    ) -> None:
        assert hers.delete(f"/api/imports/{make_import(state).pk}").status_code == 409

    def test_a_draft_is_discarded(self, make_import: Callable[..., Import], hers: Client) -> None:
        assert hers.delete(f"/api/imports/{make_import('draft').pk}").status_code == 204
        assert not Import.objects.exists()


class TestARunningImport:
    """Half of the file is stored, as a worker would have done it."""

    @pytest.fixture
    def begun(
        self,
        make_import: Callable[..., Import],
        device: Device,
        writer: psycopg.Connection,
        tmp_path: Path,
        transaction_on_both: None,
    ) -> Iterator[tuple[Import, ImportRun]]:
        path = tmp_path / "a.csv"
        lines = [
            f"2026-03-01 12:{at // 60:02d}:{at % 60:02d},{'=x' if at % 4 == 3 else at}\n"
            for at in range(2400)
        ]
        path.write_text("time,power\n" + "".join(lines))
        source = FileSource(path)
        layout = guess_layout(source.head(1 << 20), is_whole=True, given=Given(), device_tz="UTC")
        number = random.randrange(1_000_000, 2**30)
        import_ = make_import("running", pk=number, file_size=source.size, profile=layout.profile.as_json())
        run = ImportRun(
            writer, source, layout.profile, layout.columns, import_id=number, lease=1,
            device_id=device.device_id, most_metrics=10, now=int(time.time() * MICROSECONDS), block_readings=1000,
        )  # fmt: skip
        run.step()
        yield import_, run
        run.close()

    def test_it_tells_how_far_it_is_and_what_was_not_stored_so_far(
        self, begun: tuple[Import, ImportRun], hers: Client
    ) -> None:
        import_, _ = begun
        told = hers.get(f"/api/imports/{import_.pk}").json()
        assert told["state"] == "running"
        progress = told["progress"]
        assert 0 < progress["bytes_read"] <= import_.file_size
        assert progress["share"] == round(progress["bytes_read"] / import_.file_size, 4)
        cells = told["report"]["cells"]
        assert 0 < cells["stored"] < 1800
        assert 0 < cells["malformed"] < 600
        assert cells["malformed"] + cells["stored"] == cells["all"]
        assert told["counts"]["rows_read"] == cells["all"]
        assert told["counts"]["cells_stored"] == cells["stored"]
        first = {"file": None, "line": 5, "column": "power", "code": "value_type", "text": "=x"}
        assert told["problems"][0] == first
        assert len(told["problems"]) == 100
        assert "problems" not in told["report"]
        assert hers.post(told["links"]["cancel"]).status_code == 202
        import_.refresh_from_db()
        assert (import_.state, import_.is_cancelling) == ("running", True)

    def test_the_list_of_what_was_not_stored_is_whole_and_safe_to_open(
        self, begun: tuple[Import, ImportRun], hers: Client
    ) -> None:
        import_, run = begun
        while run.step():
            pass
        answer = hers.get(f"/api/imports/{import_.pk}/rejected.csv")
        assert answer["Content-Type"] == "text/csv; charset=utf-8"
        assert f"import-{import_.pk}-rejected.csv" in answer["Content-Disposition"]
        rows = list(csv.reader(io.StringIO(b"".join(answer.streaming_content).decode(), newline="")))
        assert rows[0] == ["line", "column", "code", "text", "row", "file"]
        assert [int(row[0]) for row in rows[1:]] == list(range(5, 2402, 4))
        assert {row[3] for row in rows[1:]} == {"'=x"}

    def test_lists_that_nobody_takes_leave_room_for_pages(
        self, begun: tuple[Import, ImportRun], hers: Client
    ) -> None:
        address = f"/api/imports/{begun[0].pk}/rejected.csv"
        taken = [hers.get(address) for _ in range(LISTS_OF_ONE_PERSON)]
        busy = hers.get(address)
        assert (busy.status_code, busy["Retry-After"]) == (503, "10")
        for answer in taken:
            leave(answer)
        again = hers.get(address)
        assert again.status_code == 200
        leave(again)


class TestProfiles:
    @pytest.fixture
    def profile(self, device: Device, hers: Client) -> dict[str, Any]:
        found: dict[str, Any] = post(hers, CSV, f"device={device.device_id}&dry_run=1").json()["profile"]
        return found

    def test_one_is_saved_read_used_replaced_and_removed(
        self, device: Device, hers: Client, profile: dict[str, Any]
    ) -> None:
        address = "/api/import-profiles/My%20meter"
        saved = hers.put(address, profile, "application/json")
        assert saved.status_code == 201, saved.content
        assert hers.get(address).json() == saved.json() == {**profile, "name": "My meter"}
        assert hers.put(address, {**profile, "tz": "Europe/Rome"}, "application/json").status_code == 200
        used = post(hers, CSV, f"device={device.device_id}&dry_run=1&profile=My%20meter").json()
        assert used["profile"]["tz"] == "Europe/Rome"
        listed = hers.get("/api/import-profiles").json()["profiles"]
        assert [each["name"] for each in listed if not each["built_in"]] == ["My meter"]
        assert listed[-1]["link"] == address
        assert hers.delete(address).status_code == 204
        assert hers.delete(address).status_code == hers.get(address).status_code == 404

    def test_it_is_its_owners_alone(
        self, hers: Client, profile: dict[str, Any], bob: User, client_of: ClientOf
    ) -> None:
        assert hers.put("/api/import-profiles/mine", profile, "application/json").status_code == 201
        his = client_of(bob)
        assert his.get("/api/import-profiles/mine").status_code == 404
        assert his.delete("/api/import-profiles/mine").status_code == 404
        assert his.put("/api/import-profiles/mine", profile, "application/json").status_code == 201
        assert SavedProfile.objects.filter(name="mine").count() == 2

    def test_built_in_ones_are_read_and_not_written(self, hers: Client, profile: dict[str, Any]) -> None:
        from joulebook.telemetry.files.builtin import BUILTIN

        listed = hers.get("/api/import-profiles").json()["profiles"]
        assert [each["name"] for each in listed if each["built_in"]] == list(BUILTIN)
        shown = hers.get("/api/import-profiles/tmy3").json()
        assert shown["parameters"]["time_format"] == ["%m/%d/%Y %H:%M"]
        assert shown["parameters"]["header_line"] == ["2"]
        assert hers.put("/api/import-profiles/tmy3", profile, "application/json").status_code == 409
        assert hers.delete("/api/import-profiles/tmy3").status_code == 409

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"tz": "Mars/Olympus"}, "Mars/Olympus"),
            ({"time_formats": ["%Q%Q"]}, "time_format='%Q%Q'"),
            ({"encoding": "morse"}, "not a text encoding"),
            ({"delimiter_pattern": "("}, "no regular expression"),
            ({"colour": "red"}, "unknown entry"),
            ({"version": 99}, "version 99"),
        ],
    )
    def test_one_that_no_file_can_be_read_with_is_refused(
        self, hers: Client, profile: dict[str, Any], change: dict[str, Any], words: str
    ) -> None:
        answer = hers.put("/api/import-profiles/bad", {**profile, **change}, "application/json")
        assert answer.status_code == 400
        assert words in answer.json()["detail"]
        assert not SavedProfile.objects.exists()

    @pytest.mark.parametrize("body", ["", "no json", "[]", "[" * 100_000])
    def test_what_is_no_profile_at_all_is_400(self, hers: Client, body: str) -> None:
        assert hers.put("/api/import-profiles/bad", body, "application/json").status_code == 400

    def test_one_as_large_as_a_file_is_413(self, hers: Client) -> None:
        answer = hers.put("/api/import-profiles/bad", json.dumps("x" * 3_000_000), "application/json")
        assert answer.status_code == 413

    @pytest.mark.parametrize("name", ["x" * 101, "a%0Ab", "%20"])
    def test_a_name_that_cannot_be_shown_is_refused(
        self, hers: Client, profile: dict[str, Any], name: str
    ) -> None:
        assert hers.put(f"/api/import-profiles/{name}", profile, "application/json").status_code == 400


def test_the_description_tells_of_every_address_and_refusal(client: Client, db: None) -> None:
    from joulebook.web.imports.api.parameters import PARAMETERS

    paths = client.get("/api/openapi.json").json()["paths"]
    found = {
        (method, path.removeprefix("/api/")): operation
        for path, operations in paths.items()
        for method, operation in operations.items()
        if path.startswith("/api/import")
    }
    assert {key: set(operation["responses"]) for key, operation in found.items()} == {
        ("post", "imports"): {"200", "202", "400", "401", "403", "409", "413", "422", "503", "507"},
        ("get", "imports"): {"200", "400", "401", "403"},
        ("get", "imports/{number}"): {"200", "401", "403", "404", "503"},
        ("delete", "imports/{number}"): {"202", "204", "401", "403", "404", "409"},
        ("post", "imports/{number}/cancel"): {"202", "401", "403", "404", "409"},
        ("get", "imports/{number}/rejected.csv"): {"200", "401", "403", "404", "503"},
        ("get", "import-profiles"): {"200", "401"},
        ("get", "import-profiles/{name}"): {"200", "401", "404"},
        ("put", "import-profiles/{name}"): {"200", "201", "400", "401", "403", "409", "413"},
        ("delete", "import-profiles/{name}"): {"204", "401", "403", "404", "409"},
    }
    assert {each["name"] for each in found["post", "imports"]["parameters"]} == set(PARAMETERS)
