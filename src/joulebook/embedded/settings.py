"""The server's configuration files, sized for the machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from joulebook.embedded.layout import Layout

_MIB = 1024 * 1024
_CONTAINER_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)

_HOST_RULES = """\
# Written by Joulebook at each start. Every connection needs its role's password.
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
host all all ::1/128 scram-sha-256
"""


def write_settings(
    layout: Layout,
    *,
    sockets: Path,
    port: int,
    loopback: bool,
    has_lz4: bool,
    memory: int | None = None,
    disk: int | None = None,
) -> None:
    """Write the server's `postgresql.conf` and `pg_hba.conf`.

    `has_lz4` is whether the server was built with it. `memory` is the machine's memory and `disk` the free
    space of the server's folder, in bytes (default: measured). The user's own `postgresql.local.conf`
    beside them is read last and wins.
    """
    memory = machine_memory() if memory is None else memory
    if disk is None:
        try:
            disk = shutil.disk_usage(layout.root).free
        except OSError:
            disk = 0
    settings = _settings(
        layout, sockets=sockets, port=port, loopback=loopback, has_lz4=has_lz4, memory=memory, disk=disk
    )
    lines = ["# Written by Joulebook at each start; own settings belong into postgresql.local.conf."]
    lines += [f"{name} = {_quoted(value)}" for name, value in settings.items()]
    lines.append(f"include_if_exists = {_quoted(str(layout.own_settings))}")
    _replace(layout.settings, "\n".join(lines) + "\n")
    _replace(layout.host_rules, _HOST_RULES)


def _settings(
    layout: Layout, *, sockets: Path, port: int, loopback: bool, has_lz4: bool, memory: int, disk: int
) -> dict[str, str]:
    return {
        "hba_file": str(layout.host_rules),
        "cluster_name": layout.cluster_name,
        "listen_addresses": "127.0.0.1" if loopback else "",
        "port": str(port),
        "unix_socket_directories": '"' + str(sockets).replace('"', '""') + '"',
        # The mode of the socket's folder limits connections.
        "unix_socket_permissions": "0777",
        "max_connections": "100",
        # A range of decades touches thousands of chunks, and each of them is a lock.
        "max_locks_per_transaction": "512",
        "password_encryption": "scram-sha-256",
        "shared_preload_libraries": "timescaledb",
        "timescaledb.telemetry_level": "off",
        "timescaledb.max_background_workers": "8",
        "max_worker_processes": "20",
        "jit": "off",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        # PostgreSQL's own compression, pglz, took more than half of the database's time in rolling up.
        "wal_compression": "lz4" if has_lz4 else "off",
        "min_wal_size": "80MB",
        # After each checkpoint every changed page is logged as a whole once more.
        "max_wal_size": _megabytes(disk // 16, low=256, high=1024),
        # A bulk load leaves its segments behind otherwise: half a gigabyte for ever on a small disk.
        "wal_recycle": "off",
        "shared_buffers": _megabytes(memory // 8, low=64, high=4096),
        "effective_cache_size": _megabytes(memory // 2, low=128, high=1 << 20),
        "maintenance_work_mem": _megabytes(memory // 16, low=32, high=512),
        "work_mem": _megabytes(memory // 256, low=4, high=32),
        "random_page_cost": "1.1",
        "dynamic_shared_memory_type": _dynamic_shared_memory(),
        "timezone": "UTC",
        "log_timezone": "UTC",
        "datestyle": "iso, ymd",
        "lc_messages": "C",
        "logging_collector": "on",
        "log_directory": str(layout.logs),
        # One file for each day of the week, emptied a week later.
        "log_filename": "postgresql-%a.log",
        "log_rotation_age": "1d",
        "log_rotation_size": "0",
        "log_truncate_on_rotation": "on",
        "log_line_prefix": "%m [%p] %u@%d ",
        "log_min_error_statement": "panic",
    }


def machine_memory(limits: Sequence[Path] = _CONTAINER_LIMITS) -> int:
    """Return the bytes of memory for this process: the machine's, or its container's if fewer."""
    found = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in limits:
        with suppress(OSError, ValueError):  # "max" where there is none
            found.append(int(limit.read_text()))
    return min(found)


def _megabytes(size: int, *, low: int, high: int) -> str:
    return f"{min(max(size // _MIB, low), high)}MB"


def _dynamic_shared_memory() -> str:
    """Return the memory for rows between parallel queries: a container's /dev/shm is often too small."""
    try:
        space = os.statvfs("/dev/shm")  # noqa: S108 - measured, not written
    except OSError:
        return "mmap"
    return "posix" if space.f_frsize * space.f_blocks >= 256 * _MIB else "mmap"


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''").replace("\\", "\\\\") + "'"


def _replace(target: Path, text: str) -> None:
    unfinished = target.with_name(target.name + ".new")
    unfinished.write_text(text)
    unfinished.chmod(0o644)  # the server may run as another user, and there is nothing secret in it
    unfinished.rename(target)
