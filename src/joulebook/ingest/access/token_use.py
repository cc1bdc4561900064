"""When each token was last used: noted in memory, and written to the accounts database now and then.

A write for each request would cost too much, so a use is an entry in a dictionary. A few times a minute one
statement writes the tokens not written for `WRITTEN_SECONDS`. Several processes may do so: the time never
moves back. If the database is locked, silent or read-only, requests continue, and the write is retried later.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor

from joulebook.ingest.access.accounts import open_accounts

log = logging.getLogger(__name__)

WRITTEN_SECONDS = 60.0
"""The last use of a token is written once in this time at most; a killed process loses no more than that."""

LOOK_SECONDS = 5.0
"""How soon a use is written if the token was not written for a while."""

TIMEOUT_SECONDS = 5.0
"""How long the database may take for a write before it is cut off until the next look."""


class TokenUse:
    """Notes when tokens are used, and writes it. Start it with `run` in a task; `close` writes the rest."""

    def __init__(
        self,
        database_url: str,
        *,
        every: float = WRITTEN_SECONDS,
        look: float = LOOK_SECONDS,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        """Prepare to write to `sqlite:///path` or `postgresql://…`.

        A use is written within `look` seconds, or if the token was written less than `every` seconds ago,
        when these are over.
        """
        self._accounts = open_accounts(database_url)
        self._every = every
        self._look = look
        self._timeout = timeout
        self._used: dict[bytes, float] = {}
        self._written: dict[bytes, float] = {}
        self._failures = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="token-use")

    def note(self, digest: bytes) -> None:
        """Note that the token with this SHA-256 is used now."""
        self._used[digest] = time.time()

    async def run(self) -> None:
        """Write due uses until cancelled."""
        while True:
            # The pause doubles with each failure: the database writes every refusal to its log.
            await asyncio.sleep(min(self._look * 2 ** max(0, self._failures - 1), self._every))
            since = time.monotonic() - self._every
            self._written = {digest: at for digest, at in self._written.items() if at > since}
            await self._write({d: at for d, at in self._used.items() if d not in self._written})

    async def close(self) -> None:
        """Write the rest if the database accepts it in time; end the thread and close the connection."""
        await self._write(dict(self._used))
        self._accounts.cut()
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._accounts.close()

    async def _write(self, due: dict[bytes, float]) -> None:
        if not due:
            return
        loop = asyncio.get_running_loop()
        writing = loop.run_in_executor(self._thread, self._accounts.write_last_use, due)
        try:
            async with asyncio.timeout(self._timeout):
                await writing
        except TimeoutError:
            self._accounts.cut()
            self._fail(f"the accounts database has not answered for {self._timeout:g} s")
            return
        except Exception as exc:  # noqa: BLE001 - the task must survive any failed write
            self._fail(str(exc))
            return
        self._failures = 0
        for digest, at in due.items():
            self._written[digest] = time.monotonic()
            if self._used.get(digest) == at:
                del self._used[digest]

    def _fail(self, reason: str) -> None:
        """Retain the uses for the next look; log the first failure in a row."""
        if not self._failures:
            log.warning("the last use of tokens could not be written, which is tried again: %s", reason)
        self._failures = min(self._failures + 1, 20)
