"""The gate before any reading, the shape of small answers, and what bad parameters get."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.db import connections

from joulebook.telemetry.batch import Batch
from joulebook.telemetry.readings import to_microseconds
from joulebook.telemetry.series import ensure_series
from joulebook.telemetry.writer import write_batch

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(writer, device_id):
    """Store readings of the device: {metric: {seconds after noon: value}}."""

    def put(metrics: dict[str, dict[float, float]]) -> None:
        series = ensure_series(writer, [(device_id, metric) for metric in metrics])
        rows = [
            (series[device_id, metric], to_microseconds(NOON + timedelta(seconds=second)), value)
            for metric, readings in metrics.items()
            for second, value in readings.items()
        ]
        columns = list(zip(*rows, strict=True))
        write_batch(
            writer,
            Batch(
                np.array(columns[0], np.int32),
                np.array(columns[1], np.int64),
                np.array(columns[2], np.float64),
            ),
        )

    return put


HOUR = {"start": NOON.isoformat(), "end": (NOON + timedelta(hours=1)).isoformat()}


class TestTheGate:
    """These tests allow no database but `default`: any statement to telemetry is an error."""

    def test_charlie_gets_403_and_readings_are_not_asked(self, device, charlie, client_of):
        answer = client_of(charlie).get(f"/api/history/{device.device_id}", HOUR)
        assert answer.status_code == 403

    def test_the_answer_does_not_tell_whether_the_device_exists(self, device, charlie, client_of):
        client = client_of(charlie)
        hers = client.get(f"/api/history/{device.device_id}", HOUR)
        nobodys = client.get("/api/history/no_such_device", HOUR)
        assert (hers.status_code, hers.content) == (nobodys.status_code, nobodys.content)
        assert hers["Content-Type"] == nobodys["Content-Type"] == "application/problem+json"

    @pytest.mark.parametrize(
        "device_id", [":id", "%00", "..%2f", "..%2fadmin", "ｄevice_001", "a" * 500, "' OR 1=1 --"]
    )
    def test_odd_ids_are_refused_like_any_other(self, charlie, client_of, device_id):
        assert client_of(charlie).get(f"/api/history/{device_id}").status_code in {403, 404}

    def test_an_id_in_other_letters_is_another_device(self, device, alice, client_of):
        assert client_of(alice).get(f"/api/history/{device.device_id.upper()}").status_code == 403

    def test_bad_parameters_do_not_pass_the_gate(self, device, charlie, client_of):
        assert client_of(charlie).get(f"/api/history/{device.device_id}?range=x").status_code == 403

    def test_a_superuser_is_no_owner(self, device, charlie, client_of):
        charlie.is_superuser = charlie.is_staff = True
        charlie.save()
        assert client_of(charlie).get(f"/api/history/{device.device_id}").status_code == 403

    def test_without_signing_in_the_answer_is_401(self, device, client):
        answer = client.get(f"/api/history/{device.device_id}")
        assert answer.status_code == 401
        assert answer["WWW-Authenticate"] == "Bearer"

    @pytest.mark.parametrize("header", ["Bearer", "Bearer x", "Basic YTpi", "Bearer jbu00000000_" + "x" * 43])
    def test_a_token_that_is_none_gets_401(self, device, client, header):
        assert (
            client.get(f"/api/history/{device.device_id}", headers={"Authorization": header}).status_code
            == 401
        )

    def test_a_disabled_user_is_refused_at_once(self, device, alice, client, client_of):
        from joulebook.web.accounts.operations import issue_user_token

        signed_in = client_of(alice)
        token = issue_user_token(alice)
        alice.is_active = False
        alice.save()
        address = f"/api/history/{device.device_id}"
        assert signed_in.get(address).status_code == 401
        assert client.get(address, headers={"Authorization": f"Bearer {token}"}).status_code == 401

    def test_a_device_token_does_not_read(self, device, client):
        from joulebook.web.devices.operations import issue_device_token

        header = {"Authorization": f"Bearer {issue_device_token(device)}"}
        assert client.get(f"/api/history/{device.device_id}", headers=header).status_code == 401

    def test_this_test_would_notice_a_statement_to_telemetry(self, device):
        with pytest.raises(AssertionError, match="telemetry"):
            connections["telemetry"].cursor()


@pytest.mark.usefixtures("transaction_on_both")
class TestAnswers:
    @pytest.mark.parametrize("name", ["alice", "bob"])
    def test_owner_and_shared_with_see_the_readings(self, request, device, store, client_of, name):
        store({"power": {0: 1.5, 60: 2.5}})
        answer = client_of(request.getfixturevalue(name)).get(f"/api/history/{device.device_id}", HOUR).json()
        assert answer["series"] == [
            {"metric": "power", "name": "Power", "unit": "W", "kind": "gauge", "value": [1.5, 2.5]}
        ]
        assert answer["time"] == [NOON.timestamp(), NOON.timestamp() + 60]
        assert (answer["device"], answer["tz"]) == (device.device_id, "Europe/Berlin")

    def test_a_share_that_is_withdrawn_ends_at_once(self, device, bob, client_of):
        client = client_of(bob)
        assert client.get(f"/api/history/{device.device_id}").status_code == 200
        device.shares.all().delete()
        assert client.get(f"/api/history/{device.device_id}").status_code == 403

    def test_a_user_token_reads_and_its_use_is_noted(self, device, alice, client):
        from joulebook.web.accounts.operations import issue_user_token

        header = {"Authorization": f"Bearer {issue_user_token(alice)}"}
        assert client.get(f"/api/history/{device.device_id}", headers=header).status_code == 200
        assert alice.tokens.get().last_used_at is not None
        alice.tokens.get().revoke(now=datetime.now(UTC))
        assert client.get(f"/api/history/{device.device_id}", headers=header).status_code == 401

    def test_metrics_of_different_pace_share_one_axis_with_gaps(self, device, alice, store, client_of):
        store({"power": {0: 1, 1: 2, 2.5: 3}, "voltage": {1: 230}})
        answer = client_of(alice).get(f"/api/history/{device.device_id}", HOUR).json()
        start = NOON.timestamp()
        assert answer["time"] == [start, start + 1, start + 2.5]
        assert [series["value"] for series in answer["series"]] == [[1, 2, 3], [None, 230, None]]

    def test_an_answer_that_has_not_changed_is_not_sent_again(self, device, alice, store, client_of):
        store({"power": {0: 1.5, 60: 2.5}})
        client, address = client_of(alice), f"/api/history/{device.device_id}"
        first = client.get(address, HOUR)
        assert first.headers["Cache-Control"] == "private, no-cache"
        again = client.get(address, HOUR, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
        store({"power": {30: 2.0}})
        late = client.get(address, HOUR, headers={"If-None-Match": first.headers["ETag"]})
        assert (late.status_code, late.json()["points"]) == (200, 3)

    def test_an_answer_is_compressed_for_who_takes_it(self, device, alice, store, client_of):
        store({"power": {second: second % 7 for second in range(600)}})
        client, address = client_of(alice), f"/api/history/{device.device_id}"
        plain = client.get(address, HOUR)
        packed = client.get(address, HOUR, headers={"Accept-Encoding": "gzip"})
        assert packed.headers["Content-Encoding"] == "gzip"
        assert len(packed.content) < len(plain.content) / 3
        assert gzip.decompress(packed.content) == plain.content

    def test_a_bucket_without_readings_is_null_with_a_count_of_zero(self, device, alice, store, client_of):
        store({"power": {0: 1, 1: 3, **{1800 + second: 10 for second in range(20)}}})
        answer = client_of(alice).get(f"/api/history/{device.device_id}", {**HOUR, "max_points": 12}).json()
        [series] = answer["series"]
        assert answer["resolution"] == "5m"
        assert series["mean"] == [2, None, None, None, None, None, 10, None, None, None, None, None]
        assert series["count"] == [2, 0, 0, 0, 0, 0, 20, 0, 0, 0, 0, 0]

    def test_a_slow_meter_is_shown_raw_in_any_range_that_holds_few_readings(
        self, device, alice, store, client_of
    ):
        store({"energy": {day * 86_400: day for day in range(20)}})
        window = {"start": NOON.isoformat(), "end": (NOON + timedelta(days=30)).isoformat()}
        answer = client_of(alice).get(f"/api/history/{device.device_id}", window).json()
        assert (answer["resolution"], answer["points"]) == ("raw", 20)

    def test_single_readings_of_a_counter_tell_how_far_it_rose_since_the_one_before(
        self, device, alice, store, client_of
    ):
        # The reading before the range counts; a reset, a dip and a silence are what they are in buckets.
        store(
            {
                "energy": {-60: 95, 0: 100, 60: 103, 120: 4, 180: 3.9, 240: 6, 3000: 7, 3060: 7.1},
                "power": {30: 1},
            }
        )
        answer = client_of(alice).get(f"/api/history/{device.device_id}", HOUR).json()
        energy, power = answer["series"]
        assert (answer["resolution"], answer["points"]) == ("raw", 8)
        assert energy["value"] == [100, None, 103, 4, 3.9, 6, 7, 7.1]
        assert energy["increase"] == pytest.approx([5, 0, 3, 4, 0, 2, 0, 0.1])
        assert energy["unallocated"] == [0, 0, 0, 0, 0, 0, 1, 0]
        assert energy["resets"] == [0, 0, 0, 1, 0, 0, 0, 0]
        assert power.keys() == {"metric", "name", "unit", "kind", "value"}

    def test_a_fast_device_is_downsampled_even_in_a_short_range(self, device, alice, store, client_of):
        store({"power": {number / 10: number for number in range(6000)}})
        window = {"start": NOON.isoformat(), "end": (NOON + timedelta(minutes=10)).isoformat()}
        answer = client_of(alice).get(f"/api/history/{device.device_id}", window).json()
        assert (answer["resolution"], answer["points"]) == ("1s", 600)
        assert set(answer["series"][0]["count"]) == {10}

    def test_many_metrics_with_instants_of_their_own_are_downsampled_together(
        self, device, alice, store, client_of
    ):
        store({f"metric_{number}": {60 * row + number: row for row in range(30)} for number in range(50)})
        answer = client_of(alice).get(f"/api/history/{device.device_id}", {**HOUR, "max_points": 100}).json()
        assert (answer["resolution"], answer["points"]) == ("1m", 60)
        assert {sum(series["count"]) for series in answer["series"]} == {30}

    def test_the_largest_readings_can_be_summed(self, device, alice, store, client_of):
        store({"power": {second: (-1) ** second * 1e100 for second in range(1200)}})
        client = client_of(alice)
        answer = client.get(f"/api/history/{device.device_id}", {**HOUR, "max_points": 12}).json()
        assert answer["series"][0]["max"][0] == 1e100
        assert client.get("/").status_code == 200

    def test_only_the_asked_metrics_come(self, device, alice, store, client_of):
        store({"power": {0: 1}, "voltage": {0: 2}, "current": {0: 3}})
        query = {**HOUR, "metric": ["voltage", "power"]}
        answer = client_of(alice).get(f"/api/history/{device.device_id}", query).json()
        assert [series["metric"] for series in answer["series"]] == ["voltage", "power"]

    def test_the_owners_unit_wins_over_the_guess(self, device, alice, store, client_of):
        from joulebook.web.devices.operations import set_first_meaning

        store({"power": {0: 1}})
        set_first_meaning(device, "power", unit="kW", kind="")
        answer = client_of(alice).get(f"/api/history/{device.device_id}", HOUR).json()
        assert answer["series"][0]["unit"] == "kW"

    def test_a_device_without_readings_has_an_empty_answer(self, device, alice, client_of):
        for window in ({"range": "all"}, {"range": "10m"}, HOUR):
            answer = client_of(alice).get(f"/api/history/{device.device_id}", window).json()
            assert (answer["points"], answer["time"], answer["series"]) == (0, [], [])

    @pytest.mark.parametrize(
        ("query", "parameter"),
        [
            ("range=1w", "range"),
            ("range=1h');select pg_sleep(5)--", "range"),
            ("range=1h&range=24h", "range"),
            ("range=1h&start=2026-01-01T00:00:00Z", "range"),
            ("start=yesterday", "start"),
            ("start=2026-01-01T00:00:00", "start"),
            ("end=2026-01-01T00:00:00Z", "start"),
            ("start=2026-01-02T00:00:00Z&end=2026-01-01T00:00:00Z", "start"),
            ("start=1900-01-01T00:00:00Z", "start"),
            ("start=2026-01-01T00:00:00Z&end=9999-12-31T23:59:59-12:00", "end"),
            ("tz=Europe/Atlantis", "tz"),
            ("tz=../../etc/passwd", "tz"),
            ("tz=", "tz"),
            ("max_points=1e9", "max_points"),
            ("max_points=0", "max_points"),
            ("max_points=5001", "max_points"),
            ("max_points=" + "9" * 5000, "max_points"),
            ("max_points=1h')%3bselect pg_sleep(5)--", "max_points"),
            ("metric=nothing", "metric"),
            ("format=xml", "format"),
            ("order=time", "order"),
        ],
    )
    def test_a_bad_parameter_is_named(self, device, alice, client_of, query, parameter):
        answer = client_of(alice).get(f"/api/history/{device.device_id}?{query}")
        assert answer.status_code == 400
        assert answer["Content-Type"] == "application/problem+json"
        body = answer.json()
        assert body["parameter"] == parameter
        assert parameter in body["detail"]

    def test_the_widest_range_is_answered(self, device, alice, store, client_of):
        store({"power": dict.fromkeys(range(1000), 1.0)})
        window = {"start": "1970-01-01T00:00:00Z", "end": "2199-01-01T00:00:00Z", "max_points": 5000}
        answer = client_of(alice).get(f"/api/history/{device.device_id}", window).json()
        assert answer["points"] <= 5000
        assert sum(filter(None, answer["series"][0].get("count", [1000]))) == 1000


class TestRightsOfTheWeb:
    """What Django's own connection to telemetry may not do, in PostgreSQL's words."""

    STATEMENTS = (
        "INSERT INTO readings (time, value, series_id) VALUES (now(), 1, 1)",
        "UPDATE readings SET value = 0",
        "DELETE FROM readings",
        "TRUNCATE readings",
        "DROP TABLE readings",
        "CREATE TABLE mine (id int)",
        "INSERT INTO series (device_id, metric) VALUES ('a', 'b')",
        "DELETE FROM series",
        "COPY readings TO PROGRAM 'cat'",
        "SELECT pg_read_file('/etc/passwd')",
    )

    @pytest.fixture
    def session(self, transaction_on_both):
        """A session of Django's telemetry connection, outside the test's transaction."""
        connection = connections["telemetry"].copy()
        with connection.cursor() as cursor:
            yield cursor
        connection.close()

    @pytest.mark.parametrize("statement", STATEMENTS)
    def test_a_write_is_refused_even_after_read_only_was_switched_off(self, session, statement):
        from django.db import ProgrammingError

        session.execute("SET default_transaction_read_only = off")
        session.execute("SHOW transaction_read_only")
        assert session.fetchone() == ("off",)
        with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"):
            session.execute(statement)

    def test_a_session_begins_read_only_and_with_a_time_limit(self, session):
        session.execute("SHOW default_transaction_read_only")
        assert session.fetchone() == ("on",)
        session.execute("SHOW statement_timeout")
        assert session.fetchone() == ("30s",)

    def test_the_orm_cannot_write_either(self, transaction_on_both):
        from django.db import Error, transaction

        from joulebook.web.readings.models import Reading, Series

        with pytest.raises(Error), transaction.atomic("telemetry"):
            Series.objects.create(id=1, device_id="a", metric="b", created_at=NOON)
        with pytest.raises(Error), transaction.atomic("telemetry"):
            Reading.objects.all().delete()


def test_a_django_developer_can_average_in_buckets(transaction_on_both, device_id, store):
    from django.db.models import Avg, Count

    from joulebook.web.readings.expressions import TimeBucket
    from joulebook.web.readings.models import Reading

    store({"power": {second: second for second in range(900)}})
    bucketed = Reading.objects.filter(series__device_id=device_id).annotate(
        bucket=TimeBucket("5 minutes", "time")
    )
    rows = list(bucketed.values("bucket").annotate(Avg("value"), Count("value")).order_by("bucket"))
    assert [row["bucket"] for row in rows] == [NOON + timedelta(minutes=5 * number) for number in range(3)]
    assert [row["value__avg"] for row in rows] == [149.5, 449.5, 749.5]
    assert {row["value__count"] for row in rows} == {300}
    weeks = Reading.objects.filter(series__device_id=device_id).annotate(
        week=TimeBucket("1 week", "time", origin=datetime(2026, 2, 25, tzinfo=UTC))
    )
    assert set(weeks.values_list("week", flat=True)) == {datetime(2026, 2, 25, tzinfo=UTC)}


def test_a_django_developer_can_average_in_days_of_a_zone(transaction_on_both, device_id, store):
    from django.db.models import Count

    from joulebook.web.readings.expressions import CalendarBucket
    from joulebook.web.readings.models import Reading

    # Three days by quarters of an hour, the second with an hour less: clocks change at 01:00 UTC.
    first, last = datetime(2026, 3, 27, 23, tzinfo=UTC), datetime(2026, 3, 30, 22, tzinfo=UTC)
    quarters = int((last - first).total_seconds()) // 900
    since_noon = int((first - NOON).total_seconds())
    store({"power": {since_noon + 900 * number: number for number in range(quarters)}})
    mine = Reading.objects.filter(series__device_id=device_id)

    def counts(step, start, end):
        bucket = CalendarBucket(step, "time", start=start, end=end, time_zone="Europe/Berlin")
        counted = mine.annotate(bucket=bucket).values("bucket").annotate(readings=Count("value"))
        return {row["bucket"]: row["readings"] for row in counted.order_by("bucket")}

    days = [datetime(2026, 3, 27, 23), datetime(2026, 3, 28, 23), datetime(2026, 3, 29, 22)]
    assert counts("1d", first, last) == dict(
        zip([day.replace(tzinfo=UTC) for day in days], (96, 92, 96), strict=True)
    )
    # What lies before the asked range has no bucket.
    assert counts("1d", first + timedelta(days=1), last)[None] == 96
    assert counts("1mo", first, last) == {datetime(2026, 2, 28, 23, tzinfo=UTC): quarters}
    with pytest.raises(ValueError, match="below a day use TimeBucket"):
        CalendarBucket("1h", "time", start=first, end=last, time_zone="Europe/Berlin")


def test_the_migrations_of_readings_go_back_and_forth(telemetry, joulebook):
    """In a database of their own, twice, with what is left counted in between."""
    import os

    import psycopg

    from joulebook.config import Config
    from joulebook.embedded import EmbeddedDatabase

    server = EmbeddedDatabase(Config.from_environ())
    server.create_database("migrations_test")
    names = {
        "JOULEBOOK_TELEMETRY_URL": server.url("reader", database="migrations_test"),
        "JOULEBOOK_TELEMETRY_WRITER_URL": server.url("writer", database="migrations_test"),
        "JOULEBOOK_TELEMETRY_OWNER_URL": server.url("owner", database="migrations_test"),
    }
    import subprocess
    import sys
    from pathlib import Path

    def manage(*words: str) -> None:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).parents[3] / "manage.py"), *words],
            env={**os.environ, **names},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def tables() -> set[str]:
        with psycopg.connect(server.superuser_url(database="migrations_test")) as conn:
            return {
                row[0]
                for row in conn.execute(
                    "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'django_migrations'"
                )
            }

    try:
        for _ in range(2):
            manage("migrate", "--database", "telemetry_owner")
            assert {
                "series",
                "readings",
                "readings_1m",
                "readings_5m",
                "readings_1h",
                "rollup_dirty",
            } <= tables()
            manage("migrate", "--database", "telemetry_owner")
            manage("migrate", "--database", "telemetry_owner", "readings", "zero")
            assert tables() == set()
    finally:
        server.drop_database("migrations_test")


def test_the_description_of_the_api_is_whole_and_names_no_key_twice(client, db):
    import json

    def without_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
        assert len({key for key, _ in pairs}) == len(pairs), [key for key, _ in pairs]
        return dict(pairs)

    answer = client.get("/api/openapi.json")
    document = json.loads(answer.content, object_pairs_hook=without_twins)
    operation = document["paths"]["/api/history/{device_id}"]["get"]
    assert set(operation["responses"]) == {"200", "400", "401", "403", "503"}
    assert {"metric", "start", "end", "range", "max_points", "tz"} <= {
        one["name"] for one in operation["parameters"]
    }
