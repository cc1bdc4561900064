"""Let rollups say which of their time is known, and mark them all to be made again in the background."""

from __future__ import annotations

from django.db import migrations

# `joulebook.telemetry.rollups.summaries` says what each column holds; `known` below zero means a row from
# before them. Constant defaults change no row, so that this is over at once however much is stored.
ADD = """
ALTER TABLE {table}
    ADD COLUMN IF NOT EXISTS rises float8 NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS integral_in float8 NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS known int8 NOT NULL DEFAULT -1,
    ADD COLUMN IF NOT EXISTS known_integral float8 NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS known_in float8 NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS first_usual int8 NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS last_usual int8 NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS pending int NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS edges bytea NOT NULL DEFAULT '';
"""
REMOVE = """
ALTER TABLE {table}
    DROP COLUMN IF EXISTS rises, DROP COLUMN IF EXISTS integral_in, DROP COLUMN IF EXISTS known, DROP COLUMN IF EXISTS known_integral,
    DROP COLUMN IF EXISTS known_in, DROP COLUMN IF EXISTS first_usual, DROP COLUMN IF EXISTS last_usual,
    DROP COLUMN IF EXISTS pending, DROP COLUMN IF EXISTS edges;
"""

# Where readings are retained, one mark for all series: answers are made from readings until the worker has
# rolled them up. Time without readings keeps its rows.
MARK = """
INSERT INTO rollup_dirty (begins_at, ends_at, series_id)
SELECT greatest(date_bin('1 hour', min(range_start), TIMESTAMPTZ 'epoch'), max(readings_kept_from)),
       max(closed_until), NULL
FROM rollup_state CROSS JOIN timescaledb_information.chunks
WHERE hypertable_schema = 'public' AND hypertable_name = 'readings'
HAVING greatest(date_bin('1 hour', min(range_start), TIMESTAMPTZ 'epoch'), max(readings_kept_from))
       < max(closed_until);
"""


class Migration(migrations.Migration):
    dependencies = (("readings", "0011_corrections"),)
    operations = (
        migrations.RunSQL(ADD.format(table="readings_1m"), REMOVE.format(table="readings_1m")),
        migrations.RunSQL(ADD.format(table="readings_5m"), REMOVE.format(table="readings_5m")),
        migrations.RunSQL(ADD.format(table="readings_1h"), REMOVE.format(table="readings_1h")),
        migrations.RunSQL(MARK, migrations.RunSQL.noop),
    )
