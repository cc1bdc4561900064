"""Time zones come from the installed package, whatever the machine and the environment have."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from joulebook.time_zones import ZoneInfo, time_zone_names

from ..made_up_rules import made_up_tzdata, made_up_zone

SUMMER, WINTER = datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
ZONE, RULES = "Africa/Casablanca", [(0, 20_700), (1_790_000_000, -9_000)]
NEW_ZONE = "Europe/Nowhere"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with other rules for Casablanca, and with a zone that is in no other."""
    folder = made_up_tzdata(tmp_path_factory.mktemp("package"), {ZONE: RULES, NEW_ZONE: RULES})
    with (folder / "tzdata" / "zones").open("a") as names:
        names.write(f"{NEW_ZONE}\n")
    return folder


def run(package: Path, program: str) -> list[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(package),
        # What a machine's administrator, or its distribution, may have set.
        "PYTHONTZPATH": "/usr/share/zoneinfo",
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_made_up_rules_are_as_they_were_made(package: Path) -> None:
    zone = made_up_zone(package, ZONE)
    assert [str(moment.astimezone(zone).utcoffset()) for moment in (SUMMER, WINTER)] == [
        "5:45:00",
        "-1 day, 21:30:00",
    ]


@pytest.mark.parametrize(
    "entry",
    [
        "import joulebook.time_zones",
        "import joulebook.cli.main, joulebook.telemetry.files.times",
        "import joulebook.web.wsgi, joulebook.web.history.api",
        "from joulebook.cli.django_setup import setup_django; setup_django(); import joulebook.worker.import_scheduler",
        "from zoneinfo import ZoneInfo; ZoneInfo('Africa/Casablanca'); import joulebook.telemetry.export.formats",
    ],
)
def test_a_process_takes_the_package_and_not_the_machines_files(package: Path, entry: str) -> None:
    """Also where a zone of the machine's has been read before."""
    program = f"""
{entry}
import zoneinfo
from datetime import datetime, UTC
from joulebook.time_zones import ZoneInfo, time_zone_names
assert ZoneInfo is zoneinfo.ZoneInfo
for at in ({SUMMER.timestamp()}, {WINTER.timestamp()}):
    print(datetime.fromtimestamp(at, ZoneInfo("{ZONE}")).utcoffset().total_seconds())
print("{NEW_ZONE}" in time_zone_names(), "{NEW_ZONE}" in zoneinfo.available_timezones())
"""
    assert run(package, program) == ["20700.0", "-9000.0", "True", "True"]


def test_the_client_leaves_the_zones_of_its_program_alone(package: Path) -> None:
    program = (
        "import zoneinfo; before = zoneinfo.TZPATH; import joulebook.client; print(zoneinfo.TZPATH == before)"
    )
    assert run(package, program) == ["True"]


def test_a_module_that_takes_zones_from_elsewhere_does_not_pass_lint() -> None:
    checked = subprocess.run(
        ["ruff", "check", "--stdin-filename", "src/joulebook/web/history/other.py", "-"],
        input='"""A module."""\n\nfrom zoneinfo import ZoneInfo\n\nprint(ZoneInfo)\n',
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    assert "TID251" in checked.stdout
    assert "joulebook.time_zones" in checked.stdout


def test_every_name_that_is_offered_is_a_zone() -> None:
    assert len(time_zone_names()) > 500
    assert {"UTC", "Europe/Berlin", "America/St_Johns"} <= time_zone_names()
    assert not {"Factory", "localtime", "posixrules"} & time_zone_names()
    for name in time_zone_names():
        assert datetime(2026, 1, 1, tzinfo=ZoneInfo(name)).utcoffset() is not None
