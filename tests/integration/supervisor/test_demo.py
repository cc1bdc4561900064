"""`joulebook demo`: a user, three devices, a past without holes, a live tail, and a quick second start."""

from __future__ import annotations

import re
import subprocess
import time
from typing import Any

import httpx
import psycopg

from joulebook.cli.demo import DemoFiles
from joulebook.config import Config
from joulebook.embedded import EmbeddedDatabase

DAY = 86_400
POWER = ("device_001", "device_002", "device_003")


def rows(home: Any, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    config = Config.from_environ({"JOULEBOOK_HOME": str(home.path)})
    with psycopg.connect(EmbeddedDatabase(config).url("reader")) as conn:
        return conn.execute(statement, parameters).fetchall()


def powers(home: Any) -> dict[str, tuple[int, int, int]]:
    """Return of each device's power: how many readings, and the seconds of the first and the last."""
    found = rows(
        home,
        "SELECT device_id, count(*), extract(epoch FROM min(time))::bigint, extract(epoch FROM max(time))::bigint"
        " FROM readings JOIN series ON series.id = series_id WHERE metric = 'power' GROUP BY 1",
    )
    return {device_id: (count, first, last) for device_id, count, first, last in found}


def without_holes(home: Any) -> bool:
    """Say whether every device has a reading of each second from its first to its last."""
    found = powers(home)
    return set(found) == set(POWER) and all(
        count == last - first + 1 for count, first, last in found.values()
    )


def credentials(home: Any) -> tuple[str, str]:
    text = (home.path / "demo-credentials").read_text()
    found = re.fullmatch(r"user (\S+)\npassword (\S+)\n", text)
    assert found
    return found[1], found[2]


def sign_in(client: httpx.Client, home: Any) -> None:
    name, password = credentials(home)
    form = client.get("/sign-in/")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)
    assert token
    answer = client.post(
        "/sign-in/", data={"username": name, "password": password, "csrfmiddlewaretoken": token[1]},
        headers={"Referer": f"{home.web}/sign-in/"},
    )  # fmt: skip
    assert answer.status_code == 200


def until_live(home: Any) -> None:
    """Wait until the last reading of each device is a few seconds old."""
    deadline = time.monotonic() + 60
    while time.time() - min(last for _, _, last in powers(home).values()) > 3:
        assert time.monotonic() < deadline, powers(home)
        time.sleep(0.2)


def test_the_demo_shows_a_past_and_a_present_that_join_and_goes_on_at_the_next_start(new_home: Any) -> None:
    demo = new_home.start("demo", "--days=1")
    demo.until_ready()
    name, password = credentials(new_home)
    assert name == "demo"
    assert f"user      {name}\n    password  {password}\n" in demo.text
    assert {path.name for path in (new_home.path / "demo").iterdir()} >= {"origin", "states.json", "tokens"}
    for private in ("demo-credentials", "demo/tokens"):
        assert (new_home.path / private).stat().st_mode & 0o777 == 0o600
    until_live(new_home)
    assert without_holes(new_home)
    count, _, _ = powers(new_home)["device_001"]
    assert DAY <= count < DAY + 300
    assert_the_pages_show_it(new_home)
    assert demo.interrupt() == 0
    assert not new_home.processes()
    stopped_at = powers_after_stop(new_home)

    time.sleep(3)  # a pause that the next start fills in
    again = new_home.start("demo", "--days=1")
    assert again.until_ready() < 30
    assert credentials(new_home) == (name, password)
    assert f"password  {password}" in again.text
    until_live(new_home)
    assert without_holes(new_home), "the pause was filled"
    assert powers(new_home)["device_001"][2] > stopped_at
    assert_registers_only_grow(new_home)
    assert "refused" not in again.text
    assert again.interrupt() == 0
    assert not new_home.processes()


def powers_after_stop(home: Any) -> int:
    """Return the second of the last reading; the database is started for it, and stopped again."""
    assert home.run("db", "start").returncode == 0
    try:
        return powers(home)["device_001"][2]
    finally:
        assert home.run("db", "stop").returncode == 0


def assert_the_pages_show_it(home: Any) -> None:
    with httpx.Client(base_url=home.web, follow_redirects=True) as client:
        sign_in(client, home)
        page = client.get("/").text
        for shown in ("Home battery", "Roof", "Grid meter"):
            assert shown in page
        answer = client.get("/api/history/device_003", params={"range": "24h"}).json()
    units = {series["metric"]: series["unit"] for series in answer["series"]}
    assert units["power"] == "W"
    assert units["energy.imported"] == "kWh"


def assert_registers_only_grow(home: Any) -> None:
    falls = rows(
        home,
        "SELECT count(*) FROM (SELECT value - lag(value) OVER (PARTITION BY series_id ORDER BY time) AS step"
        " FROM readings JOIN series ON series.id = series_id WHERE metric LIKE 'energy.%%') AS steps WHERE step < 0",
    )
    assert falls == [(0,)]


def test_an_interrupted_past_is_completed_by_the_next_start(home: Any) -> None:
    demo = home.start("demo", "--days=3")
    demo.until(r"history +│ .*0\.\d of \d\.\d million readings")
    assert demo.interrupt() == 0
    assert not home.processes()
    assert "Joulebook is ready" not in demo.text
    again = home.start("demo", "--days=3")
    again.until_ready()
    until_live(home)
    assert without_holes(home)
    assert powers(home)["device_002"][0] >= 3 * DAY
    assert again.interrupt() == 0


def test_a_password_that_the_user_changed_is_kept_nowhere(home: Any) -> None:
    assert home.run("db", "start").returncode == 0
    assert prepare(home).returncode == 0
    assert credentials(home)[0] == "demo"
    changed = (
        "from django.contrib.auth.models import User; user = User.objects.get(username='demo');"
        "user.set_password('one of my own choice'); user.save()"
    )
    assert home.in_django(changed).returncode == 0
    assert prepare(home).returncode == 0
    assert home.run("db", "stop").returncode == 0
    assert (home.path / "demo-credentials").read_text() == "user demo\n"
    assert DemoFiles(home.path).read_credentials() == ("demo", "")


def test_a_user_of_that_name_who_is_not_the_demos_is_left_alone(home: Any) -> None:
    assert home.run("db", "start").returncode == 0
    assert (
        home.run("user", "add", "demo", "--password-stdin", stdin="a long enough pass phrase\n").returncode
        == 0
    )
    refused = prepare(home)
    assert home.run("db", "stop").returncode == 0
    assert refused.returncode == 1
    assert "use another JOULEBOOK_HOME for the demo" in refused.stderr
    assert not (home.path / "demo-credentials").exists()


def prepare(home: Any) -> subprocess.CompletedProcess[str]:
    """Run the demo's preparing step alone, for a day long ago."""
    return home.python("-m", "joulebook.cli.demo", "--days=1", "--end=1000000000")
