"""`GET /api/export/<device>`: who gets it, what is refused, what the file is called and holds."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from django.core.signals import request_finished
from django.db import close_old_connections

from joulebook.web.history.export import api as export_api
from joulebook.web.history.export.api import EXPORTS_OF_ONE_PERSON

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from joulebook.web.devices.models import Device

NOON = 1_772_366_400_000_000
"""2026-03-01T12:00:00Z"""
RANGE = {"start": "2026-03-01T12:00:00Z", "end": "2026-03-01T13:00:00Z"}
ClientOf = Callable[..., "Client"]


def content(answer: Any) -> bytes:
    """Take an answer to its end; Django's test client then closes it."""
    return b"".join(answer.streaming_content)


def leave(answer: Any) -> None:
    """Close an answer as a server does whose client has gone, but for the databases that the test needs."""
    request_finished.disconnect(close_old_connections)
    answer.close()
    request_finished.connect(close_old_connections)


class TestTheGate:
    """These tests allow no database but `default`: any statement to telemetry is an error."""

    def test_charlie_gets_the_answer_of_a_device_that_does_not_exist(
        self, device: Device, charlie: User, client_of: ClientOf
    ) -> None:
        client = client_of(charlie)
        hers = client.get(f"/api/export/{device.device_id}")
        nobodys = client.get("/api/export/no_such_device")
        history = client.get(f"/api/history/{device.device_id}")
        assert (hers.status_code, hers.content) == (nobodys.status_code, nobodys.content)
        assert (hers.status_code, hers.content) == (403, history.content)
        assert client.get(f"/api/export/{device.device_id}?format=x").content == hers.content

    def test_a_share_that_is_withdrawn_ends_at_once(
        self, device: Device, bob: User, client_of: ClientOf
    ) -> None:
        device.shares.all().delete()
        assert client_of(bob).get(f"/api/export/{device.device_id}").status_code == 403

    def test_without_signing_in_the_answer_is_401(self, device: Device, client: Client) -> None:
        answer = client.get(f"/api/export/{device.device_id}")
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"] == "Bearer"

    @pytest.mark.parametrize(
        ("query", "parameter"),
        [
            ({"format": "xlsx"}, "format"),
            ({"layout": "tall"}, "layout"),
            ({"range": "2h"}, "range"),
            ({"start": "yesterday"}, "start"),
            ({"start": "2026-03-01T12:00:00"}, "start"),
            ({"end": "2026-03-01T12:00:00Z"}, "start"),
            ({"start": "2026-03-02T00:00:00Z", "end": "2026-03-01T00:00:00Z"}, "start"),
            ({"range": "1h", "start": "2026-03-01T12:00:00Z"}, "range"),
            ({"tz": "Berlin"}, "tz"),
            ({"tz": "Europe/Berlin", "format": "parquet"}, "tz"),
            ({"gzip": "yes"}, "gzip"),
            ({"gzip": "1", "format": "arrow"}, "gzip"),
            ({"max_points": "100"}, "max_points"),
            ({"format": ["csv", "arrow"]}, "format"),
        ],
    )
    def test_a_bad_parameter_is_named_before_any_reading_is_asked(
        self, device: Device, alice: User, client_of: ClientOf, query: Mapping[str, Any], parameter: str
    ) -> None:
        answer = client_of(alice).get(f"/api/export/{device.device_id}", query)
        assert (answer.status_code, answer.json()["parameter"]) == (400, parameter)
        assert answer["Content-Type"] == "application/problem+json"


@pytest.mark.usefixtures("transaction_on_both")
class TestFiles:
    @pytest.fixture
    def fetch(self, device: Device, alice: User, client_of: ClientOf) -> Iterator[Callable[..., Any]]:
        """Ask as Alice; answers an answer, which is closed at the end of the test if not before."""
        client = client_of(alice)
        answers = []

        def fetch(*, headers: Mapping[str, str] | None = None, **query: Any) -> Any:
            answers.append(client.get(f"/api/export/{device.device_id}", query, headers=headers))
            return answers[-1]

        yield fetch
        for answer in answers:
            leave(answer)

    @pytest.fixture(autouse=True)
    def some_readings(self, put: Callable[..., None]) -> None:
        put({
            "power": [(NOON - 1, 0.5), (NOON, 1.5), (NOON + 500_000, -2.0), (NOON + 3_600_000_000, 9.0)],
            "voltage": [(NOON, 230.0)],
        })  # fmt: skip

    @pytest.mark.parametrize("name", ["alice", "bob"])
    def test_owner_and_shared_with_get_the_readings(
        self, request: pytest.FixtureRequest, device: Device, client_of: ClientOf, name: str
    ) -> None:
        client = client_of(request.getfixturevalue(name))
        answer = client.get(f"/api/export/{device.device_id}", RANGE)
        assert answer.status_code == 200
        assert content(answer).decode() == (
            '"time",power,voltage\n2026-03-01T12:00:00Z,1.5,230.0\n2026-03-01T12:00:00.500Z,-2.0,\n'
        )

    def test_the_file_has_a_safe_name_and_its_type(self, device: Device, fetch: Callable[..., Any]) -> None:
        answer = fetch(**RANGE)
        assert answer["Content-Type"] == "text/csv; charset=utf-8"
        assert answer["Cache-Control"] == "no-store"
        assert answer["Content-Disposition"] == (
            f'attachment; filename="{device.device_id}_20260301T120000Z-20260301T130000Z.csv"'
        )
        for query, end, media_type in [
            ({"format": "parquet"}, '_all.parquet"', "application/vnd.apache.parquet"),
            ({"format": "arrow"}, '_all.arrows"', "application/vnd.apache.arrow.stream"),
            ({"gzip": "1"}, '_all.csv.gz"', "application/gzip"),
        ]:
            file = fetch(**query)
            assert file["Content-Disposition"].endswith(end)
            assert file["Content-Type"] == media_type

    def test_a_colon_in_an_id_is_none_in_the_name(
        self, alice: User, client_of: ClientOf, device_id: str
    ) -> None:
        from joulebook.web.devices.operations import create_device

        create_device(f"a:{device_id}", owner=alice)
        answer = client_of(alice).get(f"/api/export/a:{device_id}")
        assert f'filename="a_{device_id}_all.csv"' in answer["Content-Disposition"]
        assert content(answer) == b'"time"\n'

    def test_all_is_the_default_and_has_no_end(
        self, fetch: Callable[..., Any], put: Callable[..., None]
    ) -> None:
        ahead = int(datetime.now(UTC).timestamp() + 300) * 1_000_000
        put({"power": [(ahead, 7.0)]})
        assert len(content(fetch()).splitlines()) == 6
        assert content(fetch(range="all")) == content(fetch())

    def test_metrics_can_be_chosen_in_an_order(self, fetch: Callable[..., Any]) -> None:
        header = content(fetch(metric=["voltage", "power", "voltage"])).splitlines()[0]
        assert header == b'"time",voltage,power'
        answer = fetch(metric="gas")
        assert (answer.status_code, answer.json()["parameter"]) == (400, "metric")

    def test_the_long_layout_has_a_row_a_reading_and_times_in_a_zone(self, fetch: Callable[..., Any]) -> None:
        assert content(fetch(layout="long", tz="Europe/Berlin", **RANGE)).decode() == (
            '"time","metric",value\n2026-03-01T13:00:00+01:00,power,1.5\n'
            "2026-03-01T13:00:00+01:00,voltage,230.0\n2026-03-01T13:00:00.500+01:00,power,-2.0\n"
        )

    def test_parquet_and_arrow_hold_the_same(self, fetch: Callable[..., Any]) -> None:
        parquet = pl.read_parquet(io.BytesIO(content(fetch(format="parquet"))))
        arrow = pl.read_ipc_stream(io.BytesIO(content(fetch(format="arrow"))))
        assert parquet.equals(arrow)
        assert parquet["power"].to_list() == [0.5, 1.5, -2.0, 9.0]
        assert parquet["time"].to_physical().to_list()[1] == NOON

    def test_gzip_is_used_where_it_is_taken_and_never_twice(self, fetch: Callable[..., Any]) -> None:
        plain = content(fetch())
        packed = fetch(headers={"Accept-Encoding": "gzip, deflate, br"})
        assert packed["Content-Encoding"] == "gzip"
        assert packed["Vary"].count("Accept-Encoding") == 1
        assert gzip.decompress(content(packed)) == plain
        refused = fetch(headers={"Accept-Encoding": "gzip;q=0, br"})
        assert not refused.has_header("Content-Encoding")
        assert content(refused) == plain
        parquet = fetch(format="parquet", headers={"Accept-Encoding": "gzip"})
        assert not parquet.has_header("Content-Encoding")
        assert content(parquet).startswith(b"PAR1")
        file = fetch(gzip="1", headers={"Accept-Encoding": "gzip"})
        assert not file.has_header("Content-Encoding")
        assert file["Content-Type"] == "application/gzip"
        assert gzip.decompress(content(file)) == plain

    def test_names_that_a_spreadsheet_would_compute_are_kept_from_it(
        self, fetch: Callable[..., Any], put: Callable[..., None]
    ) -> None:
        put({'=HYPERLINK("http://x","y")': [(NOON, -1.5)], "-power": [(NOON, 2.0)]})
        text = content(fetch(layout="long", start=RANGE["start"], end="2026-03-01T12:00:00.1Z")).decode()
        assert "Z,'-power,2.0\n" in text
        assert 'Z,"\'=HYPERLINK(""http://x"",""y"")",-1.5\n' in text
        wide = content(fetch(**RANGE)).decode().splitlines()[0]
        assert wide == '"time",\'-power,"\'=HYPERLINK(""http://x"",""y"")",power,voltage'

    def test_a_person_has_some_exports_at_once_and_each_that_ends_makes_room(
        self, fetch: Callable[..., Any]
    ) -> None:
        running = [fetch() for _ in range(EXPORTS_OF_ONE_PERSON)]
        assert {answer.status_code for answer in running} == {200}
        late = fetch()
        assert (late.status_code, late["Retry-After"]) == (503, "30")
        assert late["Content-Type"] == "application/problem+json"
        assert fetch(metric="gas").status_code == 503
        leave(running[0])
        content(running[1])
        again = [fetch(), fetch()]
        assert {answer.status_code for answer in again} == {200}
        for answer in [*running, *again]:
            leave(answer)
        for _ in range(EXPORTS_OF_ONE_PERSON + 1):
            assert fetch(metric="gas").status_code == 400

    def test_a_statement_that_takes_too_long_is_a_503_in_place_of_half_a_file(
        self, fetch: Callable[..., Any], put: Callable[..., None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from django.db import connections

        put({"power": [(NOON + n, 1.0) for n in range(1, 50_000)]})
        options = connections["telemetry"].settings_dict["OPTIONS"]
        monkeypatch.setitem(options, "options", "-c statement_timeout=1ms")
        answer = fetch()
        assert (answer.status_code, answer["Retry-After"]) == (503, "5")
        assert not export_api._slots._held
