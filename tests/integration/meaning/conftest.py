"""Alice's home over real HTTP: what a device sends, and what its owner then reads."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import httpx
import pytest

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from joulebook.web.devices.models import Device

BERLIN = ZoneInfo("Europe/Berlin")


def berlin(text: str) -> datetime:
    """Return the instant at which Berlin's clock shows a time such as `2026-09-01T00:00`."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN)


@dataclass
class Home:
    """Alice's device in Berlin: `sender` is the device, `reader` a script of Alice's."""

    device: str
    sender: httpx.Client
    reader: httpx.Client

    def send(self, packets: Iterable[dict[str, Any]], *, at_once: int = 5000) -> None:
        """Send packets; all of them must be stored."""
        waiting = list(packets)
        for place in range(0, len(waiting), at_once):
            answer = self.sender.post("/api/readings", json=waiting[place : place + at_once])
            assert answer.status_code == 200, answer.text[:2000]
            assert not answer.json().get("ignored"), answer.text[:2000]

    def send_values(self, metric: str, readings: Iterable[tuple[datetime, float]]) -> None:
        """Send the readings of one metric."""
        self.send({"timestamp": time.isoformat(), metric: value} for time, value in readings)

    def write(self, lines: Iterable[str]) -> None:
        """Send line protocol with times in seconds."""
        answer = self.sender.post("/write", params={"precision": "s"}, content="\n".join(lines))
        assert answer.status_code == 204, answer.text[:2000]

    def wait_for(self, is_so: Callable[[], bool], *, seconds: float = 60) -> None:
        """Return when a statement is true: what an owner changes reaches ingest within some seconds."""
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline
            time.sleep(0.5)

    def means(self, metric: str, **fields: Any) -> dict[str, Any]:
        """Say what a metric means, and return the answer."""
        answer = self.reader.patch(f"/api/devices/{self.device}/metrics/{quote(metric)}", json=fields)
        assert answer.status_code == 200, answer.text[:2000]
        found: dict[str, Any] = answer.json()
        return found

    def metrics(self) -> dict[str, dict[str, Any]]:
        """Return what the metrics are taken for, by name."""
        answer = self.reader.get(f"/api/devices/{self.device}/metrics")
        assert answer.status_code == 200, answer.text[:2000]
        return {each["metric"]: each for each in answer.json()["metrics"]}

    def ask(self, path: str, **query: Any) -> dict[str, Any]:
        """Ask `history` or `energy`."""
        query = {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in query.items()
        }
        answer = self.reader.get(f"/api/{path}/{self.device}", params=query)
        assert answer.status_code == 200, answer.text[:2000]
        found: dict[str, Any] = answer.json()
        return found

    def energy(self, metric: str, start: str, end: str, **query: Any) -> dict[str, Any]:
        """Return the energy of one metric from one local date to another."""
        answer = self.ask("energy", metric=metric, start=berlin(start), end=berlin(end), **query)
        [series] = answer["series"]
        found: dict[str, Any] = series
        return found

    def history(self, metric: str, start: str, end: str, **query: Any) -> dict[str, Any]:
        """Return the history of one metric from one local time to another."""
        answer = self.ask("history", metric=metric, start=berlin(start), end=berlin(end), **query)
        [series] = answer["series"]
        found: dict[str, Any] = series | {"resolution": answer["resolution"], "time": answer["time"]}
        return found


@pytest.fixture
def home(web: Any, ingest: Any, alice: User, device: Device, device_token: str) -> Iterator[Home]:
    """Alice's device and her script."""
    from joulebook.web.accounts.operations import issue_user_token

    sender = {"Authorization": f"Bearer {device_token}"}
    reader = {"Authorization": f"Bearer {issue_user_token(alice)}"}
    with (
        httpx.Client(base_url=ingest.url, headers=sender, timeout=120) as sending,
        httpx.Client(base_url=web.url, headers=reader, timeout=120) as reading,
    ):
        yield Home(device.device_id, sending, reading)
