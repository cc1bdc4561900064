"""Imports of real worker processes: several beside each other, ended, stopped, and with large files."""

from __future__ import annotations

import os
import re
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from django.utils import timezone

from ..worker_process import Worker, keeping
from .working import (
    expected,
    lines_stored,
    queue_file,
    queue_upload,
    rows,
    stored,
    wait_for,
    wait_for_state,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from joulebook.web.devices.models import Device
    from joulebook.web.imports.uploads.files import Upload

Start = Callable[[], Worker]


def test_two_workers_run_each_of_ten_imports_once(
    worker_urls: dict[str, str], start_worker: Start, make_user: Callable[[str], User]
) -> None:
    from joulebook.web.devices.operations import create_device

    imports = []
    for number in range(10):
        owner = make_user(f"user{number}") if number < 5 else imports[number - 5].user
        device = create_device(f"device_{uuid.uuid4().hex[:12]}", owner=owner)
        imports.append(queue_file(owner, device, rows(2_000 + number)))
    workers = [start_worker() for _ in range(2)]
    for import_ in imports:
        wait_for_state(import_, "done", log=workers[0].log)
    told = "".join(worker.log.read_text() for worker in workers)
    claimed = Counter(re.findall(r"import (\d+): claimed \(attempt 1\)", told))
    assert claimed == Counter({str(import_.pk): 1 for import_ in imports})
    assert "taken over" not in told
    for number, import_ in enumerate(imports):
        assert import_.lease == 1
        assert stored(worker_urls["reader"], import_.device.device_id) == expected(2_000 + number)


def test_a_worker_that_is_asked_to_end_gives_back_and_another_goes_on_at_once(
    worker_urls: dict[str, str], start_worker: Start, alice: User, device: Device
) -> None:
    import_ = queue_file(alice, device, rows(200_000))
    first = start_worker()
    wait_for(
        lambda: lines_stored(worker_urls["reader"], import_),
        seconds=60,
        what="it does not begin",
        log=first.log,
    )
    assert first.stop() < 15
    import_.refresh_from_db()
    assert (import_.state, import_.attempts, import_.leased_by) == ("queued", 0, "")
    assert f"import {import_.pk}: released" in first.log.read_text()
    second = start_worker()
    wait_for_state(import_, "done", log=second.log)
    assert (import_.lease, import_.cells_stored, import_.cells_duplicate) == (2, 400_000, 0)
    assert stored(worker_urls["reader"], device.device_id) == expected(200_000)


def idle_when_stopped(worker: Worker, urls: dict[str, str]) -> None:
    """Stop a worker by SIGSTOP while it is in no transaction, in which others would wait for it."""

    deadline = time.monotonic() + 30
    with psycopg.connect(urls["superuser"], autocommit=True) as conn:
        while time.monotonic() < deadline:  # without a pause: it is idle for moments only
            os.kill(worker.process.pid, signal.SIGSTOP)
            busy = conn.execute(
                "SELECT 1 FROM pg_stat_activity WHERE datname = 'import_tests' AND pid <> pg_backend_pid() "
                "AND application_name = 'joulebook-writer' AND state <> 'idle'"
            ).fetchone()
            if busy is None:
                return
            os.kill(worker.process.pid, signal.SIGCONT)
            time.sleep(0.001)
    raise AssertionError(f"it was always in a transaction\n{worker.log.read_text()[-3000:]}")


def test_a_worker_that_hung_and_comes_back_stores_nothing_any_more(
    worker_urls: dict[str, str], start_worker: Start, alice: User, device: Device
) -> None:
    # Long enough to be met between two blocks, of which none waits for the disk.
    import_ = queue_file(alice, device, rows(1_000_000))
    hung = start_worker()
    wait_for_state(import_, "running", log=hung.log)
    idle_when_stopped(hung, worker_urls)
    try:
        import_.refresh_from_db()
        assert import_.state == "running"
        # It lives, and so its lease has to run out.
        type(import_).objects.filter(pk=import_.pk).update(
            heartbeat_at=timezone.now() - timedelta(seconds=61)
        )
        with keeping(worker_urls["writer"], slice_seconds=0.1):
            wait_for(
                lambda: type(import_).objects.get(pk=import_.pk).lease == 2, seconds=10, what="not taken over"
            )
            os.kill(hung.process.pid, signal.SIGCONT)
            wait_for_state(import_, "done", log=hung.log)
    finally:
        os.kill(hung.process.pid, signal.SIGCONT)
    wait_for(
        lambda: re.search(rf"import {import_.pk}: (taken over by another|lease 1 of)", hung.log.read_text()),
        seconds=20, what="it does not know that it was taken over", log=hung.log,
    )  # fmt: skip
    assert (import_.lease, import_.cells_stored, import_.cells_duplicate) == (2, 2_000_000, 0)
    assert (import_.rows_read, import_.problem) == (1_000_000, "")
    assert stored(worker_urls["reader"], device.device_id) == expected(1_000_000)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("files", "megabytes"), [pytest.param(4, 15), pytest.param(1, 2048, id="2 GB", marks=pytest.mark.slow)]
)
def test_large_files_do_not_make_the_worker_grow(
    worker_urls: dict[str, str],
    start_worker: Start,
    make_user: Callable[[str], User],
    files: int,
    megabytes: int,
) -> None:
    from joulebook.web.devices.operations import create_device

    imports = []
    for number in range(files):
        owner = make_user(f"user{number}")
        device = create_device(f"device_{uuid.uuid4().hex[:12]}", owner=owner)
        upload, count = receive_large(megabytes << 20)
        imports.append(queue_upload(owner, device, upload, name="large.csv", columns=("t", "P", "E", "note")))
    worker = start_worker()
    for import_ in imports:
        wait_for_state(import_, "done", seconds=1500, log=worker.log)
    peak = worker.peak_mb()
    print(  # noqa: T201 - a drill reports its figures
        f"\n{files} import(s) of {megabytes} MB and {2 * count} readings: the worker's peak was {peak} MB"
    )
    for import_ in imports:
        assert stored(worker_urls["reader"], import_.device.device_id) == expected(count)
    assert peak < 400


def receive_large(size: int) -> tuple[Upload, int]:
    """Receive a file of this many bytes, and return it with its number of rows.

    It has much text for a reading, so that the file is large before the database is.
    """
    from joulebook.web.imports.uploads.files import upload_writer

    count = written = 0
    with upload_writer() as writing:
        while written < size:
            text = rows(10_000, first=count, note="n" * 440)
            chunk = (text if count == 0 else text.partition("\n")[2]).encode()
            writing.write(chunk)
            written += len(chunk)
            count += 10_000
        return writing.finish(), count
