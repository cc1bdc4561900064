"""Let the writer replace the value of a stored reading, and nothing else of it."""

from __future__ import annotations

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = (("readings", "0002_series_and_readings"),)
    operations = (
        migrations.RunSQL(
            "GRANT UPDATE (value, import_id) ON readings TO joulebook_writer",
            "REVOKE UPDATE (value, import_id) ON readings FROM joulebook_writer",
        ),
    )
