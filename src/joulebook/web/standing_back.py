"""Lets the web, and what it costs the database, wait for devices where there is too much to do."""

from __future__ import annotations

from typing import Any

from django.db.backends.signals import connection_created

from joulebook.priority import let_stand_back, stand_back
from joulebook.web.databases import READER


def stand_back_behind_devices() -> None:
    """Lower the priority of this process and of all that its connections to the readings will cost.

    Call it before threads are started. Where the database is on another machine, or another user's, its
    own processes stay as they are.
    """
    stand_back()
    connection_created.connect(_on_connection, dispatch_uid="joulebook.standing-back")


def _on_connection(connection: Any, **_: Any) -> None:
    if connection.alias == READER:
        opened = connection.connection
        let_stand_back(opened.info.backend_pid, opened.fileno())
