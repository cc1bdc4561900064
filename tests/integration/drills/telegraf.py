"""A client that does with answers what Telegraf's two outputs for InfluxDB do, and counts what it dropped."""

from __future__ import annotations

import gzip
import threading
import time
from collections import Counter, deque

import httpx


class TelegrafOutput:
    """Buffers lines and writes them in batches, oldest first.

    `v2`: 204 is success; 400, 406 and 422 drop the batch; 401 and 403 keep it; 413 splits it; 429 and 5xx
    keep it for `Retry-After` seconds. `v1`: 204 is success; every 4xx drops the batch, else it is kept.
    """

    def __init__(self, url: str, token: str, *, version: str, batch_size: int) -> None:
        self.token = token
        self.statuses: Counter[int] = Counter()
        self.dropped: list[str] = []
        self.without_retry_after = 0
        self._v2 = version == "v2"
        self._url = url + ("/api/v2/write?org=home&bucket=energy" if self._v2 else "/write?db=telegraf")
        self._batch_size = batch_size
        self._buffer: deque[str] = deque()
        self._http = httpx.Client(timeout=30)

    def __len__(self) -> int:
        return len(self._buffer)

    def close(self) -> None:
        self._http.close()

    def add(self, lines: list[str]) -> None:
        """Buffer lines, as inputs do."""
        self._buffer.extend(lines)

    def flush(self, given_up: threading.Event) -> None:
        """Write until the buffer is empty."""
        while self._buffer and not given_up.is_set():
            size = min(self._batch_size, len(self._buffer))
            batch = [self._buffer[place] for place in range(size)]
            pause = self._write(batch)
            if pause is None:
                for _ in batch:
                    self._buffer.popleft()
            else:
                given_up.wait(pause)

    def _write(self, lines: list[str]) -> float | None:
        """Write lines; return the seconds after which to try them again, or None where they are dealt with."""
        try:
            answer = self._http.post(
                self._url,
                content=iter([gzip.compress("\n".join(lines).encode() + b"\n")]),
                headers={
                    "Authorization": f"Token {self.token}",
                    "Content-Type": "text/plain; charset=utf-8",
                    "Content-Encoding": "gzip",
                    "User-Agent": "Telegraf",
                },
            )
        except httpx.TransportError:
            self.statuses[0] += 1
            time.sleep(0.05)
            return 0.1
        status = answer.status_code
        self.statuses[status] += 1
        if status == 204:
            return None
        if self._v2 and status == 413 and len(lines) > 1:
            middle = len(lines) // 2
            halves = [self._write(lines[:middle]), self._write(lines[middle:])]
            pauses = [pause for pause in halves if pause is not None]
            return max(pauses, default=None)
        if status in ({400, 406, 413, 422} if self._v2 else range(400, 500)):
            self.dropped.append(answer.text)
            return None
        if status in {429, 503}:
            self.without_retry_after += "Retry-After" not in answer.headers
            return (
                float(answer.headers.get("Retry-After", 1)) / 4
            )  # a quarter, or the drill would mostly wait
        return 0.2
