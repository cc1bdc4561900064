"""`joulebook demo`: Joulebook with a user, three devices, thirty days of readings, and a live simulator."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from typing import Annotated

import typer

from joulebook.cli.demo_files import DemoFiles
from joulebook.cli.output import plain_errors
from joulebook.cli.up import ingest_url, run_home, web_url
from joulebook.config import Config
from joulebook.supervisor.console import Console
from joulebook.supervisor.plan import (
    environment_with,
    environment_without_credentials,
    joulebook_command,
    joulebook_plan,
)
from joulebook.supervisor.specs import ProcessSpec, Ready


def demo(
    *,
    days: Annotated[
        int, typer.Option(min=1, max=366, help="how many days of the past to write at the first start")
    ] = 30,
) -> None:
    """Show Joulebook with data: a home with a battery, a roof and a grid meter, until Ctrl-C.

    The first start writes the readings of the last days; the next one goes on where the last one stopped.
    """
    with plain_errors():
        config = Config.from_environ()
        run_home(config, _plan(config, days=days), tell=lambda console: _tell(console, config))


def _plan(config: Config, *, days: int) -> list[ProcessSpec]:
    """Return the processes of `joulebook up`, the step that prepares the demo, and the simulator."""
    # The past ends, and the simulator begins, where the demo was started.
    now = int(time.time())
    progress = ("--status",) if sys.stdout.isatty() else ("--no-status",)
    history = ProcessSpec(
        name="history",
        command=(
            sys.executable,
            "-m",
            "joulebook.cli.demo_data",
            f"--days={days}",
            f"--end={now}",
            *progress,
        ),
        environment=environment_with(config, os.environ, "reader", "writer"),
        ready=Ready.ENDED,
        after=("migrate",),
    )
    simulator = ProcessSpec(
        name="simulator",
        command=joulebook_command("simulate", *_simulator_options(config, now), *progress),
        environment=lambda: environment_without_credentials(config, os.environ),
        ready=Ready.NOTIFIES,
        after=("ingest",),
        stop_timeout=10.0,
    )
    plan: list[ProcessSpec] = []
    for spec in joulebook_plan(config, os.environ):
        if spec.after == ("migrate",):
            plan.append(replace(spec, after=("history",)))
        else:
            plan.append(spec)
        if spec.name == "migrate":
            plan.append(history)
    return [*plan, simulator]


def _simulator_options(config: Config, since: int) -> list[str]:
    files = DemoFiles(config.home)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime(since))
    return [
        f"--url={ingest_url(config)}",
        f"--token-file={files.tokens}",
        f"--state={files.states}",
        f"--seed={files.SEED}",
        f"--since={stamp}",
    ]


def _tell(console: Console, config: Config) -> None:
    files = DemoFiles(config.home)
    name, password = files.read_credentials()
    console.say(
        f"\n    Joulebook is ready:  {web_url(config)}\n\n"
        f"    user      {name}\n"
        f"    password  {password or 'the one that you chose'}\n\n"
        f"    (kept in {files.credentials})\n"
        "    Ctrl-C stops everything; the next start goes on with the data.\n"
    )
