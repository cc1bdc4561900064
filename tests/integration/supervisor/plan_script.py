"""Runs a plan that comes as JSON on standard input, as `joulebook up` runs its own."""

from __future__ import annotations

import json
import os
import sys

from joulebook.supervisor.console import Console
from joulebook.supervisor.specs import Address, Patience, ProcessSpec, Ready
from joulebook.supervisor.supervisor import ProcessFailed, run_plan


def spec_of(entry: dict[str, object]) -> ProcessSpec:
    fields = dict(entry)
    port = fields.pop("port", None)
    fields["command"] = tuple(fields["command"])
    fields["after"] = tuple(fields.get("after", ()))
    fields["ready"] = Ready[fields.get("ready", "LIVES")]
    fields["address"] = Address("127.0.0.1", port) if port else None
    return ProcessSpec(environment=lambda: os.environ, **fields)


wanted = json.load(sys.stdin)
console = Console(sys.stdout, [entry["name"] for entry in wanted["plan"]], colour=wanted.get("colour"))
try:
    run_plan(
        [spec_of(entry) for entry in wanted["plan"]],
        console,
        on_ready=lambda: console.say("ALL READY"),
        patience=Patience(**wanted.get("patience", {})),
    )
except ProcessFailed as exc:
    console.say(f"GAVE UP: {exc}")
    sys.exit(1)
console.say("STOPPED")
