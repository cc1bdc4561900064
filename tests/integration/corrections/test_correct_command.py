"""`joulebook correct` and `joulebook corrections`, as people type them."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.readings import to_microseconds
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import write_batch

START = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
def meter(telemetry, writer, joulebook, no_corrections):
    """A device of the command line's accounts: a day of 600 W, with one spike at noon."""
    name, device_id = f"dora_{uuid.uuid4().hex[:8]}", f"meter_{uuid.uuid4().hex[:8]}"
    assert (
        joulebook("user", "add", name, "--password-stdin", stdin="a long enough pass phrase\n").returncode
        == 0
    )
    assert joulebook("device", "add", device_id, "--owner", name).returncode == 0
    [series] = ensure_series(writer, [(device_id, "power")]).values()
    time = to_microseconds(START) + np.arange(145, dtype=np.int64) * 600_000_000
    value = np.full(145, 600.0)
    value[72] = 99_999.0
    write_batch(writer, Batch(np.full(145, series, np.int32), time, value))
    return device_id, series, name


def shown(writer, series):
    rows = writer.execute(
        "SELECT time, value FROM readings WHERE series_id = %s AND value <> 'NaN'", [series]
    )
    return dict(rows.fetchall())


def test_a_spike_is_previewed_deleted_listed_and_restored(meter, writer, joulebook):
    device, series, name = meter
    noon = (START + timedelta(hours=12)).isoformat()
    what = ("correct", "delete", "--device", device, "--metric", "power", "--at", noon)
    before = shown(writer, series)
    preview = joulebook(*what, "--dry-run")
    assert preview.returncode == 0, preview.stderr
    assert "power: 1 readings would change" in preview.stdout
    assert "2026-03-02" in preview.stdout
    assert shown(writer, series) == before
    done = joulebook(*what, "--reason", "lightning", "--user", name, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["state"], answer["changed"], answer["user"], answer["reason"]) == (
        "done", 1, name, "lightning",
    )  # fmt: skip
    assert len(shown(writer, series)) == 144
    listed = json.loads(joulebook("corrections", "list", "--device", device, "--json").stdout)
    assert [each["id"] for each in listed] == [answer["id"]]
    assert "lightning" in joulebook("corrections", "show", str(answer["id"])).stdout
    undone = joulebook("corrections", "undo", str(answer["id"]))
    assert (undone.returncode, "is undone" in undone.stdout) == (0, True), undone.stderr
    assert shown(writer, series) == before
    again = joulebook("corrections", "undo", str(answer["id"]))
    assert (again.returncode, "only one that has ended" in again.stderr) == (1, True)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("delete", "--metric", "nothing"), "it has: power"),
        (("set", "--metric", "power", "--from", "2026-03-02", "--to", "2026-03-03"), "needs value"),
        (("delete", "--metric", "power"), "start and end"),
    ],
)
def test_what_cannot_be_done_is_told(meter, joulebook, words, text):
    kind, *options = words
    answer = joulebook("correct", kind, "--device", meter[0], *options)
    assert answer.returncode != 0
    assert text in answer.stderr
