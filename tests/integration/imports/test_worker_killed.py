"""kill -9 of the worker in the middle of an import: it goes on, and nothing is lost, doubled or miscounted.

The oracle is the file: how many rows it has, and what their values come to.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import psycopg
import pytest

from ..worker_process import Worker
from .working import expected, lines_stored, queue_file, rows, stored, wait_for, wait_for_state

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from joulebook.web.devices.models import Device
    from joulebook.web.imports.models import Import


def leases_taken(import_: Import) -> int:
    """Return how many workers have claimed an import so far."""
    import_.refresh_from_db()
    return import_.lease


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("kills", "count"),
    [
        pytest.param(3, 150_000, id="300,000"),
        pytest.param(20, 2_500_000, id="5,000,000", marks=pytest.mark.slow),
    ],
)
def test_killing_the_worker_in_an_import_loses_and_doubles_nothing(
    worker_urls: dict[str, str],
    start_worker: Callable[[], Worker],
    alice: User,
    device: Device,
    kills: int,
    count: int,
) -> None:
    chance = random.Random(13)
    import_ = queue_file(alice, device, rows(count))
    worker = start_worker()
    killed_at: list[int] = []
    for number in range(1, kills + 1):
        # At even steps of the file's way, then at a random moment of a block's.
        line = count * number // (kills + 2)
        wait_for(
            lambda line=line: (
                lines_stored(worker_urls["reader"], import_) >= line and leases_taken(import_) > len(killed_at)
            ),
            seconds=300, what=f"it did not come to line {line}", log=worker.log,
        )  # fmt: skip
        time.sleep(chance.uniform(0, 0.2))
        worker.kill()
        import_.refresh_from_db()
        if import_.state == "running":
            killed_at.append(lines_stored(worker_urls["reader"], import_))
        worker.start()
    wait_for_state(import_, "done", seconds=900, log=worker.log)
    found = stored(worker_urls["reader"], device.device_id)
    wanted = expected(count)
    lost = sum(wanted[metric][1] - found[metric][1] for metric in wanted)
    doubled = sum(found[metric][0] - found[metric][1] for metric in wanted)
    print(  # noqa: T201 - a drill reports its figures
        f"\nkill -9 of the worker in an import: {len(killed_at)} times of {kills} in the middle, "
        f"behind lines {killed_at}; {import_.cells_stored} readings counted, lost {lost}, doubled {doubled}"
    )
    assert (lost, doubled) == (0, 0)
    assert found == wanted
    assert (import_.cells_stored, import_.cells_duplicate) == (2 * count, 0)
    assert (import_.rows_read, import_.rows_rejected) == (count, 0)
    assert len(killed_at) > kills // 2
    assert import_.lease == len(killed_at) + 1
    with psycopg.connect(worker_urls["reader"]) as conn:
        ids = conn.execute(
            "SELECT DISTINCT import_id FROM readings JOIN series ON series.id = series_id WHERE device_id = %s",
            [device.device_id],
        ).fetchall()
    assert ids == [(import_.pk,)]


@pytest.mark.timeout(900)
def test_killing_the_worker_in_an_undo_leaves_nothing_behind(
    worker_urls: dict[str, str], start_worker: Callable[[], Worker], alice: User, device: Device
) -> None:
    from joulebook.web.imports.operations import undo_import

    count = 120_000
    import_ = queue_file(alice, device, rows(count))
    worker = start_worker()
    wait_for_state(import_, "done", log=worker.log)
    undo_import(import_, by=alice)
    kills = 0
    for left in (count - 1, count // 2):

        def is_that_far(left: int = left) -> bool:
            return stored(worker_urls["reader"], device.device_id).get("power", (0,))[0] <= left

        wait_for(is_that_far, seconds=120, what=f"more than {left} are left", log=worker.log)
        worker.kill()
        import_.refresh_from_db()
        kills += import_.state == "undoing"
        worker.start()
    wait_for_state(import_, "undone", seconds=120, log=worker.log)
    assert stored(worker_urls["reader"], device.device_id) == {}
    assert kills > 0
    assert import_.lease == 2 + kills
