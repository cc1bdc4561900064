"""One user's files do not fill the disk: quotas hold for uploads at the same time, and a reserve stays free."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.utils import timezone

from joulebook.telemetry.files.profile import ImportProfile, ValueColumn
from joulebook.web.devices.models import Device
from joulebook.web.devices.operations import (
    MOST_SHARES,
    UnableToCreateDevice,
    create_device,
    share_device,
)
from joulebook.web.display import format_instant
from joulebook.web.imports.models import DRAFT_RETENTION, Import
from joulebook.web.imports.operations import (
    ImportOrder,
    QuotaReached,
    create_draft,
    queue_import,
    remove_old_drafts,
)
from joulebook.web.imports.uploads import files as uploads
from joulebook.web.imports.uploads import reading
from joulebook.web.imports.uploads.files import (
    DiskFull,
    Upload,
    UploadWriter,
    upload_path,
    upload_writer,
    uploads_folder,
)

CSV = b"time,power\n2026-03-01 12:00,1200\n2026-03-01 12:01,1201\n"
HUGE = 1 << 49
PROFILE = ImportProfile(
    time_columns=("time",), time_formats=("%Y-%m-%d %H:%M",), values=(ValueColumn("power", "power"),)
)


@pytest.fixture
def limit(settings):
    def limit(**limits: int) -> None:
        settings.CONFIG = replace(settings.CONFIG, **limits)

    return limit


@pytest.fixture
def files():
    """The names of the uploads that a test leaves on the disk."""
    before = {path.name for path in uploads_folder().iterdir()}
    yield lambda: {path.name for path in uploads_folder().iterdir()} - before
    for path in uploads_folder().iterdir():
        if path.name not in before:
            path.unlink()


def uploaded(data: bytes = CSV) -> Upload:
    with upload_writer() as writer:
        writer.write(data)
        return writer.finish()


def post(client, device, **query):
    words = "&".join(f"{name}={value}" for name, value in {"device": device.device_id, **query}.items())
    return client.generic("POST", f"/api/imports?{words}", CSV, content_type="text/csv")


def bring(client, *contents: bytes):
    sent = [SimpleUploadedFile(f"file-{number}.csv", data) for number, data in enumerate(contents)]
    return client.post("/imports/", {"file": sent}, headers={"Accept": "application/json"})


class TestBytes:
    def test_a_file_that_is_too_much_beside_those_that_wait_is_refused_by_the_api(
        self, limit, files, alice, device, client_of
    ):
        limit(user_upload_bytes=2 * len(CSV))
        client = client_of(alice)
        assert post(client, device).status_code == 202
        assert post(client, device, force=1).status_code == 202
        refused = post(client, device, force=1)
        assert (refused.status_code, refused.json()["code"]) == (409, "user_upload_bytes")
        assert "import or discard some first" in refused.json()["detail"]
        assert len(files()) == Import.objects.count() == 2

    def test_and_by_the_page_with_a_message(self, limit, files, alice, device, client_of):
        limit(user_upload_bytes=2 * len(CSV) + 1)
        answer = bring(client_of(alice), CSV, CSV, CSV)
        assert answer.status_code in {200, 409}
        # The form is larger than all that may wait, or the third file was one too many.
        assert len(files()) == Import.objects.count() <= 2

    def test_files_of_others_and_of_what_has_ended_do_not_count(self, limit, files, alice, bob, device):
        limit(user_upload_bytes=len(CSV))
        create_draft(bob, uploaded(), name="his.csv")
        ended = create_draft(alice, uploaded(), name="hers.csv")
        Import.objects.filter(pk=ended.pk).update(state=Import.State.DONE)
        create_draft(alice, uploaded(), name="hers too.csv")

    @pytest.mark.django_db(transaction=True)
    def test_of_two_uploads_at_the_same_time_one_is_refused(self, limit, files, alice):
        limit(user_upload_bytes=3 * len(CSV) // 2)
        both = [uploaded(), uploaded()]
        outcomes: list[str] = []
        ready = threading.Barrier(2)

        def create(upload: Upload) -> None:
            try:
                ready.wait()
                create_draft(alice, upload, name="hers.csv")
                outcomes.append("kept")
            except QuotaReached:
                outcomes.append("refused")
            finally:
                connection.close()

        threads = [threading.Thread(target=create, args=(upload,)) for upload in both]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["kept", "refused"]
        assert Import.objects.count() == 1


class TestNumbers:
    def test_drafts(self, limit, files, alice, device, client_of):
        limit(user_drafts=2)
        client = client_of(alice)
        for _ in range(2):
            assert bring(client, CSV).status_code == 200
        assert Import.objects.filter(state=Import.State.DRAFT).count() == len(files()) == 2
        refused = bring(client, CSV)
        assert refused.status_code == 409
        assert "you have 2 drafts already; import or discard some first" in refused.json()["problems"][0]
        # What is queued at once never is a draft.
        assert post(client, device).status_code == 202

    def test_imports_that_wait(self, limit, files, alice, device, client_of):
        limit(user_queued=1)
        client = client_of(alice)
        assert post(client, device).status_code == 202
        refused = post(client, device, force=1)
        assert (refused.status_code, refused.json()["code"]) == (409, "user_queued")
        assert len(files()) == Import.objects.count() == 1
        draft = create_draft(alice, uploaded(b"other" + CSV), name="other.csv", device=device)
        with pytest.raises(QuotaReached, match="1 of your imports wait already"):
            queue_import(draft, ImportOrder(PROFILE, ("time", "power"), device))

    def test_devices_that_are_created_on_a_page(self, limit, files, alice, device, client_of):
        limit(user_devices=2)
        client = client_of(alice)
        draft = create_draft(alice, uploaded(), name="hers.csv")
        for number, status in ((1, 200), (2, 400)):
            form = {"do": "create-device", "new-id": f"new_{number}", "new-name": "", "new-zone": "UTC"}
            answer = client.post(f"/imports/{draft.pk}/preview/", form)
            assert answer.status_code == status, answer.content[-500:]
        assert "you have 2 already" in answer.content.decode()
        assert Device.objects.filter(owner=alice).count() == 2
        create_device("by_command", owner=alice)  # who runs commands runs the server
        with pytest.raises(UnableToCreateDevice):
            create_device("one_more", owner=alice, most=3)

    def test_shares(self, device, bob, django_user_model):
        others = [django_user_model(username=f"user{number}") for number in range(MOST_SHARES)]
        django_user_model.objects.bulk_create(others)
        from django.core.exceptions import ValidationError

        from joulebook.web.devices.models import DeviceShare

        DeviceShare.objects.filter(device=device).delete()
        DeviceShare.objects.bulk_create(
            DeviceShare(device=device, user=each) for each in django_user_model.objects.filter(
                username__startswith="user"
            )
        )  # fmt: skip
        with pytest.raises(ValidationError, match="shared with 200 users already"):
            share_device(device, bob.username)
        assert share_device(device, "user0").username == "user0"


class TestTheDisk:
    def test_uploads_stop_while_less_is_free_than_is_reserved(self, limit, files, alice, device, client_of):
        limit(disk_reserve=HUGE)
        client = client_of(alice)
        by_api, by_page = post(client, device), bring(client, CSV)
        assert (by_api.status_code, by_page.status_code) == (507, 507)
        assert "the disk has room for 0" in by_api.json()["detail"]
        assert "room for 0" in by_page.json()["problems"][0]
        assert not files()

    def test_the_reserve_is_looked_at_again_on_the_way(self, limit, files):
        writer = UploadWriter()
        writer.write(b"x" * (15 << 20))
        limit(disk_reserve=HUGE)
        with pytest.raises(DiskFull):
            writer.write(b"x" * (2 << 20))
        writer.abandon()
        assert not files()

    @pytest.mark.parametrize(
        ("total", "reserve"),
        [(8 << 30, 1 << 30), (100 << 30, 5 << 30), (4000 << 30, 10 << 30)],
    )
    def test_the_usual_reserve_is_5_per_cent_from_1_to_10_gib(self, monkeypatch, total, reserve):
        def free(left: int):
            return lambda _: SimpleNamespace(total=total, free=left)

        monkeypatch.setattr(uploads.shutil, "disk_usage", free(reserve + 1000))
        uploads.check_disk(1000)
        with pytest.raises(DiskFull):
            uploads.check_disk(1001)
        monkeypatch.setattr(uploads.shutil, "disk_usage", free(reserve))
        with pytest.raises(DiskFull):
            uploads.check_disk()


def test_the_page_of_a_draft_shows_until_when_it_waits_and_it_is_discarded_then(
    files, alice, device, client_of
):
    draft = create_draft(alice, uploaded(), name="hers.csv", device=device)
    end = draft.created_at + DRAFT_RETENTION
    page = client_of(alice).get(f"/imports/{draft.pk}/").content.decode()
    assert f"waiting for you until {format_instant(end, tz=device.time_zone)}" in page
    Import.objects.filter(pk=draft.pk).update(
        created_at=timezone.now() - DRAFT_RETENTION + timedelta(hours=1)
    )
    assert remove_old_drafts() == 0
    Import.objects.filter(pk=draft.pk).update(
        created_at=timezone.now() - DRAFT_RETENTION - timedelta(hours=1)
    )
    assert remove_old_drafts() == 1
    assert not upload_path(draft.upload).exists()


class TestWork:
    def test_a_dry_run_ends_when_its_processor_time_is_spent(self, limit, files, alice, device, client_of):
        limit(dry_run_seconds=0)
        refused = post(client_of(alice), device, dry_run=1)
        assert (refused.status_code, refused.json()["title"]) == (400, "Too much work")
        assert "import it without looking first" in refused.json()["detail"]
        assert not files()

    def test_it_ends_when_its_client_has_gone(self, files, alice, device, client_of, monkeypatch):
        asked: list[None] = []

        def is_gone() -> bool:
            asked.append(None)
            return len(asked) > 3

        monkeypatch.setattr(reading, "is_client_gone", is_gone)
        body = CSV + b"2026-03-01 12:00,1\n" * 300_000
        gone = client_of(alice).generic(
            "POST",
            f"/api/imports?device={device.device_id}&dry_run=1",
            body,
            content_type="text/csv",
        )
        assert gone.status_code == 400
        assert "the client has gone" in gone.json()["detail"]
        assert len(asked) <= 5
        assert not files()

    def test_a_profile_that_names_a_column_4000_times_is_refused_by_the_api(self, alice, client_of):
        values = [{"column": "power", "metric": f"m{number}"} for number in range(4000)]
        body = {"time_columns": ["time"], "time_formats": ["%Y-%m-%d %H:%M"], "values": values}
        client = client_of(alice)
        refused = client.put("/api/import-profiles/mine", body, content_type="application/json")
        assert refused.status_code == 400
        assert "4,000 times" in refused.json()["detail"]
        assert client.get("/api/import-profiles/mine").status_code == 404

    def test_and_one_that_was_saved_before_that_was_refused_reads_no_file(
        self, files, alice, device, client_of
    ):
        values = [{"column": "power", "metric": f"m{number}"} for number in range(4000)]
        body = {"time_columns": ["time"], "time_formats": ["%Y-%m-%d %H:%M"], "values": values}
        from joulebook.web.imports.models import SavedProfile

        SavedProfile.objects.create(owner=alice, name="old", profile=body)
        client = client_of(alice)
        assert post(client, device, profile="old", dry_run=1).status_code == 400
        draft = create_draft(alice, uploaded(), name="hers.csv", device=device)
        page = client.post(f"/imports/{draft.pk}/preview/", {"device": device.device_id, "profile": "old"})
        assert page.status_code == 200
        assert "4,000 times" in page.content.decode()


def test_forms_of_many_drafts_do_not_make_a_session_grow_without_end(files, alice, device, client_of):
    client = client_of(alice)
    drafts = [create_draft(alice, uploaded(), name="hers.csv") for _ in range(8)]
    form = {f"note-{number}": "x" * 150 for number in range(1000)}
    for draft in drafts:
        assert client.post(f"/imports/{draft.pk}/preview/", form).status_code == 200
    kept = {name: text for name, text in client.session.items() if name.startswith("draft-")}
    assert sum(map(len, kept.values())) <= 1_000_000
    assert f"draft-{drafts[-1].pk}" in kept
    assert f"draft-{drafts[0].pk}" not in kept
