"""Telegraf, Home Assistant and others write line protocol over real HTTP, as each of them does it."""

from __future__ import annotations

import base64
import gzip
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from ...conftest import Service, free_port, run_joulebook
from .conftest import T0

NS = int(T0.timestamp()) * 10**9
V1, V2 = "/write?db=telegraf", "/api/v2/write?org=home&bucket=energy"


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@pytest.fixture
def write(ingest, device_token):
    """Send line protocol as the device and return the response."""

    def send(
        body: str | bytes, path: str = V2, *, token: str = device_token, **headers: str
    ) -> httpx.Response:
        headers.setdefault("Authorization", f"Token {token}")
        content = body if isinstance(body, bytes) else body.encode()
        return httpx.post(ingest.url + path, content=content, headers=headers)

    return send


@pytest.fixture(scope="module")
def without_database(telemetry):
    """An ingest whose database does not answer."""
    nowhere = f"postgresql://joulebook_writer@127.0.0.1:{free_port()}/joulebook?connect_timeout=2"
    service = Service("ingest", free_port(), {"JOULEBOOK_TELEMETRY_WRITER_URL": nowhere})
    service.start()
    yield service
    service.stop()


class TestTelegraf:
    def test_the_v1_output_creates_its_database_and_writes(self, ingest, device_token, stored):
        headers = {"Authorization": basic("telegraf", device_token), "User-Agent": "Telegraf/1.33"}
        created = httpx.post(f"{ingest.url}/query", data={"q": 'CREATE DATABASE "telegraf"'}, headers=headers)
        assert created.status_code == 200
        assert created.json() == {"results": [{"statement_id": 0}]}
        body = gzip.compress(
            f"cpu,cpu=cpu0,host=web-1 usage_idle=98.5,usage_user=1.5 {NS}\n"
            f'system,host=web-1 n_cpus=2i,uptime_format="1 day,  3:00",load1=0.25 {NS}\n'.encode()
        )
        answer = httpx.post(
            ingest.url + V1,
            content=iter([body]),
            headers={**headers, "Content-Type": "text/plain; charset=utf-8", "Content-Encoding": "gzip"},
        )
        assert (answer.status_code, answer.content) == (204, b"")
        assert stored() == {
            ("cpu.usage_idle{cpu=cpu0,host=web-1}", 0): 98.5,
            ("cpu.usage_user{cpu=cpu0,host=web-1}", 0): 1.5,
            ("system.n_cpus{host=web-1}", 0): 2,
            ("system.load1{host=web-1}", 0): 0.25,
        }

    def test_the_v2_output_writes(self, write, stored):
        body = gzip.compress(f"modbus,name=meter power=1240.5,energy=77u,ok=true {NS}\n".encode())
        answer = write(body, **{"Content-Encoding": "gzip", "Content-Type": "text/plain; charset=utf-8"})
        assert (answer.status_code, answer.content) == (204, b"")
        assert stored() == {
            ("modbus.power{name=meter}", 0): 1240.5,
            ("modbus.energy{name=meter}", 0): 77,
            ("modbus.ok{name=meter}", 0): 1,
        }

    def test_a_batch_with_bad_lines_is_stored_but_for_them_and_says_which(self, write, stored):
        body = f"power value=1 {NS}\npower value=oops {NS}\n\npower,device_id=other value=2 {NS}\npower value=3 {NS + 10**9}"
        for path, key in ((V1, "error"), (V2, "message")):
            answer = write(body, path)
            assert answer.status_code == 400
            said = answer.json()[key]
            assert said.startswith("partial write: line 2: line_invalid: 'oops'")
            assert "line 4: device_not_allowed" in said
            assert said.endswith("dropped=2")
        assert answer.json()["code"] == "invalid"
        assert stored() == {("power", 0): 1, ("power", 1): 3}

    def test_a_hosts_inputs_that_differ_in_tags_alone_are_all_stored(self, write, stored):
        """The input `disk` has a tag `device` of its own; two hosts share one device's token."""
        body = "\n".join(
            f"{line} {NS}"
            for line in (
                "cpu,cpu=cpu0,host=a usage_idle=1",
                "cpu,cpu=cpu1,host=a usage_idle=2",
                "cpu,cpu=cpu0,host=b usage_idle=3",
                "disk,device=sda1,fstype=ext4,host=a,mode=rw,path=/ used=4i",
                "disk,device=sda2,fstype=ext4,host=a,mode=rw,path=/home used=5i",
                "diskio,host=a,name=sda reads=6i",
            )
        )
        assert write(body).status_code == 204
        assert stored() == {
            ("cpu.usage_idle{cpu=cpu0,host=a}", 0): 1,
            ("cpu.usage_idle{cpu=cpu1,host=a}", 0): 2,
            ("cpu.usage_idle{cpu=cpu0,host=b}", 0): 3,
            ("disk.used{device=sda1,fstype=ext4,host=a,mode=rw,path=/}", 0): 4,
            ("disk.used{device=sda2,fstype=ext4,host=a,mode=rw,path=/home}", 0): 5,
            ("diskio.reads{host=a,name=sda}", 0): 6,
        }

    @pytest.mark.parametrize("path", [V1, V2])
    def test_with_the_database_away_it_is_told_to_try_again(self, without_database, device_token, path):
        answer = httpx.post(
            without_database.url + path,
            content=f"power value=1 {NS}",
            headers={"Authorization": f"Token {device_token}"},
            timeout=30,
        )
        assert answer.status_code == 503
        assert 1 <= int(answer.headers["Retry-After"]) <= 5
        assert "not stored" in answer.json().get("error", answer.json().get("message"))
        assert httpx.get(f"{without_database.url}/health", timeout=30).json()["status"] == "fail"


class TestHomeAssistant:
    def test_the_v1_client_sets_itself_up_and_writes(self, ingest, device_token, stored):
        auth = ("homeassistant", device_token)
        # What it sends for an empty list of points.
        setup = httpx.post(f"{ingest.url}/write?db=home_assistant", content=b"\n", auth=auth)
        assert setup.status_code == 204
        shown = httpx.get(f"{ingest.url}/query?q=SHOW+DATABASES%3B&db=home_assistant", auth=auth)
        assert shown.json()["results"][0]["series"][0] == {
            "name": "databases",
            "columns": ["name"],
            "values": [["joulebook"]],
        }
        body = (
            "W,domain=sensor,entity_id=grid\\ power value=1240.5,"
            'friendly_name_str="Grid \\"main\\" power",state_class_str="measurement",attribution_str="a\nb" '
            f"{NS}\n"
            f'binary_sensor.door,domain=binary_sensor,entity_id=door state="on",value=1.0 {NS}\n'
        )
        answer = httpx.post(
            f"{ingest.url}/write?db=home_assistant&precision=n",
            content=body.encode(),
            auth=auth,
            headers={"Content-Type": "application/octet-stream"},
        )
        assert answer.status_code == 204
        assert stored() == {
            ("W{domain=sensor,entity_id=grid power}", 0): 1240.5,
            ("binary_sensor.door{domain=binary_sensor,entity_id=door}", 0): 1,
        }

    def test_the_v2_client_sets_itself_up_and_writes(self, write, stored):
        path = "/api/v2/write?org=home&bucket=ha&precision=ns"
        assert write(b"", path).status_code == 204
        body = f'kWh,domain=sensor,entity_id=meter friendly_name_str="Zähler",value=77.25 {NS}'
        answer = write(body, path, **{"Content-Type": "text/plain", "Accept": "application/json"})
        assert answer.status_code == 204
        assert stored() == {("kWh{domain=sensor,entity_id=meter}", 0): 77.25}

    def test_a_wrong_token_stops_the_setup(self, write, ingest):
        assert write(b"", V2, token="wrong").status_code == 401
        assert httpx.post(ingest.url + V1, content=b"\n", auth=("a", "b")).status_code == 401

    def test_only_text_is_a_success_that_stores_nothing(self, write, stored):
        assert write(f'weather,entity_id=home state="sunny" {NS}').status_code == 204
        assert stored() == {}


def test_node_red_writes_with_its_v2_client(write, stored):
    path = "/api/v2/write?org=home&bucket=b&precision=ms"
    assert write(f"pump,room=cellar on=T,flow=3.5 {NS // 10**6}", path).status_code == 204
    assert stored() == {("pump.on{room=cellar}", 0): 1, ("pump.flow{room=cellar}", 0): 3.5}


@pytest.mark.parametrize("scheme", ["Token {0}", "token {0}", "Token user:{0}", "Bearer {0}", "bearer  {0}"])
@pytest.mark.parametrize("path", [V1, V2])
def test_a_token_is_taken_in_every_form_that_clients_send(write, device_token, scheme, path):
    answer = write(f"power value=1 {NS}", path, Authorization=scheme.format(device_token))
    assert answer.status_code == 204


@pytest.mark.parametrize(
    "header", [None, "", "Token", "Token x", "Basic", "Basic ???", "Basic YQ==", "Digest a", "Bearer jbd0_0"]
)
@pytest.mark.parametrize("path", [V1, V2, "/query?q=SHOW%20DATABASES"])
def test_without_a_token_in_force_nothing_is_taken(ingest, stored, header, path):
    headers = {} if header is None else {"Authorization": header}
    answer = httpx.post(ingest.url + path, content=f"power value=1 {NS}", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == ("Token" if path == V2 else 'Basic realm="Joulebook"')
    assert stored() == {}


@pytest.mark.parametrize("path", ["/write?db=x&", "/api/v2/write?", "/query?q=SHOW+DATABASES&"])
@pytest.mark.parametrize("header", [True, False])
def test_a_token_in_the_address_is_refused_and_not_logged(ingest, device_token, stored, path, header):
    headers = {"Authorization": f"Token {device_token}"} if header else {}
    answer = httpx.post(f"{ingest.url}{path}u=me&p={device_token}", content=f"a b=1 {NS}", headers=headers)
    assert answer.status_code == 401
    assert "address" in answer.text
    assert device_token not in answer.text
    assert device_token not in ingest.log.read_text()
    assert stored() == {}


@pytest.mark.parametrize(
    ("path", "stamp"),
    [(f"/write?precision={name}", NS // divide) for name, divide in
     [("n", 1), ("ns", 1), ("u", 10**3), ("us", 10**3), ("%C2%B5", 10**3), ("ms", 10**6), ("s", 10**9), ("m", 60 * 10**9), ("h", 3600 * 10**9)]]
    + [(f"/api/v2/write?precision={name}", NS // divide) for name, divide in [("ns", 1), ("us", 10**3), ("ms", 10**6), ("s", 10**9)]]
    + [("/write", NS), ("/api/v2/write", NS), ("/write?precision=", NS)],
)  # fmt: skip
def test_times_are_read_in_the_precision_of_the_request(write, stored, path, stamp):
    assert write(f"power value=1 {stamp}", path).status_code == 204
    assert stored() == {("power", 0): 1}


@pytest.mark.parametrize("path", ["/write?precision=d", "/api/v2/write?precision=h"])
def test_a_precision_that_is_not_known_is_refused(write, stored, path):
    answer = write(f"power value=1 {NS}", path)
    assert answer.status_code == 400
    assert "precision" in answer.text
    assert stored() == {}


def test_the_last_write_wins_in_one_body_and_over_several(write, stored):
    assert write(f"power value=1 {NS}\npower value=2 {NS}").status_code == 204
    assert stored() == {("power", 0): 2}
    assert write(f"power value=3 {NS}").status_code == 204
    assert write(f"power value=3 {NS}").status_code == 204
    assert stored() == {("power", 0): 3}


def test_lines_without_a_time_are_stored_at_their_arrival(write, stored):
    before = datetime.now(UTC)
    assert write("power value=1\npower value=2\n").status_code == 204
    times = sorted(second for _, second in stored())
    assert len(times) == 2
    assert (before - T0).total_seconds() <= times[0] < times[1]
    assert times[1] <= (datetime.now(UTC) - T0 + timedelta(seconds=1)).total_seconds()


@pytest.mark.parametrize("path", [V1, V2])
def test_a_body_too_large_is_refused_whole(write, stored, path):
    limit = 16 * 1024 * 1024
    line = f"power value=1 {NS}\n"
    for body, headers in (
        (line.encode() + b" " * limit, {}),
        (gzip.compress(line.encode() + b"\n" * limit), {"Content-Encoding": "gzip"}),
        ("".join(f"power value=1 {NS + number * 1000}\n" for number in range(100_001)).encode(), {}),
    ):
        answer = write(body, path, **headers)
        assert answer.status_code == 413
        assert "split" in answer.json().get("error", answer.json().get("message"))
    assert stored() == {}


@pytest.mark.parametrize("path", [V1, V2])
def test_a_damaged_body_is_refused(write, stored, path):
    assert write(b"power value=1", path, **{"Content-Encoding": "gzip"}).status_code == 400
    assert write(b"\xff\xfe value=1", path).status_code == 400
    assert stored() == {}


def test_metrics_beyond_the_cap_are_named_by_their_line_and_the_others_stored(write, stored):
    answer = write("\n".join(f"m{number} value=1 {NS}" for number in range(510)))
    assert answer.status_code == 400
    assert "line 501: metric_limit" in answer.json()["message"]
    assert answer.json()["message"].endswith("dropped=10")
    assert len(stored()) == 500


def test_many_refused_lines_are_counted_and_few_are_listed(write):
    said = write("bad\n" * 250).json()["message"]
    assert "line 20:" in said
    assert "line 21:" not in said
    assert "and 230 more" in said
    assert said.endswith("dropped=250")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_ping_answers_with_a_version_and_asks_for_no_token(ingest, method):
    answer = httpx.request(method, f"{ingest.url}/ping")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["X-Influxdb-Version"].startswith("1.8")


def test_health_passes_while_readings_can_be_stored(ingest):
    answer = httpx.get(f"{ingest.url}/health")
    assert (answer.status_code, answer.json()["status"], answer.json()["name"]) == (200, "pass", "influxdb")


@pytest.mark.parametrize(
    "query",
    [
        'CREATE DATABASE "telegraf"',
        "create database home_assistant;",
        r'CREATE DATABASE "a \"b\" c"',
        "CREATE DATABASE IF NOT EXISTS x",
        'CREATE DATABASE "x" WITH DURATION 30d REPLICATION 1 NAME "month"',
    ],
)
@pytest.mark.parametrize("where", ["address", "form"])
def test_a_database_is_created_by_saying_so(ingest, device_token, query, where):
    given = {"params": {"q": query}} if where == "address" else {"data": {"q": query}}
    answer = httpx.post(f"{ingest.url}/query", auth=("x", device_token), **given)
    assert (answer.status_code, answer.json()) == (200, {"results": [{"statement_id": 0}]})


@pytest.mark.parametrize(
    "query", ["", "SELECT * FROM cpu", "DROP DATABASE x", "CREATE DATABASE x; DROP DATABASE y", "SHOW USERS"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_queries_are_refused(ingest, device_token, query, method):
    answer = httpx.request(method, f"{ingest.url}/query", params={"q": query}, auth=("x", device_token))
    assert answer.status_code == 400
    assert "only CREATE DATABASE" in answer.json()["error"]


class TestGateways:
    @pytest.fixture
    def second(self, alice, device_id):
        from joulebook.web.devices.operations import create_device

        return create_device(f"{device_id}_b", owner=alice)

    @pytest.fixture
    def gateway_token(self, transactional_db, device, second):
        from joulebook.web.devices.operations import issue_gateway_token

        return issue_gateway_token([device, second], name="barn")

    def test_each_line_goes_to_the_device_that_its_tag_names(
        self, write, stored, device, second, gateway_token
    ):
        body = f"m,host={device.device_id} v=1 {NS}\nm,device={second.device_id},host=x v=2 {NS}"
        assert write(body, token=gateway_token).status_code == 204
        assert stored() == {("m.v", 0): 1}
        assert stored(second.device_id) == {("m.v{host=x}", 0): 2}

    def test_another_device_none_and_one_that_does_not_exist_are_refused_alike(
        self, write, stored, device, charlie, gateway_token
    ):
        from joulebook.web.devices.operations import create_device

        other = create_device(f"{device.device_id}_c", owner=charlie)
        good = f"m,device={device.device_id} v=1 {NS}\n"
        said = [
            write(f"{good}m,device={name} v=1 {NS}", token=gateway_token).json()["message"].replace(name, "")
            for name in (other.device_id, "no_such_device")
        ]
        assert said[0] == said[1]
        assert "line 2: device_not_allowed" in said[0]
        assert "line 2: device_not_allowed" in write(f"{good}m v=1 {NS}", token=gateway_token).text
        assert stored() == {("m.v", 0): 1}
        assert stored(other.device_id) == {}


@pytest.fixture
def named(telemetry):
    """An ingest of an installation that names metrics by a rule of its own."""
    rule = "{domain}.{entity_id}.{field} {measurement}.{name}.{field} {measurement}.{field}"
    settings = {
        "JOULEBOOK_LINE_PROTOCOL_METRIC": rule,
        "JOULEBOOK_LINE_PROTOCOL_DEVICE_TAGS": "host!,meter",
    }
    service = Service("ingest", free_port(), settings)
    service.start(path="/readyz")
    yield service
    service.stop()


def test_an_installations_own_rule_names_metrics_and_devices(named, device_id, device_token, stored):
    lines = (
        f"W,domain=sensor,entity_id=grid_power value=1,battery=50,friendly_name=7 {NS}",
        f"modbus,meter={device_id},name=pv,slave_id=1 power=2 {NS}",
        f"cpu,cpu=cpu0 idle=3 {NS}",
        f"cpu,cpu=cpu1 idle=4 {NS}",
        f"cpu,host=unknown idle=5 {NS}",
    )
    answer = httpx.post(
        named.url + V2, content="\n".join(lines), headers={"Authorization": f"Token {device_token}"}
    )
    assert answer.status_code == 400
    said = answer.json()["message"]
    assert "line 4: conflict: line 3 has other tags or another field, but the same metric 'cpu.idle'" in said
    assert "line 5: device_not_allowed: this token may not write for device 'unknown' (tag host)" in said
    assert said.endswith("everything else is stored dropped=2")
    assert stored() == {
        ("sensor.grid_power", 0): 1,
        ("sensor.grid_power.battery", 0): 50,
        ("sensor.grid_power.friendly_name", 0): 7,
        ("modbus.pv.power", 0): 2,
        ("cpu.idle", 0): 3,
    }


def test_a_rule_that_cannot_be_used_ends_the_start_with_what_is_wrong(telemetry):
    stopped = run_joulebook("ingest", JOULEBOOK_LINE_PROTOCOL_METRIC="{measurement}")
    assert stopped.returncode == 1, stopped
    assert "JOULEBOOK_LINE_PROTOCOL_METRIC='{measurement}'" in stopped.stderr
    assert "must hold {field} once" in stopped.stderr
