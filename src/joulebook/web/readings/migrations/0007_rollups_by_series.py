"""Let rollups be found by series alone: an index by time lured readers into the rows of all other series."""

from __future__ import annotations

from django.db import migrations

# Rollups lie in their table as time passes, all series of a minute together. Where a few dozen series are
# stored, PostgreSQL took the rows of a series' year to be cheaper to find by time, and read those of all
# of them. Nothing that is asked often is asked by time without a series.
DROP = "DROP INDEX IF EXISTS {table}_bucket_idx"
CREATE = "CREATE INDEX IF NOT EXISTS {table}_bucket_idx ON {table} (bucket DESC)"
TABLES = ("readings_1m", "readings_5m", "readings_1h")


class Migration(migrations.Migration):
    dependencies = (("readings", "0006_imports"),)
    operations = tuple(
        migrations.RunSQL(DROP.format(table=table), CREATE.format(table=table)) for table in TABLES
    )
