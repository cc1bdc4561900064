"""The settings that Joulebook writes for the server."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulebook.embedded.layout import Layout
from joulebook.embedded.settings import _settings, machine_memory, write_settings

GIB = 1024**3


def write(
    layout: Layout,
    *,
    memory: int = 8 * GIB,
    disk: int | None = None,
    loopback: bool = False,
    has_lz4: bool = True,
) -> dict[str, str]:
    write_settings(
        layout,
        sockets=layout.root / "run",
        port=5432,
        loopback=loopback,
        has_lz4=has_lz4,
        memory=memory,
        disk=disk,
    )
    return dict(re.findall(r"^(\S+) = '(.*)'$", layout.settings.read_text(), re.MULTILINE))


@pytest.mark.parametrize(
    ("memory", "buffers"),
    [
        (GIB // 4, "64MB"),
        (GIB, "128MB"),
        (8 * GIB, "1024MB"),
        (32 * GIB, "4096MB"),
        (256 * GIB, "4096MB"),
    ],
)
def test_buffers_are_an_eighth_of_memory_within_bounds(layout: Layout, memory: int, buffers: str) -> None:
    assert write(layout, memory=memory)["shared_buffers"] == buffers


@pytest.mark.parametrize(("disk", "log"), [(0, "256MB"), (4, "256MB"), (8, "512MB"), (4000, "1024MB")])
def test_the_log_of_changes_takes_a_small_part_of_what_is_free_on_the_disk(
    layout: Layout, disk: int, log: str
) -> None:
    assert write(layout, disk=disk * GIB)["max_wal_size"] == log


def test_what_is_free_is_asked_of_the_disk_of_the_servers_folder(layout: Layout) -> None:
    free = shutil.disk_usage(layout.root).free
    expected = min(max(free // 16 // 1024**2, 256), 1024)
    assert abs(int(write(layout)["max_wal_size"].removesuffix("MB")) - expected) <= 64


def test_logged_pages_are_compressed_fast_or_not_at_all(layout: Layout) -> None:
    assert write(layout)["wal_compression"] == "lz4"
    assert write(layout, has_lz4=False)["wal_compression"] == "off"


def test_acknowledged_readings_are_on_disk(layout: Layout) -> None:
    settings = write(layout)
    assert {settings[name] for name in ("fsync", "synchronous_commit", "full_page_writes")} == {"on"}


def test_nothing_is_told_to_the_makers_of_timescaledb(layout: Layout) -> None:
    assert write(layout)["timescaledb.telemetry_level"] == "off"


def test_no_network_address_is_opened_unless_asked(layout: Layout) -> None:
    assert write(layout)["listen_addresses"] == ""
    assert write(layout, loopback=True)["listen_addresses"] == "127.0.0.1"


def test_every_connection_needs_a_password(layout: Layout) -> None:
    write(layout)
    rules = [line.split() for line in layout.host_rules.read_text().splitlines() if line[0] != "#"]
    assert {rule[-1] for rule in rules} == {"scram-sha-256"}
    assert {rule[0] for rule in rules} == {"local", "host"}


def test_the_users_own_settings_are_read_last(layout: Layout) -> None:
    write(layout)
    last = layout.settings.read_text().splitlines()[-1]
    assert last == f"include_if_exists = '{layout.own_settings}'"


def test_a_containers_limit_counts_where_it_is_lower(tmp_path: Path) -> None:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    (tmp_path / "limited").write_text(f"{64 * 1024**2}\n")
    (tmp_path / "unlimited").write_text("max\n")
    assert machine_memory([tmp_path / "limited"]) == 64 * 1024**2
    assert machine_memory([tmp_path / "unlimited", tmp_path / "missing"]) == whole


@given(st.integers(min_value=0, max_value=1 << 45))
def test_sizes_are_whole_megabytes_for_any_memory(memory: int) -> None:
    layout = Layout(Path("/home/db"))
    settings = _settings(
        layout, sockets=Path("/s"), port=1, loopback=False, has_lz4=True, memory=memory, disk=memory
    )
    names = ("shared_buffers", "work_mem", "maintenance_work_mem", "max_wal_size")
    sizes = [settings[name] for name in names]
    assert all(re.fullmatch(r"[1-9]\d*MB", size) for size in sizes)
