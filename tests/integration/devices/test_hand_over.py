"""A device gets another owner: nothing that the former one has, or has given away, works any more."""

from __future__ import annotations

import uuid

import httpx
import pytest

from joulebook.web.devices.models import DeviceShare, DeviceToken
from joulebook.web.devices.operations import hand_over, issue_device_token, issue_gateway_token
from joulebook.web.devices.queries import tokens_of
from joulebook.web.imports.models import Import
from joulebook.web.imports.operations import create_draft
from joulebook.web.imports.queries import may_still_import, visible_imports
from joulebook.web.imports.uploads.files import Upload, uploads_folder

from ..ingest.conftest import until

State = Import.State


def name_of(number: int) -> str:
    return str(uuid.UUID(int=number))


@pytest.fixture
def upload():
    def make(number: int) -> Upload:
        name = name_of(number)
        (uploads_folder() / name).write_text("time,power\n")
        return Upload(name=name, size=11, sha256="0" * 64)

    return make


def test_the_former_owner_sees_it_no_more_and_nobody_sees_it_through_old_shares(
    device, alice, bob, charlie, client_of
):
    DeviceShare.objects.create(device=device, user=charlie)
    address = f"/api/devices/{device.device_id}"
    clients = {user: client_of(user) for user in (alice, bob, charlie)}
    hand_over(device, to=charlie)
    assert [clients[user].post(f"/api/live-ticket/{device.device_id}").status_code for user in clients] == [
        403,
        403,
        200,
    ]
    assert [clients[user].get(address).status_code for user in (alice, bob)] == [403, 403]
    assert not device.shares.exists()
    assert device.owner == charlie


def test_waiting_imports_of_the_former_owner_are_cancelled_and_past_ones_are_the_new_owners(
    device, alice, charlie, upload
):
    waiting, running, draft = (create_draft(alice, upload(number), name="a.csv") for number in range(3))
    done = Import.objects.create(user=alice, device=device, file_name="b.csv", state=State.DONE)
    for import_, state in ((waiting, State.QUEUED), (running, State.RUNNING), (draft, State.DRAFT)):
        import_.device, import_.state = device, state
        import_.save()
        import_.devices.set([device] if state != State.DRAFT else [])
    hand_over(device, to=charlie)
    for import_ in (waiting, running, draft):
        import_.refresh_from_db()
    assert waiting.state == State.CANCELLED
    assert not (uploads_folder() / name_of(0)).exists()
    assert running.is_cancelling
    assert not may_still_import(running)
    assert draft.device is None
    assert set(visible_imports(alice)) == {draft}
    assert done in visible_imports(charlie)


def test_a_gateway_does_not_get_it_back_when_it_returns_to_its_owner(device, alice, charlie):
    issue_gateway_token([device], name="cellar")
    hand_over(device, to=charlie)
    hand_over(device, to=alice)
    assert tokens_of(device) == []


def by_command(device, alice, charlie, joulebook, client_of):
    done = joulebook("device", "hand-over", device.device_id, "--to", "charlie")
    assert done.returncode == 0, done.stderr
    assert "belongs to charlie now" in done.stderr


def by_admin_page(device, alice, charlie, joulebook, client_of):
    charlie.is_staff = charlie.is_superuser = True
    charlie.save()
    form = {
        "name": device.name,
        "owner": charlie.pk,
        "time_zone": device.time_zone,
        "time_without_offset": device.time_without_offset,
        **{f"{part}-{count}_FORMS": 0 for part in ("metrics", "shares") for count in ("TOTAL", "INITIAL")},
    }
    answer = client_of(charlie).post(f"/admin/devices/device/{device.pk}/change/", form)
    assert answer.status_code == 302, answer.content.decode()


@pytest.mark.parametrize("door", [by_command, by_admin_page])
def test_ingest_refuses_its_tokens_within_ten_seconds_whichever_door_was_used(
    transactional_db, ingest, device, alice, charlie, joulebook, client_of, door
):
    own, gateway = issue_device_token(device), issue_gateway_token([device], name="cellar")

    def post(token: str) -> httpx.Response:
        return httpx.post(
            f"{ingest.url}/api/readings",
            json={"device_id": device.device_id, "power": 1.0},
            headers={"Authorization": f"Bearer {token}"},
        )

    def stored(token: str) -> int:
        answer = post(token)
        return answer.json()["accepted"] if answer.is_success else 0

    assert [stored(token) for token in (own, gateway)] == [1, 1]
    door(device, alice, charlie, joulebook, client_of)
    until(lambda: stored(own) == stored(gateway) == 0, what="the tokens still write", seconds=10)
    assert post(own).status_code == 401
    device.refresh_from_db()
    assert device.owner == charlie
    assert not DeviceToken.objects.filter(device=device, revoked_at=None).exists()


def test_the_command_says_what_is_wrong(transactional_db, device, alice, joulebook):
    same = joulebook("device", "hand-over", device.device_id, "--to", "alice")
    nobody = joulebook("device", "hand-over", device.device_id, "--to", "nobody")
    none = joulebook("device", "hand-over", "no_such_device", "--to", "alice")
    assert [done.returncode for done in (same, nobody, none)] == [1, 1, 1]
    assert "belongs to alice already" in same.stderr
    assert "there is no user 'nobody'" in nobody.stderr
    assert "there is no device 'no_such_device'" in none.stderr
