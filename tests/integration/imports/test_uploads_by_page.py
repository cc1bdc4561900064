"""Files that are sent by the form of the list: each a draft under a name of ours, or refused without a trace."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import stat
import time
import uuid
import zipfile

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from joulebook.web.imports.models import Import
from joulebook.web.imports.uploads.files import upload_path, uploads_folder

from ...unit.files.workbooks import sheet_xml, write_workbook
from .pages import METER, draft, file, say, text, upload

PDF = b"%PDF-1.7\n" + b"0" * 100
OLD_EXCEL = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600


@pytest.fixture
def client(alice, client_of):
    return client_of(alice)


@pytest.fixture
def left_behind():
    """Give what lies among the uploads now and did not when the test began."""
    before = {path.name for path in uploads_folder().iterdir()}
    return lambda: {path.name for path in uploads_folder().iterdir()} - before


def bomb():
    """Return some kilobytes of gzip that swell to more than any file may."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=9) as out:
        for _ in range(80):
            out.write(bytes(1 << 20))
    return packed.getvalue()


def zipped(**members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def test_a_file_becomes_a_draft_under_a_name_of_ours_which_nobody_else_can_read(client, device):
    import_ = draft(client, METER, device=device.device_id)
    path = upload_path(import_.upload)
    assert path.read_bytes() == METER.encode("cp1252")
    assert path.name == str(uuid.UUID(import_.upload))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (import_.state, import_.device, import_.file_name) == ("draft", device, "meter.csv")


def test_several_files_become_one_draft_and_what_cannot_be_read_is_named(client, left_behind, device):
    answer = upload(
        client, file(METER, "a.csv"), file(PDF, "b.pdf"), file(METER, "a.csv"), device=device.device_id
    )
    import_ = Import.objects.get()
    assert answer["Location"] == f"/imports/{import_.pk}/"
    assert import_.file_name == "a.csv and 2 more"
    assert left_behind() == {import_.upload}
    page = text(client.get(answer["Location"]))
    assert "The beginning of the first of 3 files" in page
    assert "1 file left out b.pdf : b.pdf is a PDF document" in page
    assert say(client, import_, "import-queue", device=device.device_id).status_code == 302
    import_.refresh_from_db()
    assert [each.get("problem", "")[:12] for each in import_.files] == ["", "", "b.pdf is a P"]


@pytest.mark.parametrize(
    ("content", "status", "problem"),
    [
        (PDF, 400, "is a PDF document; ask its sender for CSV"),
        (OLD_EXCEL, 400, "cannot be read as a workbook"),
        (b"", 400, "is empty"),
        (gzip.compress(METER.encode())[:-12], 400, "its gzip stream ends early"),
        (b"\x1f\x8b" + b"\xff" * 100, 400, "is damaged"),
        (zipped(**{"__MACOSX/a": "1"}), 400, "holds no file"),
    ],
    ids=["pdf", "excel", "empty", "cut", "damaged", "archive"],
)
def test_what_is_no_file_of_readings_is_refused_and_not_kept(client, left_behind, content, status, problem):
    answer = upload(client, file(content, "meter"))
    assert answer.status_code == status
    assert problem in text(answer)
    assert str(uploads_folder()) not in answer.content.decode()
    assert left_behind() == set()
    assert not Import.objects.exists()


def test_a_bomb_is_refused_as_too_large(client, left_behind):
    answer = upload(client, file(bomb(), "bomb.gz"))
    assert answer.status_code == 413
    assert "swells to more than" in text(answer)
    assert left_behind() == set()


def test_a_workbook_with_entities_is_refused(client, left_behind, tmp_path):
    evil = sheet_xml([["t", "P"]]).replace("?>", '?><!DOCTYPE x [<!ENTITY a "b">]>', 1)
    path = write_workbook(tmp_path / "evil.xlsx", {"Data": evil})
    answer = upload(client, file(path.read_bytes(), "evil.xlsx"))
    assert answer.status_code == 400
    assert "declares entities" in text(answer)
    assert left_behind() == set()


def test_the_sheet_of_a_workbook_is_chosen(client, device, tmp_path):
    first = sheet_xml([["t", "P"], *([f"2024-01-13 {h:02d}:00", h] for h in range(9))])
    second = sheet_xml([["t", "Q"], *([f"2024-01-13 {h:02d}:00", h] for h in range(9))])
    path = write_workbook(tmp_path / "two.xlsx", {"One": first, "Two": second})
    import_ = draft(client, path.read_bytes(), device=device.device_id)
    page = client.get(f"/imports/{import_.pk}/")
    assert list(page.context["reading"].sheets) == ["One", "Two"]
    other = say(client, import_, device=device.device_id, s__sheet="Two").context["reading"]
    assert [value.metric for value in other.profile.values] == ["Q"]
    assert other.order().profile.sheet == "Two"


def test_a_file_of_too_many_bytes_is_refused_while_it_comes(client, left_behind, monkeypatch):
    small = dataclasses.replace(settings.CONFIG, upload_max_bytes=1000)
    monkeypatch.setattr(settings, "CONFIG", small)
    answer = upload(client, file("x" * 3_000_000, "large.csv"))
    assert answer.status_code == 413
    assert "more than 1,000 bytes" in text(answer)
    assert left_behind() == set()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("a\0b.csv", "ab.csv"),
        ("x" * 300 + ".csv", None),
        ('<img src=x onerror="alert(1)">.csv', '<img src=x onerror="alert(1)">.csv'),
        ("\u202egpj.csv", "gpj.csv"),
    ],
)
def test_a_name_is_shown_and_never_a_path(client, left_behind, name, shown):
    body = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="' + name.encode().replace(b'"', b'\\"')
        + b'"\r\n\r\n' + METER.encode("cp1252") + b"\r\n--b--\r\n"
    )  # fmt: skip
    answer = client.post("/imports/", body, content_type="multipart/form-data; boundary=b")
    assert answer.status_code == 302, text(answer)
    import_ = Import.objects.get()
    assert left_behind() == {import_.upload}
    assert len(import_.file_name) <= 255
    if shown is not None:
        assert import_.file_name == shown
    for page in ("/imports/", f"/imports/{import_.pk}/"):
        assert "<img" not in client.get(page).content.decode()


def test_a_form_without_a_file_says_so(client):
    answer = client.post("/imports/", {})
    assert answer.status_code == 400
    assert "Choose a file first." in text(answer)


@pytest.mark.parametrize(
    "part",
    [
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n',
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n1\r\n',
    ],
    ids=["fields", "files"],
)
def test_a_form_of_100000_parts_is_refused_quickly(client, left_behind, part):
    body = part * 100_000 + b"--b--\r\n"
    begin = time.process_time()
    answer = client.post("/imports/", body, content_type="multipart/form-data; boundary=b")
    assert answer.status_code == 400
    assert time.process_time() - begin < 10
    assert left_behind() == set()


def test_a_giant_field_is_refused(client, left_behind):
    answer = client.post("/imports/", {"file": file(METER), "device": "x" * 5_000_000})
    assert answer.status_code == 400
    assert left_behind() == set()


def test_a_form_from_another_site_leaves_nothing_behind(alice, left_behind):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    assert upload(client, file(METER)).status_code == 403
    assert left_behind() == set()
    assert not Import.objects.exists()


def test_nobodys_file_is_looked_at_before_they_have_signed_in(db, left_behind):
    answer = upload(Client(), file(METER))
    assert answer["Location"] == "/sign-in/?next=/imports/"
    assert left_behind() == set()


def test_a_script_is_told_where_to_go_or_what_is_wrong(client):
    good = client.post("/imports/", {"file": file(METER)}, headers={"Accept": "application/json"})
    assert good.json() == {"location": f"/imports/{Import.objects.get().pk}/"}
    bad = client.post("/imports/", {"file": file(PDF, "a.pdf")}, headers={"Accept": "application/json"})
    assert bad.status_code == 400
    assert "PDF" in bad.json()["problems"][0]


def test_anothers_device_is_not_chosen(client, charlie, device):
    from joulebook.web.devices.operations import create_device

    create_device("charlies", owner=charlie)
    assert draft(client, METER, device="charlies").device is None


def test_the_list_is_ones_own_and_has_pages(client, alice, charlie, client_of):
    for number in range(30):
        Import.objects.create(user=alice, file_name=f"file{number}.csv")
    first = text(client.get("/imports/"))
    assert "file29.csv" in first
    assert "file3.csv" not in first
    assert "file3.csv" in text(client.get("/imports/?page=2"))
    theirs = text(client_of(charlie).get("/imports/"))
    assert ".csv" not in theirs
    assert "joulebook import FILE --device ID" in theirs


def test_a_draft_asks_which_of_several_lists_is_read(client):
    rows = [{"time": f"2026-01-01T00:{minute:02d}:00Z", "power": minute / 4} for minute in range(30)]
    barn = [{**row, "power": 777.25} for row in rows[:3]]
    made = draft(client, json.dumps({"house": rows, "barn": barn}))
    answer = client.get(reverse("import", args=[made.pk]))
    assert "holds 2 lists" in text(answer)
    assert answer.content.decode().count('<option value="barn">') == 1
    page = text(say(client, made, s__sheet="barn"))
    assert "holds 2 lists" not in page
    assert "777.25" in page
