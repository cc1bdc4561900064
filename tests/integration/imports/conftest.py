"""A telemetry database of its own for tests whose workers also roll up, and processes of these workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg.conninfo import make_conninfo

from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase

from .working import Worker

DATABASE = "import_tests"


@pytest.fixture(scope="session")
def worker_urls(telemetry: dict[str, str], joulebook: Callable[..., object]) -> Iterator[dict[str, str]]:
    """The addresses of the roles in a migrated telemetry database."""
    server = EmbeddedDatabase(Config.from_environ())
    server.create_database(DATABASE)
    urls = {role: make_conninfo(url, dbname=DATABASE) for role, url in telemetry.items()}
    migrated = joulebook(
        "migrate",
        JOULEBOOK_TELEMETRY_URL=server.url("reader", database=DATABASE),
        JOULEBOOK_TELEMETRY_WRITER_URL=server.url("writer", database=DATABASE),
        JOULEBOOK_TELEMETRY_OWNER_URL=server.url("owner", database=DATABASE),
    )
    assert migrated.returncode == 0, migrated.stderr  # type: ignore[attr-defined]
    yield urls
    server.drop_database(DATABASE)


@pytest.fixture
def start_worker(
    worker_urls: dict[str, str], transactional_db: None, tmp_path: Path
) -> Iterator[Callable[[], Worker]]:
    """Start a worker process, which ends with the test."""
    workers: list[Worker] = []

    def start() -> Worker:
        workers.append(Worker(worker_urls, tmp_path / f"worker-{len(workers)}.log"))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()
