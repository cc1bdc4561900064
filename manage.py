#!/usr/bin/env python3
"""Django's own commands for Joulebook's web, for people who know Django: `python manage.py …`."""

import os
import sys

from joulebook.cli.django_setup import setup_django
from joulebook.cli.output import plain_errors


def main() -> None:
    """Run a Django command; migrations of readings use `--database telemetry_owner`."""
    with plain_errors():
        setup_django(owner="telemetry_owner" in " ".join(sys.argv))
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "joulebook.web.settings")
    main()
