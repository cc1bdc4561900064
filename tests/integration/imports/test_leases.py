"""Claims, heartbeats and ends of imports: in turn, once each, and nothing by who has lost the lease."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.utils import timezone

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from joulebook.web.devices.models import Device
    from joulebook.web.imports.models import Import

Queue = Callable[..., "Import"]


@pytest.fixture
def make_device(db: None) -> Callable[[User], Device]:
    """Create a device of a user."""
    from joulebook.web.devices.operations import create_device

    return lambda owner: create_device(f"device_{uuid.uuid4().hex[:12]}", owner=owner)


@pytest.fixture
def queue(make_device: Callable[[User], Device]) -> Queue:
    """Put an import of a user's in the queue, for a device of its own unless one is given."""

    def put(user: User, *, device: Device | None = None, **fields: Any) -> Import:
        from joulebook.web.imports.models import Import

        device = device or make_device(user)
        import_ = Import.objects.create(
            user=user,
            device=device,
            file_name="a.csv",
            **{"state": "queued", "queued_at": timezone.now(), "upload": str(uuid.uuid4()), **fields},
        )
        import_.devices.set([device])
        return import_

    return put


def ago(**of_time: float) -> Any:
    return timezone.now() - timedelta(**of_time)


def set_fields(import_: Import, **fields: Any) -> None:
    type(import_).objects.filter(pk=import_.pk).update(**fields)


def test_a_claim_takes_the_oldest_and_says_who_has_it(queue: Queue, alice: User) -> None:
    from joulebook.web.imports import leases

    newer = queue(alice)
    older = queue(alice, queued_at=ago(minutes=5))
    claimed = leases.claim_next("one")
    assert claimed == older
    claimed.refresh_from_db()
    assert (claimed.state, claimed.lease, claimed.leased_by, claimed.attempts) == ("running", 1, "one", 1)
    assert claimed.started_at is not None
    assert claimed.heartbeat_at > ago(seconds=30)
    second = leases.claim_next("one")
    assert second == newer
    assert leases.claim_next("one") is None


def test_the_user_with_fewest_running_is_next_then_who_waited_longest(
    queue: Queue, alice: User, make_user: Callable[[str], User]
) -> None:
    from joulebook.web.imports import leases

    ben, cleo = make_user("ben"), make_user("cleo")
    for minutes in (50, 49, 48):
        queue(alice, queued_at=ago(minutes=minutes))
    queue(ben, queued_at=ago(minutes=2))
    queue(ben, state="done", heartbeat_at=ago(minutes=10))
    queue(cleo, queued_at=ago(minutes=1))
    queue(cleo, state="done", heartbeat_at=ago(minutes=20))
    order = [leases.claim_next("one") for _ in range(5)]
    assert [each.user.username for each in order if each] == ["alice", "cleo", "ben", "alice", "alice"]


def test_users_that_are_passed_over_get_nothing(
    queue: Queue, alice: User, make_user: Callable[[str], User]
) -> None:
    from joulebook.web.imports import leases

    ben = make_user("ben")
    queue(alice)
    assert leases.claim_next("one", skipped_users={alice.pk}) is None
    assert not leases.is_anything_waiting(skipped_users={alice.pk})
    bens = queue(ben)
    assert leases.is_anything_waiting(skipped_users={alice.pk})
    assert leases.claim_next("one", skipped_users={alice.pk}) == bens


def test_imports_that_touch_one_device_run_one_after_another(
    queue: Queue, alice: User, make_device: Callable[[User], Device]
) -> None:
    from joulebook.web.imports import leases

    shared, other = make_device(alice), make_device(alice)
    first = queue(alice, device=shared, queued_at=ago(minutes=9))
    second = queue(alice, device=other, queued_at=ago(minutes=8))
    second.devices.add(shared)
    third = queue(alice)
    claimed = leases.claim_next("one")
    assert claimed == first
    assert leases.claim_next("two") == third
    assert leases.claim_next("two") is None
    assert leases.finish(claimed, leases.State.DONE)
    assert leases.claim_next("two") == second


def test_a_stale_heartbeat_is_taken_over_and_fences_who_had_it(queue: Queue, alice: User) -> None:
    from joulebook.web.imports import leases
    from joulebook.web.leases import renew

    queue(alice)
    old = leases.claim_next("one")
    assert old is not None
    set_fields(old, heartbeat_at=ago(seconds=59))
    assert leases.claim_next("two") is None
    set_fields(old, heartbeat_at=ago(seconds=61))
    new = leases.claim_next("two")
    assert new == old
    assert (new.lease, new.attempts, new.leased_by) == (2, 2, "two")
    assert leases.lease_state(old) is leases.LeaseState.LOST
    assert renew([old]) == 0
    assert not leases.release(old)
    assert not leases.finish(old, leases.State.FAILED, problem="from the grave")
    leases.reset_attempts(old)
    new.refresh_from_db()
    assert (new.state, new.attempts, new.problem, new.leased_by) == ("running", 2, "", "two")
    assert new.upload
    assert leases.lease_state(new) is leases.LeaseState.OURS


def test_a_worker_known_to_be_dead_is_not_waited_for(queue: Queue, alice: User) -> None:
    from joulebook.web.imports import leases

    queue(alice)
    leases.claim_next("dead")
    assert leases.claim_next("two", is_dead=lambda name: name == "another") is None
    taken = leases.claim_next("two", is_dead=lambda name: name == "dead")
    assert taken is not None
    assert taken.lease == 2


def test_a_heartbeat_keeps_all_that_is_held(queue: Queue, alice: User, make_user: Any) -> None:
    from joulebook.web.imports import leases
    from joulebook.web.leases import renew

    queue(alice)
    queue(make_user("ben"))
    held = [each for each in (leases.claim_next("one"), leases.claim_next("one")) if each]
    for each in held:
        set_fields(each, heartbeat_at=ago(seconds=50))
    assert renew(held) == 2
    for each in held:
        each.refresh_from_db()
        assert each.heartbeat_at > ago(seconds=30)
    assert renew([]) == 0


def test_what_is_given_back_is_queued_again_and_its_attempt_does_not_count(queue: Queue, alice: User) -> None:
    from joulebook.web.imports import leases

    import_ = queue(alice)
    for lease in range(1, 9):
        claimed = leases.claim_next("one")
        assert claimed is not None
        assert (claimed.lease, claimed.attempts) == (lease, 1)
        assert leases.release(claimed)
        import_.refresh_from_db()
        assert (import_.state, import_.attempts, import_.leased_by) == ("queued", 0, "")


def test_an_attempt_that_failed_counts_and_the_next_one_waits(queue: Queue, alice: User) -> None:
    from joulebook.web.imports import leases

    import_ = queue(alice)
    claimed = leases.claim_next("one")
    assert claimed is not None
    leases.release(claimed, is_failure=True)
    assert leases.claim_next("one") is None
    set_fields(import_, heartbeat_at=ago(seconds=6))
    again = leases.claim_next("one")
    assert again is not None
    assert again.attempts == 2
    leases.reset_attempts(again)
    import_.refresh_from_db()
    assert import_.attempts == 0


def test_an_undoing_import_is_claimed_at_once_and_stays_undoing(queue: Queue, alice: User) -> None:
    from joulebook.web.imports import leases, operations

    queue(alice)
    claimed = leases.claim_next("one")
    assert claimed is not None
    assert leases.finish(claimed, leases.State.DONE)
    operations.undo_import(claimed, by=alice)
    undoing = leases.claim_next("two")
    assert undoing is not None
    assert (undoing.pk, undoing.state, undoing.lease) == (claimed.pk, "undoing", 2)
    assert leases.claim_next("one") is None
    assert leases.release(undoing)
    again = leases.claim_next("one")
    assert again is not None
    assert again.state == "undoing"
    finished_at = claimed.finished_at
    assert leases.finish(again, leases.State.UNDONE)
    again.refresh_from_db()
    assert (again.state, again.finished_at) == ("undone", finished_at)
    assert again.undone_at is not None


def test_the_end_removes_the_upload_and_cancelling_is_seen(queue: Queue, alice: User) -> None:
    from joulebook.web.imports import leases, operations
    from joulebook.web.imports.uploads.files import upload_path, upload_writer

    with upload_writer() as writing:
        writing.write(b"t,P\n")
        upload = writing.finish()
    queue(alice, upload=upload.name)
    claimed = leases.claim_next("one")
    assert claimed is not None
    operations.cancel_import(claimed)
    assert leases.lease_state(claimed) is leases.LeaseState.CANCELLING
    assert upload_path(upload.name).exists()
    assert leases.finish(claimed, leases.State.CANCELLED)
    assert not upload_path(upload.name).exists()
    claimed.refresh_from_db()
    assert (claimed.state, claimed.upload, claimed.is_cancelling) == ("cancelled", "", False)
    assert claimed.finished_at is not None


def test_a_running_import_of_a_command_is_left_alone_until_its_heartbeat_stops(
    queue: Queue, alice: User
) -> None:
    from joulebook.web.imports import leases

    import_ = queue(alice, state="running", upload="", leased_by="command", heartbeat_at=ago(seconds=30))
    assert leases.claim_next("one") is None
    set_fields(import_, heartbeat_at=ago(seconds=61))
    assert leases.claim_next("one") == import_


def test_a_long_queue_is_not_read_whole_for_each_claim(
    queue: Queue, alice: User, make_user: Callable[[str], User], make_device: Callable[[User], Device]
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from joulebook.web.imports import leases

    device = make_device(alice)
    for minutes in range(60):
        queue(alice, device=device, queued_at=ago(minutes=100 - minutes))
    bens = queue(make_user("ben"))
    first = leases.claim_next("one")
    assert first is not None
    assert first.user == alice
    assert [each.pk for each in leases._first_in_queue()].count(bens.pk) == 1
    assert len(leases._first_in_queue()) == 1 + leases._FIRST_IN_QUEUE + 1
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert leases.claim_next("one") == bens
    assert len(queries) <= 10


def test_claims_from_many_threads_take_each_import_once(
    transactional_db: None, queue: Queue, make_user: Callable[[str], User]
) -> None:
    from django.db import connections

    from joulebook.web.imports import leases

    users = [make_user(f"user{number}") for number in range(3)]
    expected = {queue(users[number % 3]).pk for number in range(12)}
    claimed: list[int] = []
    failed: list[BaseException] = []

    def claim(name: str) -> None:
        try:
            while (import_ := leases.claim_next(name)) is not None:
                claimed.append(import_.pk)
        except BaseException as exc:  # noqa: BLE001 - raised again below
            failed.append(exc)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=claim, args=(f"worker{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(claimed) == 12
    assert set(claimed) == expected
