"""Joulebook from its wheel: in an empty environment, an empty home and an empty folder, `demo` draws its charts."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from ..conftest import free_port
from ..integration.packaging.clone import build, built, copy_clone
from .charts import panel, share_of_columns_with_curve, wait_for_chart

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

USERS = ["root", "nobody"] if os.geteuid() == 0 else ["the user of the tests"]
WAIT = 600


def as_user(user: str) -> list[str]:
    """Return the words before a command that is to run as that user."""
    if user != "nobody":
        return []
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]


def python_for(user: str) -> str:
    """Return a Python that the user can run: the one of these tests may lie in root's own folder."""
    supported = "import sys; sys.exit(sys.version_info < (3, 11))"
    for python in (
        os.path.realpath(sys.executable),
        *map(shutil.which, ("python3.11", "python3.12")),
        "/usr/bin/python3",
    ):
        if python is None:
            continue
        command = [*as_user(user), "/usr/bin/env", python, "-I", "-c", supported]
        if subprocess.run(command, cwd="/", capture_output=True, check=False).returncode == 0:
            return python
    pytest.skip(f"no Python 3.11 on this machine that {user} can run")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that every user can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="joulebook-installed-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def wheel(folder: Path) -> Path:
    """A wheel that is built from a clean clone."""
    clone = copy_clone(folder / "clone", with_assets=False)
    done = build(clone, "wheel")
    assert done.returncode == 0, done.stderr
    return built(clone, "*.whl")


@pytest.mark.parametrize("user", USERS)
def test_demo_from_a_wheel_draws_its_charts(user: str, wheel: Path, folder: Path, chromium: Browser) -> None:
    environment = folder / user.replace(" ", "-") / "environment"
    run(sys.executable, "-m", "uv", "venv", "--quiet", "--python", python_for(user), str(environment))
    run(
        sys.executable, "-m", "pip", "--python", str(environment / "bin/python"), "install", "--quiet",
        "--disable-pip-version-check", str(wheel),
    )  # fmt: skip
    home, work = environment.with_name("home"), environment.with_name("work")
    for path in (home, work):
        path.mkdir()
        if user == "nobody":
            shutil.chown(path, "nobody", "nogroup")
    web = free_port()
    log = environment.with_name("demo.log")
    with log.open("wb") as output:
        demo = subprocess.Popen(
            [*as_user(user), str(environment / "bin/joulebook"), "demo", "--days=1"],
            cwd=work,
            env={
                "HOME": str(home),
                "PATH": "/usr/bin:/bin",
                "JOULEBOOK_WEB_PORT": str(web),
                "JOULEBOOK_INGEST_PORT": str(free_port()),
            },
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        name, password = credentials_when_ready(demo, log)
        assert [path.name for path in work.iterdir()] == ["var"]
        assert draws_a_chart(chromium, f"http://127.0.0.1:{web}", name, password)
    finally:
        if demo.poll() is None:
            os.killpg(demo.pid, signal.SIGINT)
    assert demo.wait(timeout=180) == 0, log.read_text()[-3000:]


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT)
    assert done.returncode == 0, done.stderr


def credentials_when_ready(demo: subprocess.Popen[bytes], log: Path) -> tuple[str, str]:
    """Wait until the demo says that it is ready; return the name and password that it shows."""
    until = time.monotonic() + WAIT
    while "Joulebook is ready" not in log.read_text():
        assert demo.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < until, log.read_text()[-3000:]
        time.sleep(0.2)
    shown = re.search(r"user +(\S+)\n +password +(\S+)\n", wait_for_text(log, "Ctrl-C stops"))
    assert shown
    return shown[1], shown[2]


def wait_for_text(log: Path, text: str) -> str:
    until = time.monotonic() + 60
    while text not in log.read_text():
        assert time.monotonic() < until
        time.sleep(0.1)
    return log.read_text()


def draws_a_chart(chromium: Browser, url: str, name: str, password: str) -> bool:
    context = chromium.new_context(base_url=url, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(60_000)
    try:
        page = context.new_page()
        page.goto("/sign-in/")
        page.get_by_label("User name").fill(name)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/")
        page.goto("/devices/device_003/?range=6h")
        wait_for_chart(page)
        panel(page, "power").scroll_into_view_if_needed()
        return share_of_columns_with_curve(page) > 0.5
    finally:
        context.close()
