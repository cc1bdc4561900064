"""Prepares Django for a command that works with accounts, devices or migrations."""

from __future__ import annotations

import os

import django

from joulebook.config import Config
from joulebook.embedded import telemetry_url


def setup_django(*, owner: bool = False) -> None:
    """Load Django's settings and apps; import models only after this.

    With `owner`, the database alias `telemetry_owner` is there too, for migrations. Raises
    `ConfigError` and `EmbeddedError` for an environment that cannot be used.
    """
    if owner:
        config = Config.from_environ()
        os.environ["JOULEBOOK_TELEMETRY_URL"] = telemetry_url(config, "reader")
        os.environ["JOULEBOOK_TELEMETRY_WRITER_URL"] = telemetry_url(config, "writer")
        os.environ["JOULEBOOK_TELEMETRY_OWNER_URL"] = telemetry_url(config, "owner")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "joulebook.web.settings")
    django.setup()
