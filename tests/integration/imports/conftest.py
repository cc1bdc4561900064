"""A telemetry database of its own for tests whose workers also roll up, and processes of these workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..telemetry_database import telemetry_database
from ..worker_process import Worker

DATABASE = "import_tests"


@pytest.fixture(scope="session")
def worker_urls(telemetry: dict[str, str], joulebook: Callable[..., object]) -> Iterator[dict[str, str]]:
    """The addresses of the roles in a migrated telemetry database."""
    with telemetry_database(DATABASE, telemetry, joulebook) as urls:
        yield urls


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
