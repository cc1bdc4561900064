"""Keep what senders say of a series: the form of its values, and their unit."""

from __future__ import annotations

from django.db import migrations, models

# The newest unit that differs from the first one is refused and kept beside it: the values of a series have
# one unit. The three columns have defaults that need no rewriting of rows.
WHAT_SENDERS_SAY = """
ALTER TABLE series
    ADD COLUMN IF NOT EXISTS form smallint NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS unit text NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS refused_unit text NOT NULL DEFAULT '';
COMMENT ON COLUMN series.form IS '0 numbers, 1 truth values, 2 text, 3 lists of text';
GRANT UPDATE (form, unit, refused_unit) ON series TO joulebook_writer;
"""
NOTHING_SAID = """
REVOKE UPDATE (form, unit, refused_unit) ON series FROM joulebook_writer;
ALTER TABLE series DROP COLUMN form, DROP COLUMN unit, DROP COLUMN refused_unit;
"""


class Migration(migrations.Migration):
    dependencies = (("readings", "0008_reader_reads_everything"),)
    operations = (
        migrations.RunSQL(
            WHAT_SENDERS_SAY,
            NOTHING_SAID,
            state_operations=[
                migrations.AddField("series", "form", models.SmallIntegerField(default=0)),
                migrations.AddField("series", "unit", models.TextField(default="")),
                migrations.AddField("series", "refused_unit", models.TextField(default="")),
            ],
        ),
    )
